//! The whole catalog as a stream of bytes: a backup has the form of a checkpoint.

use std::io;
use std::path::Path;

use super::change_log::Follower;
use super::change_log::file::{Kind, LogHeader};
use super::change_log::state::{self, Contents};
use super::error::CatalogError;
use super::rebuild::NewIndex;
use super::schema;
use super::table::Snapshot;
use crate::ghostbay::clock::now_ms;
use crate::ghostbay::disk::Disk;

/// Writes the state of a catalog that goes on being written, which `read` gives as it stands. Holds a
/// frame in memory.
///
/// With `log`, which was there before, no state is read for longer than a frame takes. Where the log
/// misses the last transaction, it is one state, which holds back the index's pages to the end.
pub fn write(
    read: &dyn Fn() -> Result<Snapshot, CatalogError>,
    log: Option<Follower>,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Contents, BackupError> {
    let state = read()?;
    let mut header = header_of(&state)?;
    let Some(log) = log else {
        return Ok(state::write(header, &state, out)?);
    };
    drop(state);
    header.sequence = log.sequence();
    Ok(state::write_changing(header, read, log, out)?)
}

/// What says of `state`, which was taken just now, what it is.
fn header_of(state: &Snapshot) -> Result<LogHeader, CatalogError> {
    Ok(LogHeader {
        kind: Kind::Checkpoint,
        schema: schema::version(state)?,
        store: schema::store_id(state)?,
        sequence: schema::sequence(state)?,
        time_ms: now_ms(),
        branch: schema::branch(state)?,
    })
}

/// Writes the state of the index at `index`, which nobody else has open. Its schema stays as it is.
pub fn write_stopped(
    disk: &dyn Disk,
    index: &Path,
    cache_bytes: usize,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Contents, BackupError> {
    let index = NewIndex::open(disk, index, cache_bytes)?;
    let state = index.read()?;
    Ok(state::write(header_of(&state)?, &state, out)?)
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
