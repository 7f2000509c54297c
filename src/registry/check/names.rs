//! Repositories and tags: each tag has its manifest, and both ways round say the same.

use super::{Checker, Hit, hits};
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::ghostbay::check::{CheckError, Repair};
use crate::ghostbay::now_ms;
use crate::registry::tables::{
    ContentKey, MANIFESTS, REPOSITORIES, TAGS, TAGS_BY_DIGEST, TagKey, TagOfKey, TagRow,
};
use crate::registry::{repositories, tags, usage};

pub(super) fn check(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&REPOSITORIES, |checker, _, row| {
        let Some(name) = row.key else {
            return checker.stray(REPOSITORIES.info().name, &row.bytes);
        };
        if row.row.is_ok() {
            return Ok(());
        }
        let (what, hit) = (format!("repository {name}"), Hit::repository(name.as_str()));
        let put = Repair::rows("write the row again", move |transaction| {
            repositories::enter(transaction, &name, now_ms())
        });
        checker.found(what, "its row is damaged", vec![hit], Some(put))
    })?;
    forward(checker)?;
    backward(checker)
}

fn forward(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&TAGS, |checker, rows, row| {
        let Some(key) = row.key else {
            return checker.stray(TAGS.info().name, &row.bytes);
        };
        let what = format!("tag {}:{}", key.repository, key.tag);
        let mut hit = Hit::repository(key.repository.as_str());
        hit.tags.push(key.tag.to_string());
        let Ok(tag) = row.row else {
            let again = Repair::rows("point it where its other row says", move |transaction| {
                tags::mend(transaction, &key)
            });
            return checker.found(what, "its row is damaged", vec![hit], Some(again));
        };
        hit.manifests.push(tag.digest.to_string());
        let manifest = ContentKey::new(&key.repository, &tag.digest);
        // A row that is there but damaged is told with the manifests.
        if !rows.contains(&MANIFESTS, &manifest)? {
            let reason = format!("the manifest {} that it points at is missing", tag.digest);
            checker.found(what.clone(), reason, vec![hit.clone()], None)?;
        }
        let of = key.of(&tag.digest);
        if rows.get_sound(&TAGS_BY_DIGEST, &of)?.is_none() {
            let put = Repair::rows("write the row again", move |transaction| {
                let now = transaction.get_sound(&TAGS, &key)?;
                match now.is_some_and(|now| now.digest == of.digest) {
                    true => transaction.put(&TAGS_BY_DIGEST, &of, &()),
                    false => Ok(()),
                }
            });
            let reason = "it is not listed with its manifest";
            checker.found(what, reason, vec![hit], Some(put))?;
        }
        Ok(())
    })
}

fn backward(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&TAGS_BY_DIGEST, |checker, rows, row| {
        let Some(of) = row.key else {
            return checker.stray(TAGS_BY_DIGEST.info().name, &row.bytes);
        };
        let key = TagKey::new(&of.repository, &of.tag);
        if row.row.is_err() || rows.contains(&TAGS, &key)? {
            // A damaged row is told with its tag. One that the tag has left is no loss, but would
            // mislead.
            let there = rows.get_sound(&TAGS, &key)?;
            if there.is_none_or(|row| row.digest == of.digest) {
                return Ok(());
            }
            let what = format!("tag {}:{}", of.repository, of.tag);
            let reason = format!("it is still listed with {}, which it has left", of.digest);
            let remove = Repair::rows("remove the row", move |transaction| {
                forget(transaction, &of, &key)
            });
            return checker.found(what, reason, Vec::new(), Some(remove));
        }
        let what = format!("tag {}:{}", of.repository, of.tag);
        let mut hit = hits::of_content(rows, &of.repository, &of.digest, true)?;
        hit.tags = vec![of.tag.to_string()];
        let again = Repair::rows("point it there again", move |transaction| {
            restore(transaction, &of, &key)
        });
        let reason = "its row is missing, and only its manifest's list of tags knows it";
        checker.found(what, reason, vec![hit], Some(again))
    })
}

fn forget(
    transaction: &mut Transaction<'_>,
    of: &TagOfKey,
    key: &TagKey,
) -> Result<(), CatalogError> {
    match transaction.get_sound(&TAGS, key)? {
        Some(row) if row.digest != of.digest => transaction.delete(&TAGS_BY_DIGEST, of).map(drop),
        _ => Ok(()),
    }
}

/// Deletes take both rows out at once, so a tag of which one is left was not deleted.
fn restore(
    transaction: &mut Transaction<'_>,
    of: &TagOfKey,
    key: &TagKey,
) -> Result<(), CatalogError> {
    if transaction.contains(&TAGS, key)? || !transaction.contains(&TAGS_BY_DIGEST, of)? {
        return Ok(());
    }
    let row = TagRow {
        digest: of.digest,
        tagged_ms: now_ms(),
    };
    usage::put(transaction, &TAGS, key, &row)?;
    transaction.put(&TAGS_BY_DIGEST, of, &())
}
