//! What a store counts of itself. Atomics alone: who counts takes no lock and allocates nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::catalog::Catalog;
use super::clock::now_ms;
use super::disk::SyncPoint;
use super::local::LocalStorageEngine;
use super::pack::PackSpace;

/// Upper bounds of the buckets of times, in microseconds: from memory to a disk that hangs.
const TIME_BOUNDS: [u64; 12] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000, 10_000_000,
];

/// Upper bounds of the buckets of operations in a commit.
const OPERATION_BOUNDS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 256, 1024];

/// A number that grows, or that is set.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Puts another number in its place.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often something took how much: a histogram of fixed bounds.
#[derive(Debug)]
pub struct Distribution<const BOUNDS: usize> {
    bounds: &'static [u64; BOUNDS],
    buckets: [Count; BOUNDS],
    above: Count,
    sum: Count,
}

/// A [`Distribution`] at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Upper bounds, and how many lie between each and the one before it. Of those above the last the
    /// bound is `None`.
    pub buckets: Vec<(Option<u64>, u64)>,
    /// What all of them come to.
    pub sum: u64,
}

impl Seen {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl<const BOUNDS: usize> Distribution<BOUNDS> {
    fn new(bounds: &'static [u64; BOUNDS]) -> Self {
        Distribution {
            bounds,
            buckets: std::array::from_fn(|_| Count::default()),
            above: Count::default(),
            sum: Count::default(),
        }
    }

    /// Takes one in.
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound);
        let bucket = bucket.map_or(&self.above, |bucket| &self.buckets[bucket]);
        bucket.add(1);
        self.sum.add(value);
    }

    /// Takes a time in, in microseconds.
    pub fn observe_time(&self, took: Duration) {
        self.observe(took.as_micros() as u64);
    }

    /// What it is now.
    pub fn seen(&self) -> Seen {
        let bounds = self.bounds.iter().map(|bound| Some(*bound));
        let buckets = bounds.zip(self.buckets.iter().map(Count::get));
        Seen {
            buckets: buckets.chain([(None, self.above.get())]).collect(),
            sum: self.sum.get(),
        }
    }
}

/// Commits of the index.
#[derive(Debug)]
pub struct Commits {
    /// Operations that each took in.
    pub operations: Distribution<9>,
    /// From the first operation to the end of its line in the change log, in microseconds.
    pub times: Distribution<12>,
}

impl Default for Commits {
    fn default() -> Self {
        Commits {
            operations: Distribution::new(&OPERATION_BOUNDS),
            times: Distribution::new(&TIME_BOUNDS),
        }
    }
}

/// What is synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Synced {
    /// Bodies in packs, and packs' names.
    Pack,
    /// The index, its name and the store's directories.
    Index,
    /// Changes in the log.
    Log,
    /// Checkpoints of the log.
    Checkpoint,
    /// The file of a readiness check.
    Probe,
}

impl Synced {
    /// All there are.
    pub const ALL: [Synced; 5] = [
        Synced::Pack,
        Synced::Index,
        Synced::Log,
        Synced::Checkpoint,
        Synced::Probe,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Synced::Pack => "pack",
            Synced::Index => "index",
            Synced::Log => "log",
            Synced::Checkpoint => "checkpoint",
            Synced::Probe => "probe",
        }
    }
}

impl From<SyncPoint> for Synced {
    fn from(point: SyncPoint) -> Self {
        match point {
            SyncPoint::Bodies | SyncPoint::SmallBodies | SyncPoint::PackName => Synced::Pack,
            SyncPoint::Index | SyncPoint::StoreNames | SyncPoint::IndexSwap => Synced::Index,
            SyncPoint::LogTail | SyncPoint::LogRoll | SyncPoint::LogName => Synced::Log,
            SyncPoint::Checkpoint | SyncPoint::CheckpointName => Synced::Checkpoint,
            SyncPoint::Probe => Synced::Probe,
        }
    }
}

