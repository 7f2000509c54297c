//! Compaction: packs of which little is left alive are rewritten, and what is left of them moves.
//!
//! * [`plan`]: which packs, and why
//! * `copy`: live extents on their way to another pack, checked
//! * `swap`: the transaction that has their owners name the copies
//!
//! The order (ORDERING.md, O12): a copy is checked against its checksums on the way, and durable before
//! the transaction that names it; that transaction changes only rows that still name the original, and
//! releases it. So a kill leaves a copy that nothing names, which the next start cuts off, or one that
//! is named, and never neither. Whoever reads the original has it pinned. A pack without live bytes
//! is removed by the reclaimer.

mod copy;
pub mod plan;
mod swap;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::background;
use super::catalog::{Catalog, CatalogError, Rows};
use super::error::StorageError;
use super::local::LocalStorageEngine;
use super::owners::{Owner, each_owner};
use super::pack::accounts::PACKS;
use super::pack::record::footprint;
use super::pack::{Extent, PackId, PackSpace};
use super::pauses::{Pauses, Work};
use super::pinned::pinned;
use super::room::Gauge;
use crate::spans::{self, job};

use copy::{Copied, Copier, Moved};
use plan::{Decision, Figures, Plan, plan};

/// Owners that are moved in one transaction at most.
const BATCH_OWNERS: usize = 128;
/// Bytes that are copied before they are made durable and named.
const BATCH_BYTES: u64 = 32 << 20;
/// How often what moves meanwhile is looked for again.
const PASSES_MAX: usize = 4;
/// The longest wait at once, so that a stop or a pause is seen soon.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// What a compaction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Compacted {
    /// Packs that were to be rewritten.
    pub packs: u64,
    /// Packs of them in which nothing is left.
    pub emptied: u64,
    /// Bytes of bodies that were copied.
    pub copied_bytes: u64,
    /// Extents before, and what they became.
    pub extents_before: u64,
    /// Extents that they became.
    pub extents_after: u64,
    /// Extents that are damaged, and stay where they are.
    pub damaged: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// Whether compaction goes on, and how far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CompactionState {
    /// Whether it was told to pause.
    pub paused: bool,
    /// Whether packs are being rewritten.
    pub running: bool,
    /// Bytes that were copied since the start.
    pub copied_bytes: u64,
    /// Packs of which nothing was left behind since the start.
    pub rewritten_packs: u64,
    /// What the packs that are being rewritten held alive when that began, in bytes with what records have
    /// besides their bodies; 0 while none are.
    #[serde(default)]
    pub planned_bytes: u64,
    /// How much of that was copied.
    #[serde(default)]
    pub done_bytes: u64,
}

/// Who compacts. Cheap to clone.
#[derive(Clone)]
pub struct Compactor {
    catalog: Catalog,
    space: PackSpace,
    gauge: Gauge,
    pauses: Pauses,
    control: Arc<Control>,
}

#[derive(Default)]
struct Control {
    copied_bytes: AtomicU64,
    rewritten_packs: AtomicU64,
    planned_bytes: AtomicU64,
    done_bytes: AtomicU64,
    /// Held by the one that runs. Packs of which something could not be moved, and what was live in
    /// them then: before that changes, nothing is gained by another try.
    stuck: Mutex<BTreeMap<PackId, u64>>,
}

/// How fast, and until when.
struct Pace<'a> {
    bytes_per_second: u64,
    pauses: &'a Pauses,
    control: &'a Control,
    stop: &'a CancellationToken,
}

impl Pace<'_> {
    /// Waits for as long as so many bytes take, and through a pause. Whether to go on.
    fn goes_on(&self, bytes: u64) -> bool {
        self.control
            .copied_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        self.control.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut wait = match self.bytes_per_second {
            0 => Duration::ZERO,
            rate => Duration::from_secs_f64(bytes as f64 / rate as f64),
        };
        while self.pauses.stand_still(Work::Compaction, self.stop) {
            if wait.is_zero() {
                return true;
            }
            let now = wait.min(WAIT_MAX);
            std::thread::sleep(now);
            wait = wait.saturating_sub(now);
        }
        false
    }

    /// What records have besides their bodies is done with them.
    fn is_copied(&self, extents: &[Extent]) {
        let rest = |extent: &Extent| footprint(extent.offset, extent.length) - extent.length;
        let rest = extents.iter().map(rest).sum();
        self.control.done_bytes.fetch_add(rest, Ordering::Relaxed);
    }
}

impl Control {
    /// Notes how much is to be copied from now on.
    fn begin(&self, planned_bytes: u64) {
        self.done_bytes.store(0, Ordering::Relaxed);
        self.planned_bytes.store(planned_bytes, Ordering::Relaxed);
    }
}

