//! The change log: from it alone the index can be made again.
//!
//! After each commit and before its callers are answered, the transaction's rows are appended to
//! the newest file of changes (ORDERING.md, O3); a sync follows within a second. A checkpoint is the
//! whole catalog as it stood behind one transaction ([`state`]). The newest checkpoint and the changes
//! behind it are the catalog.
//!
//! * [`frame`]: rows as checksummed, chained bytes
//! * [`mod@file`]: the files' names and headers, and reading them
//! * [`state`]: a whole catalog in frames, written while it changes
//! * `follower`: reading on in a log that is being written
//! * [`checkpoint`]: a checkpoint's file
//! * `syncer`: what of the log is durable, and whether it reaches the index
//! * `retention`: which files may go
//! * [`history`]: what the files tell together; `figures`: what they take

pub mod checkpoint;
mod figures;
pub mod file;
mod follower;
pub mod frame;
pub mod history;
mod retention;
pub mod state;
mod syncer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::committer::{CommitListener, ReadCatalog};
use super::error::CatalogError;
use super::table::Change;
use crate::ghostbay::background;
use crate::ghostbay::clock::now_ms;
use crate::ghostbay::disk::{Disk, DiskFile, SyncPoint};

use file::{Kind, LogHeader, file_name, parse_file_name};
use follower::Position;
use frame::FrameWriter;
use syncer::Shared;

pub use figures::LogFigures;
pub use follower::Follower;
pub use history::replay;
pub use syncer::{LogVerifier, SYNC_INTERVAL};

/// A checkpoint that closes a gap is not begun sooner than this after the one before: where the
/// disk is full, each attempt fails.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(5);

/// A log shorter than this is not worth a checkpoint, however small the index, in bytes.
const CHECKPOINT_FLOOR_BYTES: u64 = 16 << 20;

/// Where a log lies and whose it is.
#[derive(Clone)]
pub struct LogPlace {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The directory, which exists.
    pub directory: PathBuf,
    /// The index's file: the log may grow as long.
    pub index: PathBuf,
    /// The store.
    pub store: Uuid,
    /// Version of the catalog's schema.
    pub schema: u32,
    /// A checkpoint is taken when the changes behind the one before have grown to this; `None`: to
    /// the length of the index.
    pub checkpoint_bytes: Option<u64>,
    /// The branch of the store's history.
    pub branch: u64,
    /// A backup younger than this can be brought to any later moment: older checkpoints and
    /// changes stay for so long.
    pub keep: Duration,
}

impl LogPlace {
    /// What a file of the log says of itself.
    pub fn header(&self, kind: Kind, sequence: u64, time_ms: u64) -> LogHeader {
        LogHeader {
            kind,
            schema: self.schema,
            store: self.store,
            sequence,
            time_ms,
            branch: self.branch,
        }
    }
}

/// The open log.
pub struct ChangeLog {
    place: LogPlace,
    tail: Option<Tail>,
    /// The last transaction that it was told of.
    told: u64,
    /// Bytes of all changes that no checkpoint covers.
    uncovered_bytes: u64,
    /// Time of the last transaction: a clock that is set back does not take the log along.
    time_ms: u64,
    shared: Arc<Shared>,
    syncer: Option<JoinHandle<()>>,
    checkpointer: Option<JoinHandle<()>>,
    /// When the last checkpoint was begun.
    attempted: Option<Instant>,
}

/// The file that is appended to.
struct Tail {
    file: Arc<dyn DiskFile>,
    /// The first transaction that it may hold.
    first: u64,
    offset: u64,
    writer: FrameWriter,
}

