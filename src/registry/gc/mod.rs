//! The collector: takes what nothing refers to, while everything runs.
//!
//! * `plan`: what is due, and what becomes of it
//! * `act`: doing it, batch by batch
//! * [`report`]: what is told of it
//!
//! Nothing is searched for. Who deletes a manifest makes a tombstone, which lies in a table by age;
//! who purges one puts its blobs into the queue (`unreferenced`), as a push or a mount does with
//! a blob that no manifest refers to yet. A cycle reads what is due at the front of both.
//!
//! # Why a writer and the collector cannot race
//!
//! What a client relies on is that a blob of which it knows is there when its manifest comes. It
//! knows of it in one of three ways, and the collector takes a blob only in a transaction that
//! looks at all of them again:
//!
//! 1. *It pushed or mounted it.* That wrote the link with the moment, in one transaction. Operations
//!    run one after the other and see what those before them wrote. If the collector's comes
//!    later, it finds a link younger than the row of the queue that it came by, and leaves it. If
//!    it came first, the push made link and object anew, and the mount found its source gone and
//!    asked for an upload.
//! 2. *A manifest is made of it.* The push of the manifest looked for the link in the transaction
//!    that wrote the edge. The collector looks for edges in the transaction that takes the link. So
//!    whichever comes later sees the other: an edge keeps the blob, a missing link refuses the
//!    manifest.
//! 3. *It was told by HEAD.* That leaves no row. It leaves a lease in memory, before it reads the
//!    snapshot that it answers from (`leases`). The collector condemns under the lock of the leases
//!    what is not leased, and only that is taken. A HEAD that finds its blob condemned waits for
//!    the transaction's end, and answers by what that left. A HEAD that leases first is seen by
//!    the collector. Behind a start, whose predecessor's leases are not known, everything
//!    counts as leased for one whole grace; so it does when the table of leases is full.
//!
//! A blob's bytes go in the transaction that takes its last link, and a link is what makes any of
//! the three say that the blob is there; so bytes never go from under a link. A pull that has
//! begun reads on: bytes that lose their last owner stay where they are until nobody reads them.
//!
//! The upload of a blob that is taken meanwhile makes the object anew: whether the object is there
//! is looked at in the transaction that ends the upload. A manifest that comes back from its
//! tombstone is pushed again, with all that this looks at; until the tombstone's purge its edges
//! keep its blobs.
//!
//! `leases/model.rs` holds the protocol against a scheduler that tries its interleavings.

mod act;
mod plan;
pub mod report;

use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use tokio::time;
use tokio_util::sync::CancellationToken;

use super::leases::{LEASES_MAX, Leases};
use super::{Registry, RegistryError};
use crate::digest::Digest;
use crate::ghostbay::now_ms;
use crate::ghostbay::pauses::{Pauses, Work};
use crate::spans::{self, job};

pub use report::{Act, Collected, Item};

/// When what was deleted or is not referred to goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GcOptions {
    /// For how long a blob is safe that was pushed or mounted, or that a client was told is there.
    pub grace: Duration,
    /// For how long a deleted manifest can come back.
    pub keep_deleted: Duration,
}

impl Default for GcOptions {
    fn default() -> Self {
        GcOptions {
            grace: Duration::from_secs(24 * 60 * 60),
            keep_deleted: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

/// What clients and collector share.
pub(super) struct Shared {
    pub(super) leases: Leases,
    began: Instant,
    /// Held by the cycle that runs.
    cycle: Mutex<()>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Shared {
            leases: Leases::new(LEASES_MAX, 0),
            began: Instant::now(),
            cycle: Mutex::default(),
        }
    }

    /// The clock of the leases.
    pub(super) fn clock_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// Who ends a cycle before there is nothing left to take: whoever stops the server, or has collections stand
/// still. What is left lies at the front of the same queues for the next.
#[derive(Clone, Copy)]
struct Stop<'a> {
    token: &'a CancellationToken,
    pauses: &'a Pauses,
}

impl Stop<'_> {
    fn is_told(self) -> bool {
        self.token.is_cancelled() || self.pauses.has(Work::Collection)
    }
}

/// The moments by which a cycle judges.
#[derive(Clone, Copy)]
struct Moment {
    now_ms: u64,
    grace_ms: u64,
    keep_ms: u64,
}

impl Moment {
    /// Whether a blob that was linked then has been safe for long enough.
    fn is_over(&self, linked_ms: u64) -> bool {
        linked_ms.saturating_add(self.grace_ms) <= self.now_ms
    }

