//! What was deleted and what may go: tombstones, histories, and the queue.

use super::{Checker, Hit};
use crate::ghostbay::catalog::{CatalogError, Rows, Snapshot};
use crate::ghostbay::check::{CheckError, Repair};
use crate::oci::RepositoryName;
use crate::registry::tables::{
    ContentKey, DELETED_BY_TIME, DELETED_MANIFESTS, EdgeKey, MANIFESTS, MomentKey, REFERENCES,
    REPOSITORIES, TAG_HISTORY, UNREFERENCED,
};
use crate::registry::{repositories, tombstones, unreferenced};

pub(super) fn check(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    tombstone_rows(checker)?;
    by_time(checker)?;
    queue(checker)?;
    histories(checker)?;
    deleted_repositories(checker)
}

fn tombstone_rows(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&DELETED_MANIFESTS, |checker, rows, row| {
        let Some(key) = row.key else {
            return checker.stray(DELETED_MANIFESTS.info().name, &row.bytes);
        };
        let fault = match &row.row {
            Err(_) => Some("its row is damaged"),
            Ok(tombstone) => fault(rows, &key, tombstone.deleted_ms)?,
        };
        let Some(reason) = fault else {
            return Ok(());
        };
        let what = format!(
            "deleted manifest {} of repository {}",
            key.digest, key.repository
        );
        let hit = Hit::repository(key.repository.as_str());
        let again = Repair::rows(
            "write its rows again, or purge it if its bytes are damaged",
            move |transaction| tombstones::mend(transaction, &key),
        );
        checker.found(what, reason, vec![hit], Some(again))
    })
}

/// What is wrong with the rows that come with a tombstone, if anything is.
fn fault(
    rows: &Snapshot,
    key: &ContentKey,
    deleted_ms: u64,
) -> Result<Option<&'static str>, CatalogError> {
    if rows.contains(&MANIFESTS, key)? {
        return Ok(Some("the manifest is there all the same"));
    }
    if rows
        .get_sound(&DELETED_BY_TIME, &MomentKey::new(deleted_ms, key))?
        .is_none()
    {
        return Ok(Some("it is not listed by its time, and would never go"));
    }
    let Some(edges) = tombstones::edges_of_whole(rows, key)? else {
        return Ok(Some("its bytes are damaged, and it cannot come back"));
    };
    for (target, reference) in edges {
        let edge = EdgeKey {
            repository: key.repository.clone(),
            target,
            source: key.digest,
        };
        if rows.get_sound(&REFERENCES, &edge)? != Some(reference.of_deleted()) {
            return Ok(Some("what says what it is made of is missing or damaged"));
        }
    }
    Ok(None)
}

fn by_time(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&DELETED_BY_TIME, |checker, rows, row| {
        let Some(moment) = row.key else {
            return checker.stray(DELETED_BY_TIME.info().name, &row.bytes);
        };
        let tombstone = tombstones::tombstone(rows, &moment.content)?;
        // One that is damaged is told with its tombstone, as one that lacks it.
        if tombstone.is_some_and(|tombstone| tombstone.deleted_ms == moment.at_ms)
            || rows.contains(&DELETED_MANIFESTS, &moment.content)?
                && rows
                    .get_sound(&DELETED_MANIFESTS, &moment.content)?
                    .is_none()
        {
            return Ok(());
        }
        let key = &moment.content;
        let what = format!(
            "{} among what was deleted from {}",
            key.digest, key.repository
        );
        let hit = Hit::repository(key.repository.as_str());
        let remove = Repair::rows("remove the row", move |transaction| {
            let tombstone = tombstones::tombstone(transaction, &moment.content)?;
            match tombstone.is_some_and(|tombstone| tombstone.deleted_ms == moment.at_ms) {
                true => Ok(()),
                false => transaction.delete(&DELETED_BY_TIME, &moment).map(drop),
            }
        });
        let reason = "no manifest was deleted at that time";
        checker.found(what, reason, vec![hit], Some(remove))
    })
}

fn queue(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&UNREFERENCED, |checker, _, row| {
        let Some(moment) = row.key else {
            return checker.stray(UNREFERENCED.info().name, &row.bytes);
        };
        // One whose link is younger, or gone, is for the collector to drop.
        if row.row.is_ok() {
            return Ok(());
        }
        let key = &moment.content;
        let what = format!(
            "the wait of blob {} of repository {}",
            key.digest, key.repository
        );
        let hit = Hit::repository(key.repository.as_str());
        let again = Repair::rows("write the row again", move |transaction| {
            transaction.delete(&UNREFERENCED, &moment)?;
            unreferenced::put_in(transaction, &moment.content)
        });
        checker.found(what, "its row is damaged", vec![hit], Some(again))
    })
}

fn histories(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&TAG_HISTORY, |checker, _, row| {
        let Some(key) = row.key else {
            return checker.stray(TAG_HISTORY.info().name, &row.bytes);
        };
        if row.row.is_ok() {
            return Ok(());
        }
        let what = format!(
            "change {} of tag {}:{}",
            key.number, key.repository, key.tag
        );
        let hit = Hit::repository(key.repository.as_str());
        let remove = Repair::remove_damaged(TAG_HISTORY, key);
        let reason = "its row is damaged: what happened is not known any more";
        checker.found(what, reason, vec![hit], Some(remove))
    })
}

/// Repositories that were deleted and hold something that was not.
fn deleted_repositories(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&REPOSITORIES, |checker, rows, row| {
        let (Some(name), Ok(row)) = (row.key, row.row) else {
            // Told with the names.
            return Ok(());
        };
        if row.deleted_ms.is_none() || repositories::holds_none(rows, &MANIFESTS, &name)? {
            return Ok(());
        }
        let (what, hit) = (format!("repository {name}"), Hit::repository(name.as_str()));
        let reason = "it is deleted, and there are manifests in it";
        let again = enter_again(name);
        checker.found(what, reason, vec![hit], Some(again))
    })
}

fn enter_again(name: RepositoryName) -> Repair {
    Repair::rows(
        "make it one like any other",
        move |transaction| match repositories::holds_none(transaction, &MANIFESTS, &name)? {
            true => Ok(()),
            false => repositories::enter(transaction, &name, crate::ghostbay::now_ms()),
        },
    )
}
