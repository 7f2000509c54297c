//! Making the index again from the change log alone.

use std::path::Path;

use super::change_log::{self, file::LogReadError};
use super::error::CatalogError;
use super::redb_map::RedbMap;
use super::table::{Change, RawWrite};
use crate::ghostbay::disk::Disk;

/// What an index was made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rebuilt {
    /// The last transaction that the log holds whole and without a gap.
    pub sequence: u64,
    /// Changes of rows that were applied, those of the checkpoint included.
    pub changes: u64,
}

/// Why no index could be made.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// There is no checkpoint to begin with.
    #[error("the change log holds no checkpoint, and an index cannot be made of less")]
    NoCheckpoint,
    /// The log could not be read.
    #[error("the change log cannot be read: {0}")]
    Log(#[from] LogReadError),
    /// The new index could not be written.
    #[error(transparent)]
    Index(#[from] CatalogError),
}

/// Makes a new index at `index`, where there is none, of the log in `log`: the newest checkpoint and
/// the changes behind it. All of it is one transaction, so that half an index is none.
pub fn rebuild(
    disk: &dyn Disk,
    index: &Path,
    cache_bytes: usize,
    log: &Path,
) -> Result<Rebuilt, RebuildError> {
    let map = RedbMap::open(disk, index, cache_bytes)?;
    let mut outcome = Err(RebuildError::NoCheckpoint);
    let written = map.write(|rows| {
        outcome = apply(rows, disk, log);
        // Whatever went wrong is told by the outcome; this only drops the transaction.
        outcome.as_ref().map(drop).map_err(|_| CatalogError::Closed)
    });
    let rebuilt = outcome?;
    written?;
    Ok(rebuilt)
}

fn apply(rows: &mut dyn RawWrite, disk: &dyn Disk, log: &Path) -> Result<Rebuilt, RebuildError> {
    let mut failed = None;
    let mut checkpoint = None;
    let mut gathered: Vec<Change> = Vec::new();
    let mut changes = 0;
    let reached = change_log::replay(disk, log, |frame| {
        // The checkpoint comes first and can be long: it goes straight in. A later transaction
        // whose last frame is missing must not go in by half.
        let is_checkpoint = *checkpoint.get_or_insert(frame.sequence) == frame.sequence;
        gathered.extend(frame.changes);
        if failed.is_some() || !(frame.last || is_checkpoint) {
            return;
        }
        for (key, value) in gathered.drain(..) {
            changes += 1;
            let applied = match &value {
                Some(value) => rows.put(&key, value),
                None => rows.delete(&key).map(drop),
            };
            if let Err(error) = applied {
                failed = Some(error);
                return;
            }
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let sequence = reached.ok_or(RebuildError::NoCheckpoint)?;
    Ok(Rebuilt { sequence, changes })
}
