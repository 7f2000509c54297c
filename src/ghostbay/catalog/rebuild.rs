//! An index that is made beside the one that is there: of the change log, of a backup, or of
//! what else is known. It is put in place only when it is whole.

use std::path::{Path, PathBuf};

use super::change_log::file::{LogReadError, LogReader};
use super::change_log::frame::Frame;
use super::change_log::history::{self, Break, Followed, History, Lost};
use super::change_log::state::{self, Contents, StateError};
use super::error::CatalogError;
use super::redb_map::{self, RedbMap};
use super::schema;
use super::table::{Change, RawWrite, Snapshot, Transaction};
use crate::ghostbay::disk::Disk;

/// What an index was made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuilt {
    /// The checkpoint or backup that it began with.
    pub base: Contents,
    /// The last transaction that it holds.
    pub sequence: u64,
    /// When that one was committed, in milliseconds since 1970.
    pub time_ms: u64,
    /// Changes of rows that were applied, those of the checkpoint included.
    pub changes: u64,
    /// Whether there were later transactions than were asked for.
    pub stopped: bool,
    /// Where files of changes broke off.
    pub breaks: Vec<Break>,
    /// Checkpoints that are damaged, and were passed over.
    pub damaged: Vec<PathBuf>,
    /// Transactions that are known to have been, and are not in the index.
    pub lost: Option<Lost>,
}

/// Why no index could be made.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// There is no checkpoint to begin with.
    #[error(
        "the change log holds no checkpoint that can be read, and an index cannot be made of less; `drift restore` takes a backup, `drift rebuild --salvage` keeps what the packs prove"
    )]
    NoCheckpoint,
    /// The log could not be read.
    #[error("the change log cannot be read: {0}")]
    Log(#[from] LogReadError),
    /// The new index could not be written.
    #[error(transparent)]
    Index(#[from] CatalogError),
}

/// Is told how many bytes of how many are read of what an index is made of.
pub type Tell<'a> = &'a mut dyn FnMut(u64, u64);

/// An index that nobody else uses.
pub struct NewIndex {
    map: RedbMap,
}

impl NewIndex {
    /// Opens the index at `path`, or makes it.
    pub fn open(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<Self, CatalogError> {
        Ok(NewIndex {
            map: RedbMap::open(disk, path, cache_bytes)?,
        })
    }

    /// What it holds.
    pub fn read(&self) -> Result<Snapshot, CatalogError> {
        Ok(Snapshot::new(self.map.read()?))
    }

    /// Changes rows in a transaction that no log is told of.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        redb_map::write_once(&self.map, work)
    }

    /// Brings an empty index to the newest schema, as a new store.
    pub fn begin_store(&self, steps: &[schema::Step]) -> Result<(), CatalogError> {
        schema::migrate(&self.map, steps).map(drop)
    }

    /// Fills an empty index from the log in `directory`: the newest checkpoint that is whole, then the
    /// changes behind it. All of it is one transaction, so that half an index is none.
    pub fn fill_from_log(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        tell: Tell<'_>,
    ) -> Result<Rebuilt, RebuildError> {
        let history = history::survey(disk, directory).map_err(LogReadError::from)?;
        let mut damaged = Vec::new();
        for checkpoint in history.checkpoints.iter().rev() {
            match self.fill(disk, &checkpoint.path, &history, None, tell) {
                Err(RebuildError::Log(LogReadError::Frame(error))) => {
                    tracing::error!(checkpoint = %checkpoint.path.display(), "a checkpoint is {error}; trying the one before");
                    damaged.push(checkpoint.path.clone());
                }
                Ok(mut rebuilt) => {
                    rebuilt.lost =
                        history::lost_behind(disk, &history, rebuilt.sequence, rebuilt.time_ms)?;
                    rebuilt.damaged = damaged;
                    rebuilt.damaged.extend(history.unreadable);
                    return Ok(rebuilt);
                }
                failed => return failed,
            }
        }
        Err(RebuildError::NoCheckpoint)
    }

    /// Fills an empty index from the checkpoint or backup at `base`, then with the changes behind
    /// it that `history` holds, up to `until_ms`.
    pub fn fill(
        &self,
        disk: &dyn Disk,
        base: &Path,
        history: &History,
        until_ms: Option<u64>,
        tell: Tell<'_>,
    ) -> Result<Rebuilt, RebuildError> {
        let mut outcome = Err(RebuildError::NoCheckpoint);
        let written = self.map.write(|rows| {
            outcome = apply(rows, disk, base, history, until_ms, tell);
            // Whatever went wrong is told by the outcome; this only drops the transaction.
            outcome.as_ref().map(drop).map_err(|_| CatalogError::Closed)
        });
        let rebuilt = outcome?;
        written?;
        Ok(rebuilt)
    }
}

fn apply(
    rows: &mut dyn RawWrite,
    disk: &dyn Disk,
    base: &Path,
    history: &History,
    until_ms: Option<u64>,
    tell: Tell<'_>,
) -> Result<Rebuilt, RebuildError> {
    let mut reader = LogReader::open(disk, base)?;
    let follows = history.branch == reader.header.branch;
    let mut total = reader.length().map_err(LogReadError::from)?;
    if follows {
        total += history::bytes_behind(disk, history, &reader.header)?;
    }
    let (mut changes, mut read_bytes) = (0, 0);
    let mut put = |frame: Frame| {
        read_bytes += frame.stored_bytes();
        put(rows, frame.changes, &mut changes)?;
        tell(read_bytes, total);
        Ok::<_, CatalogError>(())
    };
    let read = state::read(&mut reader, &mut put);
    let contents = read.map_err(|error| match error {
        StateError::Log(error) => RebuildError::Log(error),
        StateError::Taken(error) => RebuildError::Index(error),
    })?;
    let from = contents.end();
    let followed = if follows {
        history::follow(disk, history, from, until_ms, |frame| {
            put(frame).map_err(RebuildError::from)
        })?
    } else {
        Followed {
            sequence: from.sequence,
            time_ms: from.time_ms,
            stopped: false,
            breaks: Vec::new(),
        }
    };
    Ok(Rebuilt {
        base: contents,
        sequence: followed.sequence,
        time_ms: followed.time_ms,
        changes,
        stopped: followed.stopped,
        breaks: followed.breaks,
        damaged: Vec::new(),
        lost: None,
    })
}

fn put(rows: &mut dyn RawWrite, part: Vec<Change>, changes: &mut u64) -> Result<(), CatalogError> {
    for (key, value) in part {
        *changes += 1;
        match &value {
            Some(value) => rows.put(&key, value)?,
            None => drop(rows.delete(&key)?),
        }
    }
    Ok(())
}