impl Compactor {
    /// A compactor of these packs, which stands still while `pauses` say so.
    pub fn new(catalog: &Catalog, space: &PackSpace, gauge: &Gauge, pauses: &Pauses) -> Self {
        Compactor {
            catalog: catalog.clone(),
            space: space.clone(),
            gauge: gauge.clone(),
            pauses: pauses.clone(),
            control: Arc::default(),
        }
    }

    /// Has compaction stand still until it is told to go on, also by a store that is opened again; or has
    /// it go on. Blocks.
    pub fn pause(&self, paused: bool) -> Result<(), StorageError> {
        self.pauses.set(Work::Compaction, paused)
    }

    /// Whether it goes on, and how far it is.
    pub fn state(&self) -> CompactionState {
        CompactionState {
            paused: self.pauses.has(Work::Compaction),
            running: matches!(self.control.stuck.try_lock(), Err(TryLockError::WouldBlock)),
            copied_bytes: self.control.copied_bytes.load(Ordering::Relaxed),
            rewritten_packs: self.control.rewritten_packs.load(Ordering::Relaxed),
            planned_bytes: self.control.planned_bytes.load(Ordering::Relaxed),
            done_bytes: self.control.done_bytes.load(Ordering::Relaxed),
        }
    }

    /// What there is to do. Blocks.
    pub fn plan(&self) -> Result<Plan, StorageError> {
        self.look(Figures::All)
    }

    fn look(&self, figures: Figures) -> Result<Plan, StorageError> {
        let stuck = match self.control.stuck.try_lock() {
            Ok(stuck) => stuck.clone(),
            Err(_) => BTreeMap::new(),
        };
        plan(&self.catalog, &self.space, &self.gauge, &stuck, figures)
    }

    /// Rewrites the packs that are to be, at so many bytes a second (0: as fast as it goes), until
    /// told to stop. Blocks. One at a time; whoever comes second waits.
    pub fn execute(
        &self,
        plan: &Plan,
        bytes_per_second: u64,
        stop: &CancellationToken,
    ) -> Result<Compacted, StorageError> {
        let mut stuck = self
            .control
            .stuck
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let rewritten = self.rewrite(plan, bytes_per_second, stop, &mut stuck);
        self.control.begin(0);
        rewritten
    }

    fn rewrite(
        &self,
        plan: &Plan,
        bytes_per_second: u64,
        stop: &CancellationToken,
        stuck: &mut BTreeMap<PackId, u64>,
    ) -> Result<Compacted, StorageError> {
        let pace = Pace {
            bytes_per_second,
            pauses: &self.pauses,
            control: &self.control,
            stop,
        };
        let mut packs = BTreeSet::new();
        let mut planned_bytes = 0;
        for candidate in &plan.packs {
            match candidate.decision {
                Decision::Rewrite if candidate.sealed || self.seal(candidate.pack)? => {
                    packs.insert(candidate.pack);
                    planned_bytes += candidate.live;
                }
                // Whoever has it lets go soon; it is rewritten next time.
                Decision::Rewrite | Decision::InUse => self.space.want(candidate.pack),
                _ => {}
            }
        }
        self.control.begin(planned_bytes);
        let mut done = Compacted {
            packs: packs.len() as u64,
            ..Compacted::default()
        };
        let mut left = packs.clone();
        for _ in 0..PASSES_MAX {
            if left.is_empty() || done.stopped {
                break;
            }
            let before = done.extents_before;
            self.pass(&left, &pace, &mut done)?;
            let rows = self.catalog.read()?;
            stuck.retain(|pack, _| !left.contains(pack));
            for pack in std::mem::take(&mut left) {
                let live = rows.get_sound(&PACKS, &pack)?.map_or(0, |row| row.live);
                if live > 0 {
                    left.insert(pack);
                    stuck.insert(pack, live);
                }
            }
            // Nothing could be moved, and another try would not change that.
            if done.extents_before == before {
                break;
            }
        }
        if done.stopped {
            // It was not for want of trying.
            stuck.retain(|pack, _| !packs.contains(pack));
        }
        done.emptied = done.packs - left.len() as u64;
        let rewritten = &self.control.rewritten_packs;
        rewritten.fetch_add(done.emptied, Ordering::Relaxed);
        Ok(done)
    }

    /// Has nothing more appended to a pack that nobody leases; whether it is so.
    fn seal(&self, pack: PackId) -> Result<bool, StorageError> {
        let Some(mut lease) = self.space.take(pack) else {
            return Ok(false);
        };
        let tail = lease.tail();
        let sealed = self.catalog.transact_blocking(move |transaction| {
            let Some(mut row) = transaction.get(&PACKS, &pack)? else {
                return Ok::<_, CatalogError>(false);
            };
            row.tail = row.tail.max(tail);
            row.sealed = true;
            transaction.put(&PACKS, &pack, &row)?;
            Ok(true)
        });
        match sealed {
            Ok(Ok(true)) => {
                lease.trim();
                lease.retire();
                Ok(true)
            }
            Ok(other) => Ok(other?),
            Err(error) => {
                // Whether it is sealed is not known: it is left alone (O6).
                lease.retire();
                Err(error.into())
            }
        }
    }

