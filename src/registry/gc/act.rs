//! Doing what is due, in transactions so short that nobody waits for them long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::plan::{self, Verdict};
use super::report::{Collected, Item};
use super::{Moment, Stop};
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::registry::tables::{
    BLOB_LINKS, BlobLinkRow, ContentKey, DELETED_BY_TIME, MomentKey, UNREFERENCED,
};
use crate::registry::tombstones::{self, Edges};
use crate::registry::{Registry, RegistryError, blobs, repositories, unreferenced};

/// Rows of the queue, or manifests and their edges, that one transaction takes.
const BATCH_ROWS_MAX: usize = 512;

/// As [`BATCH_ROWS_MAX`], of the shortest transactions.
pub(super) const BATCH_ROWS_MIN: usize = 8;

/// One that keeps the committer for longer is followed by one of half its rows: others wait for it.
const BATCH_TIME: Duration = Duration::from_millis(10);

/// The longest pause between two transactions.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What is known of the room on the disk is so old at most.
const ROOM_HELD: Duration = Duration::from_secs(1);

/// How much one transaction takes, by how long the last ones kept the committer. How long they waited
/// for others does not count: on a busy server that would make them ever smaller, until more is deleted
/// than is taken.
struct Pace {
    rows: usize,
    kept: Kept,
}

/// For how long the work of a transaction kept the committer, in microseconds.
#[derive(Clone, Default)]
struct Kept(Arc<AtomicU64>);

impl Kept {
    /// Does work in the committer, and notes how long that took.
    fn by<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        let took = began.elapsed().as_micros() as u64;
        self.0.fetch_add(took, Ordering::Relaxed);
        done
    }

    fn take(&self) -> Duration {
        Duration::from_micros(self.0.swap(0, Ordering::Relaxed))
    }
}

impl Pace {
    fn new() -> Self {
        Pace {
            rows: BATCH_ROWS_MAX / 4,
            kept: Kept::default(),
        }
    }

    /// Leaves the committer to others for as long as it was kept busy.
    fn pause(&mut self) {
        let took = self.kept.take();
        self.rows = match took > BATCH_TIME {
            true => (self.rows / 2).max(BATCH_ROWS_MIN),
            false => (self.rows * 5 / 4).min(BATCH_ROWS_MAX),
        };
        std::thread::sleep(took.min(PAUSE_MAX));
    }
}

/// Purges what is dead, then takes what is due in the queue, to which purges add.
pub(super) fn cycle(
    registry: &Registry,
    moment: &Moment,
    stop: Stop<'_>,
    tell: &mut dyn FnMut(Item),
) -> Result<Collected, RegistryError> {
    let mut collected = Collected::default();
    let mut told = |items: Vec<Item>| {
        for item in items {
            collected.count(&item);
            registry.figures.collections.count(&item);
            tell(item);
        }
    };
    let mut pace = Pace::new();
    batches(stop, &mut pace, &mut told, |rows_max, kept| {
        purge_batch(registry, moment, rows_max, false, kept)
    })?;
    let clock_ms = registry.gc.clock_ms();
    registry.gc.leases.expire(clock_ms, moment.grace_ms);
    take_queue(registry, moment, stop, &mut pace, &mut told)?;
    make_room(registry, moment, stop, &mut pace, &mut told)?;
    collected.all_leased_ms = registry.all_leased_ms(moment);
    collected.stopped = stop.is_told();
    Ok(collected)
}

/// Takes batch after batch, each of so many rows at most, until there is none.
fn batches(
    stop: Stop<'_>,
    pace: &mut Pace,
    told: &mut dyn FnMut(Vec<Item>),
    take: impl Fn(usize, &Kept) -> Result<Option<Vec<Item>>, RegistryError>,
) -> Result<(), RegistryError> {
    while !stop.is_told() {
        match take(pace.rows, &pace.kept)? {
            Some(items) => told(items),
            None => break,
        }
        pace.pause();
    }
    Ok(())
}

/// Takes all that is due in the queue.
fn take_queue(
    registry: &Registry,
    moment: &Moment,
    stop: Stop<'_>,
    pace: &mut Pace,
    told: &mut dyn FnMut(Vec<Item>),
) -> Result<(), RegistryError> {
    batches(stop, pace, told, |rows_max, kept| {
        match registry.all_leased_ms(moment) {
            None => queue_batch(registry, moment, rows_max, kept),
            Some(_) => Ok(None),
        }
    })
}

/// While there is too little room on the disk, purges tombstones whose time has not come, the oldest
/// first and a few at a time. What that frees shows on the disk before the next are purged: no more
/// of them go than has to.
fn make_room(
    registry: &Registry,
    moment: &Moment,
    stop: Stop<'_>,
    pace: &mut Pace,
    told: &mut dyn FnMut(Vec<Item>),
) -> Result<(), RegistryError> {
    let early = moment.without_keeping();
    // Where no blob may go, a purge would free nothing.
    while !stop.is_told() && registry.storage.pressure() && registry.all_leased_ms(moment).is_none()
    {
        match purge_batch(registry, &early, BATCH_ROWS_MIN, true, &pace.kept)? {
            Some(items) => told(items),
            None => break,
        }
        take_queue(registry, moment, stop, pace, told)?;
        registry.storage.reclaim_blocking()?;
        std::thread::sleep(ROOM_HELD);
    }
    Ok(())
}

