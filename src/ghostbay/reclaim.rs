//! Giving space back: the blocks of extents that nobody owns, and packs in which nothing is left.
//!
//! The order (ORDERING.md, O11): the release is durable, in the index and in the change log; then
//! the pins are looked at; then the blocks are punched; then the row that notes the extent is
//! deleted. A crash before the last step has it all done again. A punch that a power cut undoes costs
//! room until a compaction, and nothing else.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::background;
use super::catalog::change_log::LogVerifier;
use super::catalog::{Catalog, CatalogError, Rows, schema};
use super::clock::now_ms;
use super::error::StorageError;
use super::local::LocalStorageEngine;
use super::owners::{each_owner, each_row};
use super::pack::accounts::PACKS;
use super::pack::freed::{FREED_EXTENTS, FreedKey};
use super::pack::record::{BLOCK_BYTES, record_end};
use super::pack::{Extent, PackId, PackSpace};

/// Rows that are taken off in one transaction at most.
const BATCH_ROWS: usize = 256;

/// One thing to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Give the blocks of an extent back, and forget that it was freed.
    GiveBack {
        /// When it lost its last owner, and where it lies.
        key: FreedKey,
        /// The extent; `None` for a mark whose time has come.
        extent: Option<Extent>,
    },
    /// Remove a pack in which nothing is left.
    Remove {
        /// The pack.
        pack: PackId,
        /// Where its records end, in bytes.
        tail: u64,
    },
}

/// What was given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reclaimed {
    /// Extents whose time had come.
    pub extents: u64,
    /// Bytes of their blocks.
    pub punched_bytes: u64,
    /// Extents that somebody still reads, or that may still lie in a socket's queue: they come next
    /// time.
    pub pinned: u64,
    /// Packs that were removed.
    pub packs: u64,
    /// Nothing more was done because the change log does not reach the index yet.
    pub waits_for_log: bool,
}

/// Who gives space back. Cheap to clone.
#[derive(Clone)]
pub struct Reclaimer {
    catalog: Catalog,
    space: PackSpace,
    log: LogVerifier,
    /// One at a time; and packs that no row names any more, whose files are still there.
    orphans: Arc<Mutex<Vec<PackId>>>,
}

/// The whole blocks of a record's body and trailer: where they begin, and their bytes. Its header is
/// not part of them, so that a walk through the pack goes on behind it.
pub fn whole_blocks(extent: &Extent) -> Option<(u64, u64)> {
    let start = extent.offset.next_multiple_of(BLOCK_BYTES);
    let end = record_end(extent.offset, extent.length) / BLOCK_BYTES * BLOCK_BYTES;
    (start < end).then(|| (start, end - start))
}

impl Reclaimer {
    /// A reclaimer of these packs.
    pub fn new(catalog: Catalog, space: PackSpace, log: LogVerifier) -> Self {
        Reclaimer {
            catalog,
            space,
            log,
            orphans: Arc::default(),
        }
    }

    /// Freed extents behind `after` whose time has come at `due_ms`, oldest first.
    pub fn plan_extents(
        &self,
        after: Option<FreedKey>,
        due_ms: u64,
    ) -> Result<Vec<Step>, CatalogError> {
        let after = after.map(|key| FREED_EXTENTS.encode_key(&key));
        let rows = self.catalog.read()?;
        let mut steps = Vec::new();
        for row in rows.scan_sound(&FREED_EXTENTS, &[], after.as_deref())? {
            let (key, row) = row?;
            if key.freed_ms > due_ms || steps.len() == BATCH_ROWS {
                break;
            }
            let extent = (row.length > 0).then_some(Extent {
                pack: key.pack,
                offset: key.offset,
                length: row.length,
            });
            steps.push(Step::GiveBack { key, extent });
        }
        Ok(steps)
    }