impl ChangeLog {
    /// Opens the log behind transaction `sequence` and begins a new file of changes.
    ///
    /// The log is not read: whether it reaches `sequence` is found out by [`ChangeLog::verifier`],
    /// off the start.
    pub fn open(place: LogPlace, sequence: u64) -> Result<Self, CatalogError> {
        let failed = |error| CatalogError::Log(Arc::new(error));
        let mut uncovered_bytes = 0;
        let mut checkpoints = Vec::new();
        let mut changes = Vec::new();
        for name in place.disk.list(&place.directory).map_err(failed)? {
            let path = place.directory.join(&name);
            match parse_file_name(&name) {
                Some((Kind::Changes, first)) => {
                    let length = place.disk.open(&path).and_then(|file| file.length());
                    changes.push((first, length.map_err(failed)?));
                }
                Some((Kind::Checkpoint, sequence)) => checkpoints.push(sequence),
                None if name.ends_with(file::TEMPORARY_SUFFIX) => {
                    place.disk.remove(&path).map_err(failed)?;
                }
                None => {}
            }
        }
        let newest = checkpoints.iter().max();
        for (first, length) in changes {
            if newest.is_none_or(|newest| first > *newest) {
                uncovered_bytes += length;
            }
        }
        let tail = match Tail::begin(&place, sequence + 1) {
            Ok(tail) => Some(tail),
            // A full disk still serves reads. The first commit that finds room takes a checkpoint.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::error!(%error, "no file of changes could be begun");
                None
            }
            Err(error) => return Err(failed(error)),
        };
        let shared = Arc::new(Shared::default());
        if let Some(tail) = &tail {
            shared.begun(tail.position(sequence));
        }
        let gap = newest.is_none() || tail.is_none();
        if gap {
            shared.break_off();
        }
        shared
            .checkpoints
            .store(checkpoints.len(), Ordering::Relaxed);
        let syncer = std::thread::Builder::new()
            .name("log-sync".into())
            .spawn({
                let shared = shared.clone();
                move || shared.sync_until_closed()
            })
            .map_err(failed)?;
        Ok(ChangeLog {
            place,
            tail,
            told: sequence,
            uncovered_bytes,
            time_ms: 0,
            shared,
            syncer: Some(syncer),
            checkpointer: None,
            attempted: None,
        })
    }

    /// What finds out whether the log reaches `sequence` without a gap.
    pub fn verifier(&self, sequence: u64) -> LogVerifier {
        let directory = self.place.directory.clone();
        LogVerifier::new(
            self.place.disk.clone(),
            directory,
            sequence,
            self.shared.clone(),
        )
    }

    /// Takes a checkpoint of the state behind transaction `sequence`, whatever the log holds, and
    /// waits for it: what is acknowledged next rests on it, should the index be lost.
    pub fn begin_anew(&mut self, sequence: u64, read: &ReadCatalog) -> Result<(), CatalogError> {
        self.checkpoint(sequence, read)
            .map_err(|error| CatalogError::Log(Arc::new(error)))?;
        if let Some(thread) = self.checkpointer.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread of the change log had panicked");
        }
        Ok(())
    }

    fn append(&mut self, sequence: u64, changes: &[Change]) -> io::Result<()> {
        self.time_ms = self.time_ms.max(now_ms());
        let Some(tail) = &mut self.tail else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        tail.writer
            .transaction(sequence, self.time_ms, changes, &mut bytes);
        tail.file.write_at(&bytes, tail.offset)?;
        tail.offset += bytes.len() as u64;
        self.uncovered_bytes += bytes.len() as u64;
        self.shared.appended(&tail.file, tail.position(sequence));
        Ok(())
    }

    /// Begins a new file of changes behind `sequence` and has the state written out.
    fn checkpoint(&mut self, sequence: u64, read: &ReadCatalog) -> io::Result<()> {
        // One at a time; and the file that is left is synced before anything relies on the next.
        if let Some(tail) = &self.tail {
            tail.file.sync_data(SyncPoint::LogRoll)?;
        }
        let tail = self.tail.insert(Tail::begin(&self.place, sequence + 1)?);
        self.shared.begun(tail.position(sequence));
        self.uncovered_bytes = 0;
        self.shared.checkpoint_begun();
        self.time_ms = self.time_ms.max(now_ms());
        let header = self.place.header(Kind::Checkpoint, sequence, self.time_ms);
        let (disk, directory) = (self.place.disk.clone(), self.place.directory.clone());
        let log = Follower::begin(disk, directory, self.shared.clone())
            .ok_or_else(|| io::Error::other("the change log has a gap again"))?;
        let (place, shared, read) = (self.place.clone(), self.shared.clone(), read.clone());
        self.checkpointer = Some(background::spawn("checkpoint", move || {
            let written = checkpoint::write(&place, sequence, |out| {
                state::write_changing(header, &*read, log, out)
            });
            match written {
                Ok(contents) => {
                    let (begun, ended) = (sequence, contents.sequence);
                    tracing::debug!(begun, ended, "took a checkpoint of the index");
                    shared.checkpoint_taken();
                    let followed = shared.sync().followed.first();
                    if let Err(error) = checkpoint::remove_needless(&place, now_ms(), followed) {
                        tracing::warn!(%error, "old files of the change log were not removed");
                    }
                }
                Err(error) => {
                    shared.break_off();
                    tracing::error!(%error, sequence, "a checkpoint of the index failed; the next commit tries again");
                }
            }
        })?);
        Ok(())
    }

    fn checkpoint_is_due(&self) -> bool {
        if self
            .checkpointer
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
        {
            return false;
        }
        if self.shared.gap.load(Ordering::Relaxed) {
            return self
                .attempted
                .is_none_or(|attempted| attempted.elapsed() >= CHECKPOINT_PAUSE);
        }
        // There is always one to fall back on.
        if self.shared.checkpoints.load(Ordering::Relaxed) < 2 {
            return true;
        }
        if let Some(bytes) = self.place.checkpoint_bytes {
            return self.uncovered_bytes > bytes;
        }
        self.uncovered_bytes > CHECKPOINT_FLOOR_BYTES && {
            let index = self.place.disk.open(&self.place.index);
            let index = index.and_then(|index| index.length()).unwrap_or(0);
            self.uncovered_bytes > index
        }
    }
}

