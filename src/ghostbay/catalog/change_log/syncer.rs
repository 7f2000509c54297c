//! What of the log is durable, and whether it reaches the index.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::follower::{Followed, Follower, Position};
use super::replay;
use crate::ghostbay::catalog::{Catalog, CatalogError, schema};
use crate::ghostbay::disk::{Disk, DiskFile, SyncPoint};

/// What was appended is synced after this at the latest.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// What the log's threads share.
#[derive(Default)]
pub(super) struct Shared {
    /// The log misses a transaction: only a checkpoint can make it whole again.
    pub gap: AtomicBool,
    /// Checkpoints that are there, or have been.
    pub checkpoints: AtomicUsize,
    /// Held by whoever syncs: what another has begun to sync is durable when this is free again.
    syncing: Mutex<()>,
    sync: Mutex<SyncState>,
    wake: Condvar,
}

#[derive(Default)]
pub(super) struct SyncState {
    /// What was appended to, and is not synced yet.
    pub unsynced: Option<Arc<dyn DiskFile>>,
    /// Where what was appended ends; `None` while the last transaction is missing.
    pub position: Option<Position>,
    /// Who reads on from where.
    pub followed: Followed,
    closed: bool,
    reach: Reach,
}

/// Whether the log reaches the index, but for what is not synced yet.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Reach {
    /// What an earlier process left was not read yet.
    #[default]
    Unknown,
    /// There was a gap, and no checkpoint behind it is durable yet.
    Broken,
    Whole,
}

impl Shared {
    pub fn sync(&self) -> MutexGuard<'_, SyncState> {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log misses a transaction.
    pub fn break_off(&self) {
        self.gap.store(true, Ordering::Relaxed);
        let mut sync = self.sync();
        sync.reach = Reach::Broken;
        sync.position = None;
    }

    /// A checkpoint was begun, which closes a gap if it comes to its end.
    pub fn checkpoint_begun(&self) {
        let mut sync = self.sync();
        if self.gap.swap(false, Ordering::Relaxed) {
            sync.reach = Reach::Broken;
        }
    }

    /// A checkpoint is durable.
    pub fn checkpoint_taken(&self) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        let mut sync = self.sync();
        if !self.gap.load(Ordering::Relaxed) {
            sync.reach = Reach::Whole;
        }
    }

    /// A file was begun, to which nothing is appended yet.
    pub fn begun(&self, position: Position) {
        self.sync().position = Some(position);
    }

    /// Something was appended to a file, which has to be synced. Another that still waits is one
    /// that a checkpoint has left, and synced.
    pub fn appended(&self, file: &Arc<dyn DiskFile>, position: Position) {
        let mut sync = self.sync();
        sync.position = Some(position);
        if sync.unsynced.replace(file.clone()).is_none() {
            self.wake.notify_one();
        }
    }

    /// Ends [`Shared::sync_until_closed`].
    pub fn close(&self) {
        self.sync().closed = true;
        self.wake.notify_one();
    }

    fn sync_file(&self) {
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let unsynced = self.sync().unsynced.take();
        if let Some(file) = unsynced
            && let Err(error) = file.sync_data(SyncPoint::LogTail)
        {
            self.break_off();
            tracing::error!(%error, "the change log could not be synced; the next commit takes a checkpoint");
        }
    }

    /// Syncs what is appended, an interval later at the latest.
    pub fn sync_until_closed(&self) {
        loop {
            let mut sync = self.sync();
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
            let closed = sync.closed;
            drop(sync);
            self.sync_file();
            if closed {
                return;
            }
        }
    }
}

/// Finds out whether a log reaches the index.
#[derive(Clone)]
pub struct LogVerifier {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    sequence: u64,
    shared: Arc<Shared>,
}

impl LogVerifier {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        sequence: u64,
        shared: Arc<Shared>,
    ) -> Self {
        LogVerifier {
            disk,
            directory,
            sequence,
            shared,
        }
    }

    /// Reads on from where the log stands now; `None` if it misses the last transaction.
    pub fn follow(&self) -> Option<Follower> {
        Follower::begin(
            self.disk.clone(),
            self.directory.clone(),
            self.shared.clone(),
        )
    }

    /// Makes a commit, and with it a checkpoint.
    pub fn close_gap(&self, catalog: &Catalog) {
        tracing::warn!("the change log does not reach the index; taking a checkpoint");
        self.shared.break_off();
        match catalog.transact_blocking(schema::note_log_gap) {
            Ok(Ok(())) | Err(CatalogError::Closed) => {}
            Ok(Err(error)) | Err(error) => {
                tracing::error!(%error, "no checkpoint of the index was taken");
            }
        }
    }

    /// Reads the log as it was found; whether it reaches the index. `None` if `stop` was cancelled
    /// before that was known.
    pub fn reaches(&self, stop: &CancellationToken) -> Option<bool> {
        let reached = replay(&*self.disk, &self.directory, |_| {
            match stop.is_cancelled() {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => Ok(()),
            }
        });
        let reaches = reached.is_ok_and(|reached| reached.is_some_and(|at| at >= self.sequence));
        let mut sync = self.shared.sync();
        // Whatever broke it since stays broken.
        if reaches && sync.reach == Reach::Unknown {
            sync.reach = Reach::Whole;
        }
        (reaches || !stop.is_cancelled()).then_some(reaches)
    }

    /// Syncs what was appended so far; whether the log, and it alone, gives all of it back from then
    /// on. Not where it has a gap that no checkpoint has closed yet, nor while a start still reads it.
    pub fn settle(&self) -> bool {
        self.shared.sync_file();
        self.shared.sync().reach == Reach::Whole
    }
}
