//! What each repository holds, counted again.

use super::{Checker, Hit};
use crate::ghostbay::catalog::{Rows, Snapshot};
use crate::ghostbay::check::{CheckError, Repair};
use crate::oci::RepositoryName;
use crate::registry::tables::{REPOSITORIES, USAGE, UsageRow};
use crate::registry::usage;

pub(super) fn check(checker: &mut Checker<'_, '_>) -> Result<(), CheckError> {
    checker.each(&USAGE, |checker, rows, row| {
        let Some(name) = row.key else {
            return checker.stray(USAGE.info().name, &row.bytes);
        };
        compare(checker, rows, &name, row.row.ok())
    })?;
    checker.each(&REPOSITORIES, |checker, rows, row| {
        match row.key {
            // One that has counters was compared with them.
            Some(name) if !rows.contains(&USAGE, &name)? => {
                compare(checker, rows, &name, Some(UsageRow::default()))
            }
            _ => Ok(()),
        }
    })
}

fn compare(
    checker: &mut Checker<'_, '_>,
    rows: &Snapshot,
    repository: &RepositoryName,
    counted: Option<UsageRow>,
) -> Result<(), CheckError> {
    let count = usage::count(rows, repository)?;
    let there = count.usage;
    let reason = match counted {
        // What a damaged row counted for is not known; who mends it counts again.
        Some(counted) if counted == there || count.damaged => return Ok(()),
        Some(counted) => format!("{} are counted, and {} are there", say(counted), say(there)),
        None => "its row is damaged".to_owned(),
    };
    let name = repository.clone();
    let again = Repair::rows("count again", move |transaction| {
        usage::recount(transaction, &name)
    });
    let what = format!("what is counted of repository {repository}");
    let hit = Hit::repository(repository.as_str());
    checker.found(what, reason, vec![hit], Some(again))
}

fn say(usage: UsageRow) -> String {
    let UsageRow {
        bytes,
        blobs,
        manifests,
        tags,
    } = usage;
    format!("{bytes} bytes, {blobs} blobs, {manifests} manifests and {tags} tags")
}