    /// Packs in which nothing is left and that no older state needs any more.
    pub fn plan_packs(&self) -> Result<Vec<Step>, CatalogError> {
        let mut empty = BTreeMap::new();
        for row in self.catalog.read()?.scan_sound(&PACKS, &[], None)? {
            let (pack, row) = row?;
            if row.sealed && row.live == 0 {
                empty.insert(pack, row.tail);
            }
        }
        // A pack without live bytes gets no further freed extents, so what is seen page by page
        // holds.
        if !empty.is_empty() {
            each_row(&self.catalog, &FREED_EXTENTS, |key, _| {
                empty.remove(&key.pack);
                !empty.is_empty()
            })?;
        }
        // A count that is wrong must cost room, and not bytes.
        if !empty.is_empty() {
            each_owner(&self.catalog, |owner, extents| {
                for extent in extents {
                    if empty.remove(&extent.pack).is_some() {
                        tracing::error!(pack = %extent.pack, ?owner, "a pack that counts no live bytes has an owner: run drift verify");
                    }
                }
                !empty.is_empty()
            })?;
        }
        let steps = empty.into_iter();
        Ok(steps
            .map(|(pack, tail)| Step::Remove { pack, tail })
            .collect())
    }

    /// Gives back what was freed `keep` ago or earlier, until told to stop. Blocks.
    pub fn run(&self, keep: Duration, stop: &CancellationToken) -> Result<Reclaimed, StorageError> {
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        let due_ms = now_ms().saturating_sub(keep.as_millis() as u64);
        let mut done = Reclaimed::default();
        let mut after = None;
        while !stop.is_cancelled() {
            let steps = self.plan_extents(after, due_ms)?;
            let Some(Step::GiveBack { key, .. }) = steps.last() else {
                break;
            };
            after = Some(*key);
            self.give_back(&steps, &mut done)?;
            if done.waits_for_log {
                return Ok(done);
            }
        }
        if stop.is_cancelled() {
            return Ok(done);
        }
        self.remove_packs(&self.plan_packs()?, &mut orphans)?;
        if orphans.is_empty() || !self.may_remove()? {
            return Ok(done);
        }
        for pack in std::mem::take(&mut *orphans) {
            match self.space.remove(pack) {
                Ok(()) => {
                    tracing::info!(%pack, "removed a pack in which nothing was left");
                    done.packs += 1;
                }
                Err(error) => {
                    tracing::error!(%pack, %error, "a pack that nothing names was not removed");
                    orphans.push(pack);
                }
            }
        }
        Ok(done)
    }

    /// Whether all that was committed so far is durable, and would come back from the change log
    /// should the index be lost: bytes that a row of either names are not given back.
    fn is_settled(&self) -> Result<bool, CatalogError> {
        // The committer answers behind what it wrote to the log before.
        self.catalog
            .transact_blocking(|_| Ok::<_, CatalogError>(()))??;
        Ok(self.log.settle())
    }

    /// Whether files may be removed: nobody copies them, and the log says as the index does.
    fn may_remove(&self) -> Result<bool, CatalogError> {
        Ok(!self.space.pins().is_held() && self.is_settled()?)
    }

