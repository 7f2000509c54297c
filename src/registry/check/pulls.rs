//! When manifests were pulled: of each that is known the manifest is there, deleted or not.

use super::{Checker, Hit};
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::ghostbay::check::{CheckError, Repair};
use crate::registry::tables::{ContentKey, MANIFEST_BODIES, MANIFESTS, PULLS, PULLS_SINCE};

pub(super) fn check(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&PULLS, |checker, rows, row| {
        let Some(key) = row.key else {
            return checker.stray(PULLS.info().name, &row.bytes);
        };
        let reason = match (row.row.is_ok(), is_there(rows, &key)?) {
            (true, true) => return Ok(()),
            (false, _) => "its row is damaged",
            (true, false) => "that manifest is missing",
        };
        let what = format!("when manifest {} was pulled", key.digest);
        let hit = Hit::repository(key.repository.as_str());
        let remove = Repair::rows("remove the row", move |transaction| {
            let is_sound = transaction.get_sound(&PULLS, &key)?.is_some();
            match is_sound && is_there(transaction, &key)? {
                true => Ok(()),
                false => transaction.delete(&PULLS, &key).map(drop),
            }
        });
        checker.found(what, reason, vec![hit], Some(remove))
    })?;
    checker.each(&PULLS_SINCE, |checker, _, row| {
        let Some(key) = row.key else {
            return checker.stray(PULLS_SINCE.info().name, &row.bytes);
        };
        if row.row.is_ok() {
            return Ok(());
        }
        let what = "since when pulls are noted".to_owned();
        // The next start writes it again.
        let remove = Repair::remove_damaged(PULLS_SINCE, key);
        checker.found(what, "its row is damaged", Vec::new(), Some(remove))
    })
}

fn is_there(rows: &impl Rows, key: &ContentKey) -> Result<bool, CatalogError> {
    Ok(rows.contains(&MANIFESTS, key)? || rows.contains(&MANIFEST_BODIES, key)?)
}