/// Purges the oldest tombstones that are dead; `None` if there are none. `early` if they are so only for
/// want of room.
fn purge_batch(
    registry: &Registry,
    moment: &Moment,
    rows_max: usize,
    early: bool,
    kept: &Kept,
) -> Result<Option<Vec<Item>>, RegistryError> {
    let mut batch: Vec<(MomentKey, Edges)> = Vec::new();
    let mut weight = 0;
    let rows = registry.storage.catalog().read()?;
    for row in rows.scan_sound(&DELETED_BY_TIME, &[], None)? {
        let (row, ()) = row?;
        if !moment.is_dead(row.at_ms) || weight >= rows_max {
            break;
        }
        let edges = tombstones::edges_of(&rows, &row.content)?;
        weight += 1 + edges.len();
        batch.push((row, edges));
    }
    drop(rows);
    if batch.is_empty() {
        return Ok(None);
    }
    let kept = kept.clone();
    let purged = registry
        .storage
        .catalog()
        .transact_blocking(move |transaction| kept.by(|| purge(transaction, &batch, early)))??;
    Ok(Some(purged))
}

fn purge(
    transaction: &mut Transaction<'_>,
    batch: &[(MomentKey, Edges)],
    early: bool,
) -> Result<Vec<Item>, CatalogError> {
    let mut items = Vec::new();
    for (row, edges) in batch {
        // It may have come back, or been deleted again, since it was looked for.
        let tombstone = tombstones::tombstone(transaction, &row.content)?;
        match tombstone.filter(|tombstone| tombstone.deleted_ms == row.at_ms) {
            Some(tombstone) => {
                items.push(plan::purge_item(&row.content, &tombstone, early));
                tombstones::purge(transaction, &row.content, edges)?;
            }
            None => transaction.delete(&DELETED_BY_TIME, row).map(drop)?,
        }
    }
    Ok(items)
}

/// Takes the front of the queue, as far as it is due; `None` if nothing is.
fn queue_batch(
    registry: &Registry,
    moment: &Moment,
    rows_max: usize,
    kept: &Kept,
) -> Result<Option<Vec<Item>>, RegistryError> {
    let due: Vec<MomentKey> = {
        let rows = registry.storage.catalog().read()?;
        let queue = rows.scan_sound(&UNREFERENCED, &[], None)?;
        queue
            .map(|row| row.map(|(row, ())| row))
            .take_while(|row| row.as_ref().map_or(true, |row| moment.is_over(row.at_ms)))
            .take(rows_max)
            .collect::<Result<_, _>>()?
    };
    if due.is_empty() {
        return Ok(None);
    }
    let digests = due.iter().map(|row| &row.content.digest);
    let leases = &registry.gc.leases;
    // Held until the transaction has ended, whichever way.
    let condemned = leases.condemn(digests, registry.gc.clock_ms(), moment.grace_ms);
    let is_condemned = condemned.test();
    let (bucket, now_ms) = (registry.options.bucket.clone(), moment.now_ms);
    let kept = kept.clone();
    let taken = registry
        .storage
        .catalog()
        .transact_blocking(move |transaction| {
            kept.by(|| -> Result<Vec<Item>, CatalogError> {
                let mut items = Vec::new();
                for row in &due {
                    let is_leased = |digest: &_| !is_condemned(digest);
                    let verdict = plan::judge(transaction, row, |_| Ok(true), is_leased)?;
                    let bytes = apply(transaction, row, &verdict, &bucket, now_ms)?;
                    items.extend(plan::item(&row.content, &verdict, bytes));
                }
                Ok(items)
            })
        })??;
    drop(condemned);
    Ok(Some(taken))
}

/// Does what was decided; the row is not at the queue's front any more. The bytes that went, if
/// the blob had no other holder.
fn apply(
    transaction: &mut Transaction<'_>,
    row: &MomentKey,
    verdict: &Verdict,
    bucket: &str,
    now_ms: u64,
) -> Result<Option<u64>, CatalogError> {
    transaction.delete(&UNREFERENCED, row)?;
    let key: &ContentKey = &row.content;
    match verdict {
        Verdict::Moot | Verdict::Referenced(_) => Ok(None),
        Verdict::Leased => {
            // Safe for another grace, as if it had been pushed.
            if let Some(link) = transaction.get_sound(&BLOB_LINKS, key)? {
                let linked_ms = now_ms;
                transaction.put(&BLOB_LINKS, key, &BlobLinkRow { linked_ms, ..link })?;
                unreferenced::put_in(transaction, key)?;
            }
            Ok(None)
        }
        Verdict::Goes => {
            let bytes = blobs::unlink(transaction, bucket, key)?;
            repositories::leave(transaction, &key.repository)?;
            Ok(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a busy server each commit waits for others. Batches that shrank by that were outrun by
    /// deletes, until a collection took minutes.
    #[test]
    fn only_what_keeps_the_committer_makes_batches_smaller() {
        let mut pace = Pace::new();
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
            pace.kept.by(|| ());
            pace.pause();
        }
        assert_eq!(pace.rows, BATCH_ROWS_MAX);
        pace.kept.by(|| std::thread::sleep(2 * BATCH_TIME));
        pace.pause();
        assert_eq!(pace.rows, BATCH_ROWS_MAX / 2);
    }
}