    fn give_back(&self, steps: &[Step], done: &mut Reclaimed) -> Result<(), StorageError> {
        if !self.is_settled()? {
            done.waits_for_log = true;
            return Ok(());
        }
        let mut given = Vec::new();
        for step in steps {
            let Step::GiveBack { key, extent } = step else {
                continue;
            };
            let Some(extent) = extent else {
                given.push(*key);
                continue;
            };
            let pins = self.space.pins();
            if pins.is_pinned(extent) || pins.was_sent(extent) {
                done.pinned += 1;
                continue;
            }
            match self.punch(extent) {
                Ok(bytes) => {
                    done.extents += 1;
                    done.punched_bytes += bytes;
                    given.push(*key);
                }
                Err(error) => {
                    tracing::error!(?extent, %error, "the blocks of a freed extent were not given back");
                }
            }
        }
        let forget = move |transaction: &mut super::catalog::Transaction<'_>| {
            for key in &given {
                transaction.delete(&FREED_EXTENTS, key)?;
            }
            Ok::<_, CatalogError>(())
        };
        Ok(self.catalog.transact_blocking(forget)??)
    }

    /// Gives the whole blocks of an extent back, where the file system can; how many bytes.
    fn punch(&self, extent: &Extent) -> io::Result<u64> {
        let Some((offset, length)) = whole_blocks(extent) else {
            return Ok(0);
        };
        let punched = self
            .space
            .pack(extent.pack)
            .and_then(|pack| pack.file.punch(offset, length));
        match punched {
            Ok(()) => Ok(length),
            // Compaction gives it back instead.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Takes the rows of empty packs out. Their files go when that is durable.
    fn remove_packs(&self, steps: &[Step], orphans: &mut Vec<PackId>) -> Result<(), CatalogError> {
        for step in steps {
            let Step::Remove { pack, .. } = *step else {
                continue;
            };
            // Behind the plan: whoever begins to copy now has a snapshot that names none of it.
            if self.space.pins().is_held() {
                return Ok(());
            }
            let removed = self.catalog.transact_blocking(move |transaction| {
                let row = transaction.get(&PACKS, &pack)?;
                if row.is_none_or(|row| !row.sealed || row.live > 0) {
                    return Ok::<_, CatalogError>(false);
                }
                transaction.delete(&PACKS, &pack)?;
                let next = pack.counter() + 1;
                if pack.node() == schema::node(transaction)?
                    && schema::next_pack(transaction)? < next
                {
                    schema::set_next_pack(transaction, next)?;
                }
                Ok(true)
            })??;
            if removed {
                orphans.push(pack);
            }
        }
        Ok(())
    }
}

impl LocalStorageEngine {
    /// Gives back what was freed before the time that the store keeps for backups; where there is too
    /// little room, all that was freed.
    pub async fn reclaim(&self) -> Result<Reclaimed, StorageError> {
        // The engine goes along: the directory is nobody else's before this has ended.
        let engine = self.clone();
        let reclaimed = background::run("reclaim", move || engine.reclaim_blocking());
        let failed = |error| StorageError::Write(Arc::new(error));
        reclaimed.await.map_err(failed)?
    }

    /// As [`LocalStorageEngine::reclaim`], for a thread that may block.
    pub fn reclaim_blocking(&self) -> Result<Reclaimed, StorageError> {
        let keep = match self.pressure() {
            true => Duration::ZERO,
            false => self.keep(),
        };
        self.reclaimer().run(keep, self.stopping())
    }
}

/// How often it is looked whether there is too little room.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Gives space back each `interval`, and at once where there is too little room, until told to stop.
pub async fn run_every(
    storage: Arc<LocalStorageEngine>,
    interval: Duration,
    stop: CancellationToken,
) {
    let mut last = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval.min(LOOK_INTERVAL)) => {}
        }
        if last.elapsed() < interval && !storage.pressure() {
            continue;
        }
        last = Instant::now();
        let reclaimed = tokio::select! {
            // What runs sees it when the store is closed.
            () = stop.cancelled() => return,
            reclaimed = storage.reclaim() => reclaimed,
        };
        match reclaimed {
            Ok(done) if done.punched_bytes > 0 || done.packs > 0 => {
                tracing::info!(
                    extents = done.extents,
                    bytes = done.punched_bytes,
                    packs = done.packs,
                    "gave space back"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "no space was given back"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_that_hold_nothing_else_are_given_back() {
        let extent = |offset, length| Extent {
            pack: PackId::new(1, 1),
            offset,
            length,
        };
        // A body that begins on a block, and the next record's header in the block of its end.
        let (start, bytes) = whole_blocks(&extent(8192, 100_000)).unwrap();
        assert_eq!(start, 8192);
        assert!(8192 + bytes <= record_end(8192, 100_000));
        assert!(8192 + bytes + BLOCK_BYTES > record_end(8192, 100_000));
        // The header of a short one lies in the block of its beginning.
        assert_eq!(whole_blocks(&extent(4160, 10_000)), Some((8192, 4096)));
        assert_eq!(whole_blocks(&extent(4160, 4000)), None);
    }
}
