//! The whole catalog as a stream of bytes: a backup has the form of a checkpoint.

use std::io;
use std::path::Path;

use super::change_log::checkpoint::write_rows;
use super::change_log::file::{Kind, LogHeader};
use super::error::CatalogError;
use super::rebuild::NewIndex;
use super::schema;
use super::table::Snapshot;
use crate::ghostbay::clock::now_ms;
use crate::ghostbay::disk::Disk;

/// Writes `state`, which was taken just now, piece by piece; the header that says what it is.
/// Holds a frame in memory.
pub fn write(
    state: &Snapshot,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<LogHeader, BackupError> {
    let header = LogHeader {
        kind: Kind::Checkpoint,
        schema: schema::version(state)?,
        store: schema::store_id(state)?,
        sequence: schema::sequence(state)?,
        time_ms: now_ms(),
        branch: schema::branch(state)?,
    };
    write_rows(&header, state, out)?;
    Ok(header)
}

/// Writes the state of the index at `index`, which nobody else has open. Its schema stays as it is.
pub fn write_stopped(
    disk: &dyn Disk,
    index: &Path,
    cache_bytes: usize,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<LogHeader, BackupError> {
    let index = NewIndex::open(disk, index, cache_bytes)?;
    write(&index.read()?, out)
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] CatalogError),
    /// The backup could not be written.
    #[error("the backup cannot be written: {0}")]
    Write(#[from] io::Error),
}