impl CommitListener for ChangeLog {
    fn committed(&mut self, sequence: u64, changes: &[Change], read: &ReadCatalog) {
        self.told = sequence;
        if let Err(error) = self.append(sequence, changes) {
            // The commit stands: the index has it. Only the log does not, until a checkpoint.
            tracing::error!(%error, sequence, "the change log could not be written");
            self.tail = None;
            self.shared.break_off();
        }
        if !self.checkpoint_is_due() {
            return;
        }
        self.attempted = Some(Instant::now());
        if let Err(error) = self.checkpoint(sequence, read) {
            tracing::error!(%error, sequence, "no checkpoint of the index could be begun");
            self.tail = None;
            self.shared.break_off();
        }
    }

    fn reopened(&mut self, sequence: u64) {
        if self.told < sequence {
            tracing::warn!(
                sequence,
                "the change log misses a transaction; the next commit takes a checkpoint"
            );
            self.shared.break_off();
        }
    }
}

impl Drop for ChangeLog {
    fn drop(&mut self) {
        self.shared.close();
        for thread in [self.checkpointer.take(), self.syncer.take()]
            .into_iter()
            .flatten()
        {
            if thread.join().is_err() {
                tracing::error!("a thread of the change log had panicked");
            }
        }
    }
}

impl Tail {
    fn begin(place: &LogPlace, sequence: u64) -> io::Result<Self> {
        let path = place.directory.join(file_name(Kind::Changes, sequence));
        // A file of that name holds no transaction that was committed: it was begun behind the
        // same sequence by a start that committed nothing.
        match place.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = place.disk.create(&path)?;
        let (header, chain) = place.header(Kind::Changes, sequence, now_ms()).encode();
        let named = file.write_at(&header, 0).and_then(|()| {
            place
                .disk
                .sync_directory(&place.directory, SyncPoint::LogName)
        });
        if let Err(error) = named {
            // The next commit tries again, under another name.
            let _ = place.disk.remove(&path);
            return Err(error);
        }
        Ok(Tail {
            file,
            first: sequence,
            offset: header.len() as u64,
            writer: FrameWriter::new(chain),
        })
    }

    /// Where it ends, behind transaction `sequence`.
    fn position(&self, sequence: u64) -> Position {
        Position {
            sequence,
            first: self.first,
            offset: self.offset,
            chain: self.writer.chain(),
        }
    }
}

#[cfg(test)]
mod tests;
