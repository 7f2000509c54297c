//! What manifests are found by: of each annotation that is known the manifest is there, deleted or not. That
//! every annotation of a manifest is known is looked at with the manifest.

use super::{Checker, Hit};
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::ghostbay::check::{CheckError, Repair};
use crate::registry::tables::{ANNOTATIONS, ContentKey, DELETED_MANIFESTS, MANIFESTS};

pub(super) fn check(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&ANNOTATIONS, |checker, rows, row| {
        let Some(key) = row.key else {
            return checker.stray(ANNOTATIONS.info().name, &row.bytes);
        };
        let reason = match (row.row.is_ok(), is_there(rows, &key.manifest)?) {
            (true, true) => return Ok(()),
            // Told with the manifest.
            (false, _) if rows.contains(&MANIFESTS, &key.manifest)? => return Ok(()),
            (false, _) => "its row is damaged",
            (true, false) => "that manifest is missing",
        };
        let ContentKey { repository, digest } = &key.manifest;
        let what = format!("annotation {} of manifest {digest}", key.name);
        let hit = Hit::repository(repository.as_str());
        let remove = Repair::rows("remove the row", move |transaction| {
            let is_sound = transaction.get_sound(&ANNOTATIONS, &key)?.is_some();
            match is_sound && is_there(transaction, &key.manifest)? {
                true => Ok(()),
                false => transaction.delete(&ANNOTATIONS, &key).map(drop),
            }
        });
        checker.found(what, reason, vec![hit], Some(remove))
    })
}

fn is_there(rows: &impl Rows, key: &ContentKey) -> Result<bool, CatalogError> {
    Ok(rows.contains(&MANIFESTS, key)? || rows.contains(&DELETED_MANIFESTS, key)?)
}