/// How long syncs took.
#[derive(Debug)]
pub struct Syncs([Distribution<12>; Synced::ALL.len()]);

impl Default for Syncs {
    fn default() -> Self {
        Syncs(std::array::from_fn(|_| Distribution::new(&TIME_BOUNDS)))
    }
}

impl Syncs {
    /// Those of one kind, in microseconds.
    pub fn of(&self, synced: Synced) -> &Distribution<12> {
        &self.0[synced as usize]
    }
}

/// A cache.
#[derive(Debug, Default)]
pub struct CacheFigures {
    /// What was asked for and there.
    pub hits: Count,
    /// What was asked for and not there.
    pub misses: Count,
}

/// Backups of the schedule, since the start; and how the next is had at once, or one is cancelled.
#[derive(Debug, Default)]
pub struct Backups {
    /// Between one and the next, in milliseconds; 0: there is no schedule.
    pub every_ms: Count,
    /// Has the next come at once.
    pub asked: Notify,
    /// The name of the directory that they go to, without the way to it.
    pub to: OnceLock<String>,
    /// Those that were taken.
    pub taken: Count,
    /// Those that failed.
    pub failed: Count,
    /// Those that were cancelled.
    pub cancelled: Count,
    /// When the one that is under way began, in milliseconds since 1970; 0: there is none.
    pub began_ms: Count,
    /// Bytes of it that are written.
    pub written_bytes: Count,
    /// What ends it.
    cancel: Mutex<CancellationToken>,
    /// When the next is due, in milliseconds since 1970.
    pub next_ms: Count,
    /// When the last was taken, also before the start, in milliseconds since 1970; 0: there is none.
    pub last_ms: Count,
}

impl Backups {
    /// Begins one; what is returned is cancelled when it is to end early.
    pub(super) fn begin(&self, stop: &CancellationToken) -> CancellationToken {
        let cancel = stop.child_token();
        let mut held = self.cancel.lock().unwrap_or_else(PoisonError::into_inner);
        *held = cancel.clone();
        self.written_bytes.set(0);
        self.began_ms.set(now_ms());
        cancel
    }

    /// Cancels the one that is under way; whether there is one. It may still come to its end, if all of it
    /// is written.
    pub fn cancel(&self) -> bool {
        let cancel = self.cancel.lock().unwrap_or_else(PoisonError::into_inner);
        let is_under_way = self.began_ms.get() > 0;
        if is_under_way {
            cancel.cancel();
        }
        is_under_way
    }
}

/// What a store counts, since it was opened.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Commits of the index.
    pub commits: Arc<Commits>,
    /// Syncs.
    pub syncs: Arc<Syncs>,
    /// The windows of extents that were read lately: whether their checksums lie in memory.
    pub windows: Arc<CacheFigures>,
    /// Backups of the schedule.
    pub backups: Arc<Backups>,
}

impl Figures {
    pub(super) fn of(catalog: &Catalog, space: &PackSpace, syncs: Arc<Syncs>) -> Self {
        Figures {
            commits: catalog.commits().clone(),
            syncs,
            windows: space.known_windows().figures().clone(),
            backups: Arc::default(),
        }
    }
}

impl LocalStorageEngine {
    /// What the store counts of itself.
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_below_the_first_bound_that_it_does_not_go_over() {
        let commits = Commits::default();
        for operations in [1, 2, 3, 1024, 1025] {
            commits.operations.observe(operations);
        }
        let seen = commits.operations.seen();
        assert_eq!((seen.count(), seen.sum), (5, 2055));
        let of = |bound| seen.buckets.iter().find(|it| it.0 == bound).unwrap().1;
        assert_eq!(
            [
                of(Some(1)),
                of(Some(2)),
                of(Some(4)),
                of(Some(1024)),
                of(None)
            ],
            [1; 5]
        );
    }
}