    /// Goes once through all owners and moves what they have in `packs`.
    fn pass(
        &self,
        packs: &BTreeSet<PackId>,
        pace: &Pace<'_>,
        done: &mut Compacted,
    ) -> Result<(), StorageError> {
        let mut copier = Copier::new(self.space.clone());
        let mut failed = None;
        each_owner(&self.catalog, |owner, extents| {
            if !extents.iter().any(|extent| packs.contains(&extent.pack)) {
                return true;
            }
            let moved = self.move_owner(&mut copier, owner, packs, pace, done);
            match moved {
                Ok(goes_on) => goes_on,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None => self.commit(&mut copier, done),
        }
    }

    /// Copies what an owner has in `packs`; commits when enough has been copied. Whether to go on.
    fn move_owner(
        &self,
        copier: &mut Copier,
        owner: Owner,
        packs: &BTreeSet<PackId>,
        pace: &Pace<'_>,
        done: &mut Compacted,
    ) -> Result<bool, StorageError> {
        loop {
            let look = |rows: &_| owner.extents(rows);
            // Deleted since, or moved: there is nothing to copy.
            let Some(held) = pinned(&self.catalog, &self.space, look)? else {
                return Ok(true);
            };
            let row = &held.row;
            match copier.copy(&self.catalog, owner.clone(), row, packs, pace, done)? {
                Copied::All => break,
                Copied::UntilFull => self.commit(copier, done)?,
                Copied::UntilStopped => {
                    done.stopped = true;
                    return Ok(false);
                }
            }
        }
        if copier.is_full() {
            self.commit(copier, done)?;
        }
        Ok(true)
    }

    /// Makes what was copied durable, and has its owners name it (O1, O12).
    fn commit(&self, copier: &mut Copier, done: &mut Compacted) -> Result<(), StorageError> {
        let (moved, mut writer) = copier.finish()?;
        let written = writer.written().clone();
        if moved.is_empty() && written.extents.is_empty() {
            return Ok(());
        }
        let before =
            |moved: &Moved| -> u64 { moved.runs.iter().map(|run| run.old.len() as u64).sum() };
        let extents_before: u64 = moved.iter().map(before).sum();
        let extents_after = written.extents.len() as u64;
        let swapped = self
            .catalog
            .transact_blocking(move |transaction| swap::swap(transaction, &moved, &written));
        match swapped {
            Ok(Ok(())) => {
                writer.commit();
                done.extents_before += extents_before;
                done.extents_after += extents_after;
                Ok(())
            }
            // Refused: nothing names the copies, and they are cut off.
            Ok(Err(error)) => Err(error.into()),
            Err(error) => {
                writer.abandon();
                Err(error.into())
            }
        }
    }
}

/// The extents that an owner has in some packs, next to each other in its bytes.
fn runs<'a>(
    extents: &'a [Extent],
    packs: &'a BTreeSet<PackId>,
) -> impl Iterator<Item = &'a [Extent]> {
    extents
        .chunk_by(|one, other| packs.contains(&one.pack) == packs.contains(&other.pack))
        .filter(|run| packs.contains(&run[0].pack))
}

impl LocalStorageEngine {
    /// Who rewrites packs.
    pub fn compactor(&self) -> &Compactor {
        &self.shared.compactor
    }

    /// Rewrites the packs of which little is left alive, at so many bytes a second; 0: as fast as it
    /// goes.
    pub async fn compact(&self, bytes_per_second: u64) -> Result<Compacted, StorageError> {
        // The engine goes along: the directory is nobody else's before this has ended.
        let engine = self.clone();
        let compacted = background::run("compact", move || {
            let compactor = engine.compactor();
            let plan = compactor.look(Figures::AsNeeded)?;
            compactor.execute(&plan, bytes_per_second, engine.stopping())
        });
        let failed = |error| StorageError::Write(Arc::new(error));
        compacted.await.map_err(failed)?
    }
}

/// Compacts each `interval` what is worth it, at so many bytes a second, until told to stop.
pub async fn run_every(
    storage: Arc<LocalStorageEngine>,
    interval: Duration,
    bytes_per_second: u64,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let job = job!("compaction");
        let compacting = storage.compact(bytes_per_second);
        let compacted = tokio::select! {
            // What runs sees it when the store is closed.
            () = stop.cancelled() => return,
            compacted = compacting => compacted,
        };
        match compacted {
            Ok(done) if done.packs > 0 => tracing::info!(
                packs = done.packs,
                emptied = done.emptied,
                bytes = done.copied_bytes,
                "rewrote packs of which little was left alive"
            ),
            Ok(_) => {}
            Err(error) => {
                spans::failed(&job);
                tracing::error!(%error, "a compaction failed");
            }
        }
    }
}
