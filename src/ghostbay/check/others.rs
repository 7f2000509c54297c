//! Tables that somebody else keeps in the same index: whether each of their rows is whole.

use super::finding::{Repair, Subject};
use super::run::{CheckError, Run};
use crate::ghostbay::catalog::{Fault, TableInfo};

/// Rows that are looked at in one snapshot. A snapshot that is kept lets the index grow.
const CHUNK_ROWS: usize = 256;

/// Looks at each row of a table. One that is damaged can be removed where the table is `expendable`: where
/// nobody misses a row of it more than a damaged one.
pub fn each_row_is_whole(
    run: &mut Run<'_>,
    table: &TableInfo,
    expendable: bool,
) -> Result<(), CheckError> {
    let mut after: Option<Vec<u8>> = None;
    let mut seen = 0;
    loop {
        run.progress(table.name, seen, None)?;
        let snapshot = run.store().read()?;
        let mut read = 0;
        for row in snapshot
            .rows_of(table.id, after.as_deref())?
            .take(CHUNK_ROWS)
        {
            let (key, stored) = row?;
            read += 1;
            let subject = Subject::row(table.name, &key);
            match (table.fault)(&key, &stored) {
                None => {}
                Some(Fault::Key) => {
                    let remove = Repair::remove_stray(key.clone());
                    run.found(subject, "its key is one that nobody writes", Some(remove))?;
                }
                Some(Fault::Row(reason)) => {
                    let remove = expendable.then(|| Repair::remove_stray(key.clone()));
                    run.found(subject, format!("its row is damaged: {reason}"), remove)?;
                }
            }
            // A key that was damaged can stand out of order; to go on behind it must not lead back.
            if after.as_ref().is_none_or(|after| *after < key) {
                after = Some(key);
            }
        }
        seen += read as u64;
        if read < CHUNK_ROWS {
            return Ok(());
        }
    }
}