    /// The same moment, at which no deleted manifest can come back.
    fn without_keeping(&self) -> Self {
        Moment {
            keep_ms: 0,
            ..*self
        }
    }

    /// Whether a manifest that was deleted then is to be purged.
    fn is_dead(&self, deleted_ms: u64) -> bool {
        deleted_ms.saturating_add(self.keep_ms) <= self.now_ms
    }
}

impl Registry {
    fn moment(&self) -> Moment {
        let GcOptions {
            grace,
            keep_deleted,
        } = self.options.gc;
        Moment {
            now_ms: now_ms(),
            grace_ms: grace.as_millis() as u64,
            keep_ms: keep_deleted.as_millis() as u64,
        }
    }

    /// When a manifest that was deleted then is purged.
    pub(super) fn purged_ms(&self, deleted_ms: u64) -> u64 {
        deleted_ms.saturating_add(self.moment().keep_ms)
    }

    /// When a blob that was linked then may go.
    pub(super) fn due_ms(&self, linked_ms: u64) -> u64 {
        linked_ms.saturating_add(self.moment().grace_ms)
    }

    /// Until when a lease keeps a blob, if one does.
    pub(super) fn leased_until_ms(&self, digest: &Digest) -> Option<u64> {
        let Moment {
            now_ms, grace_ms, ..
        } = self.moment();
        let left_ms = self.gc.leases.left_ms(digest, self.gc.clock_ms(), grace_ms);
        (left_ms > 0).then(|| now_ms.saturating_add(left_ms))
    }

    /// Takes what is due, and tells each thing that it decides. For a thread that may block.
    /// [`RegistryError::CollectionsPaused`] while collections stand still.
    pub fn collect(
        &self,
        stop: &CancellationToken,
        tell: &mut dyn FnMut(Item),
    ) -> Result<Collected, RegistryError> {
        let pauses = self.storage.pauses();
        let _one_at_a_time = self.gc.cycle.lock().unwrap_or_else(PoisonError::into_inner);
        if pauses.has(Work::Collection) {
            return Err(RegistryError::CollectionsPaused);
        }
        let began = Instant::now();
        let stop = Stop {
            token: stop,
            pauses,
        };
        let collected = act::cycle(self, &self.moment(), stop, tell);
        self.figures.collections.ended(began.elapsed(), &collected);
        collected
    }

    /// Whether a collection is under way.
    pub fn is_collecting(&self) -> bool {
        matches!(self.gc.cycle.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Has collections stand still, or go on. One that is under way ends behind the transaction that it is
    /// at. Blocks.
    pub fn pause_collections(&self, paused: bool) -> Result<(), RegistryError> {
        Ok(self.storage.pauses().set(Work::Collection, paused)?)
    }

    /// Tells what [`Registry::collect`] would do, and changes nothing. For a thread that may
    /// block.
    pub fn plan_collection(&self, tell: &mut dyn FnMut(Item)) -> Result<Collected, RegistryError> {
        plan::of(self, &self.moment(), tell)
    }

    /// Collects every `interval`, until told to stop. What was due while collections stood still comes when
    /// they go on.
    pub async fn collect_every(&self, interval: Duration, stop: CancellationToken) {
        let mut next = time::Instant::now();
        loop {
            let wait = next.saturating_duration_since(time::Instant::now());
            let due_ms = now_ms().saturating_add(wait.as_millis() as u64);
            self.figures.collections.next_ms.set(due_ms);
            let due = async {
                time::sleep_until(next).await;
                self.storage.pauses().ended(Work::Collection).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = due => {}
            }
            let job = job!("gc");
            let begun = time::Instant::now();
            next = begun + interval;
            let (registry, stopped) = (self.clone(), stop.clone());
            let cycle = tokio::task::spawn_blocking(move || {
                registry.collect(&stopped, &mut |item| tracing::debug!("{item}"))
            });
            match cycle.await {
                // It goes on where it was.
                Ok(Ok(Collected { stopped: true, .. }) | Err(RegistryError::CollectionsPaused)) => {
                    next = begun;
                }
                Ok(Ok(collected)) if collected.is_nothing() => {}
                Ok(Ok(collected)) => tracing::info!("collected {collected}"),
                Ok(Err(error)) => {
                    spans::failed(&job);
                    tracing::warn!(
                        "a collection broke off: {}",
                        std::error::Error::source(&error)
                            .map_or(error.to_string(), ToString::to_string)
                    );
                }
                Err(error) => {
                    spans::failed(&job);
                    tracing::error!(%error, "a collection failed");
                }
            }
        }
    }
}
