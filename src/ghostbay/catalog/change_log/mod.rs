//! The change log: from it alone the index can be made again.
//!
//! After each commit and before its callers are answered, the transaction's rows are appended to
//! the newest file of changes (ORDERING.md, O3); a sync follows within a second. A checkpoint is the
//! whole catalog as it stood behind one transaction. The newest checkpoint and the changes
//! behind it are the catalog.
//!
//! * [`frame`]: rows as checksummed, chained bytes
//! * [`mod@file`]: the files' names and headers, and reading them
//! * [`checkpoint`]: writing and reading a checkpoint
//! * `retention`: which files may go
//! * [`history`]: what the files tell together

pub mod checkpoint;
pub mod file;
pub mod frame;
pub mod history;
mod retention;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Catalog;
use super::committer::CommitListener;
use super::error::CatalogError;
use super::schema;
use super::table::{Change, Snapshot};
use crate::ghostbay::background;
use crate::ghostbay::clock::now_ms;
use crate::ghostbay::disk::{Disk, DiskFile, SyncPoint};

use file::{Kind, LogHeader, file_name, parse_file_name};
use frame::FrameWriter;

pub use history::replay;

/// What was appended is synced after this at the latest.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

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
    fn header(&self, kind: Kind, sequence: u64, time_ms: u64) -> LogHeader {
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
    offset: u64,
    writer: FrameWriter,
}

#[derive(Default)]
struct Shared {
    /// The log misses a transaction: only a checkpoint can make it whole again.
    gap: AtomicBool,
    /// Checkpoints that are there, or have been.
    checkpoints: AtomicUsize,
    sync: Mutex<SyncState>,
    wake: Condvar,
}

#[derive(Default)]
struct SyncState {
    unsynced: Option<Arc<dyn DiskFile>>,
    closed: bool,
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
        let gap = newest.is_none() || tail.is_none();
        shared.gap.store(gap, Ordering::Relaxed);
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
        LogVerifier {
            disk: self.place.disk.clone(),
            directory: self.place.directory.clone(),
            sequence,
            shared: self.shared.clone(),
        }
    }

    /// Takes a checkpoint of the state behind transaction `sequence`, whatever the log holds, and
    /// waits for it: what is acknowledged next rests on it, should the index be lost.
    pub fn begin_anew(&mut self, sequence: u64, state: Snapshot) -> Result<(), CatalogError> {
        self.checkpoint(sequence, state)
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
        let mut sync = self
            .shared
            .sync
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Another file that still waits is one that a checkpoint has left, and synced.
        if sync.unsynced.replace(tail.file.clone()).is_none() {
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    /// Begins a new file of changes behind `sequence` and has the state at it written out.
    fn checkpoint(&mut self, sequence: u64, state: Snapshot) -> io::Result<()> {
        // One at a time; and the file that is left is synced before anything relies on the next.
        if let Some(tail) = &self.tail {
            tail.file.sync_data(SyncPoint::LogRoll)?;
        }
        self.tail = Some(Tail::begin(&self.place, sequence + 1)?);
        self.uncovered_bytes = 0;
        self.shared.gap.store(false, Ordering::Relaxed);
        // The state is read off the committer's thread, but it was taken on it: nothing that was
        // committed later is in it.
        let time_ms = self.time_ms.max(now_ms());
        self.time_ms = time_ms;
        let (place, shared) = (self.place.clone(), self.shared.clone());
        self.checkpointer = Some(background::spawn("checkpoint", move || {
            let written = checkpoint::write(&place, sequence, time_ms, &state);
            drop(state);
            match written {
                Ok(rows) => {
                    tracing::debug!(sequence, rows, "took a checkpoint of the index");
                    shared.checkpoints.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = checkpoint::remove_needless(&place, now_ms()) {
                        tracing::warn!(%error, "old files of the change log were not removed");
                    }
                }
                Err(error) => {
                    shared.gap.store(true, Ordering::Relaxed);
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
    fn committed(
        &mut self,
        sequence: u64,
        changes: &[Change],
        state: &dyn Fn() -> Result<Snapshot, CatalogError>,
    ) {
        self.told = sequence;
        if let Err(error) = self.append(sequence, changes) {
            // The commit stands: the index has it. Only the log does not, until a checkpoint.
            tracing::error!(%error, sequence, "the change log could not be written");
            self.tail = None;
            self.shared.gap.store(true, Ordering::Relaxed);
        }
        if !self.checkpoint_is_due() {
            return;
        }
        self.attempted = Some(Instant::now());
        let begun = state()
            .map_err(io::Error::other)
            .and_then(|state| self.checkpoint(sequence, state));
        if let Err(error) = begun {
            tracing::error!(%error, sequence, "no checkpoint of the index could be begun");
            self.tail = None;
            self.shared.gap.store(true, Ordering::Relaxed);
        }
    }

    fn reopened(&mut self, sequence: u64) {
        if self.told < sequence {
            tracing::warn!(
                sequence,
                "the change log misses a transaction; the next commit takes a checkpoint"
            );
            self.shared.gap.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for ChangeLog {
    fn drop(&mut self) {
        {
            let mut sync = self
                .shared
                .sync
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            sync.closed = true;
            self.shared.wake.notify_one();
        }
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
            offset: header.len() as u64,
            writer: FrameWriter::new(chain),
        })
    }
}

impl Shared {
    fn sync_until_closed(&self) {
        loop {
            let mut sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
            while sync.unsynced.is_none() && !sync.closed {
                sync = self.wake.wait(sync).unwrap_or_else(PoisonError::into_inner);
            }
            if !sync.closed {
                // More is gathered until the interval has passed, or the log is closed.
                sync = self
                    .wake
                    .wait_timeout_while(sync, SYNC_INTERVAL, |sync| !sync.closed)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            let (unsynced, closed) = (sync.unsynced.take(), sync.closed);
            drop(sync);
            if let Some(file) = unsynced
                && let Err(error) = file.sync_data(SyncPoint::LogTail)
            {
                self.gap.store(true, Ordering::Relaxed);
                tracing::error!(%error, "the change log could not be synced; the next commit takes a checkpoint");
            }
            if closed {
                return;
            }
        }
    }
}

/// Finds out whether a log reaches the index.
#[derive(Clone)]
pub struct LogVerifier {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    sequence: u64,
    shared: Arc<Shared>,
}

impl LogVerifier {
    /// Makes a commit, and with it a checkpoint.
    pub fn close_gap(&self, catalog: &Catalog) {
        tracing::warn!("the change log does not reach the index; taking a checkpoint");
        self.shared.gap.store(true, Ordering::Relaxed);
        match catalog.transact_blocking(schema::note_log_gap) {
            Ok(Ok(())) | Err(CatalogError::Closed) => {}
            Ok(Err(error)) | Err(error) => {
                tracing::error!(%error, "no checkpoint of the index was taken");
            }
        }
    }

    /// Reads the log; whether it reaches the index. `None` if `stop` was cancelled before that was
    /// known.
    pub fn reaches(&self, stop: &CancellationToken) -> Option<bool> {
        let reached = replay(&*self.disk, &self.directory, |_| {
            match stop.is_cancelled() {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => Ok(()),
            }
        });
        let reaches = reached.is_ok_and(|reached| reached.is_some_and(|at| at >= self.sequence));
        (reaches || !stop.is_cancelled()).then_some(reaches)
    }
}

#[cfg(test)]
mod tests;
