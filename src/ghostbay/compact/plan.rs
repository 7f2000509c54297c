//! Which packs are worth rewriting: those of whose blocks less than half is alive.
//!
//! What counts is what the pack takes on the disk, not its length: holes that were punched are given
//! back already. What was freed not long ago does not count as dead: the pack stays for as long as a
//! backup may need that, whoever moves the rest away.

use std::collections::BTreeMap;
use std::fmt;

use crate::ghostbay::catalog::{Catalog, Rows};
use crate::ghostbay::error::StorageError;
use crate::ghostbay::owners::each_row;
use crate::ghostbay::pack::accounts::PACKS;
use crate::ghostbay::pack::freed::FREED_EXTENTS;
use crate::ghostbay::pack::record::footprint;
use crate::ghostbay::pack::{PackId, PackSpace};
use crate::ghostbay::room::Gauge;

/// A pack is rewritten for at least so many bytes.
const GAIN_BYTES_MIN: u64 = 64 << 10;

/// What is to be done with a pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Move what is alive elsewhere.
    Rewrite,
    /// Nothing: enough of it is alive.
    MostlyLive,
    /// Nothing: what is not alive was freed lately, and waits.
    Waiting,
    /// Nothing: it is too small.
    TooLittle,
    /// Nothing: nothing is alive, and it is removed as soon as no backup may need it.
    Empty,
    /// Nothing: somebody appends to it.
    InUse,
    /// Nothing: it holds what a rebuilt or restored index does not know.
    Unknown,
    /// Nothing: something in it could not be moved, and nothing has changed since.
    Stuck,
    /// Nothing: there is no room for what would move.
    NoRoom,
    /// Nothing: its file cannot be looked at.
    Unreadable,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Decision::Rewrite => "rewrite: less than half of its blocks is alive",
            // What was deleted is alive for as long as it can come back.
            Decision::MostlyLive => {
                "keep: at least half of it is in use, or deleted and can still come back"
            }
            Decision::Waiting => "keep: what was freed in it waits until no backup needs it",
            Decision::TooLittle => "keep: it would give too little back",
            Decision::Empty => {
                "keep: nothing is alive, and it goes when no backup needs it any more"
            }
            Decision::InUse => "keep: it is being written to",
            Decision::Unknown => "keep: it holds what a rebuilt or restored index does not know",
            Decision::Stuck => "keep: something in it could not be moved",
            Decision::NoRoom => "keep: the disk has no room for what would move",
            Decision::Unreadable => "keep: its file cannot be looked at",
        })
    }
}

/// A pack and its figures, in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The pack.
    pub pack: PackId,
    /// Whether nothing is appended to it any more.
    pub sealed: bool,
    /// What its file takes on the disk.
    pub allocated: u64,
    /// What is alive.
    pub live: u64,
    /// What was freed and waits until no backup needs it.
    pub freed: u64,
    /// What is to be done.
    pub decision: Decision,
}

/// All packs, and what is to be done with each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The packs, by their ids.
    pub packs: Vec<Candidate>,
}

/// What waits in a pack.
#[derive(Default)]
struct Waiting {
    bytes: u64,
    is_kept: bool,
}

/// How much is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Figures {
    /// What is freed and waits, for every pack.
    All,
    /// That only where a pack might be rewritten: it is many rows.
    AsNeeded,
}

pub(super) fn plan(
    catalog: &Catalog,
    space: &PackSpace,
    gauge: &Gauge,
    stuck: &BTreeMap<PackId, u64>,
    figures: Figures,
) -> Result<Plan, StorageError> {
    let mut plan = Plan::default();
    for row in catalog.read()?.scan_sound(&PACKS, &[], None)? {
        let (pack, row) = row?;
        let allocated = space.pack(pack).and_then(|pack| pack.file.allocated());
        plan.packs.push(Candidate {
            pack,
            sealed: row.sealed,
            allocated: *allocated.as_ref().unwrap_or(&0),
            live: row.live,
            freed: 0,
            decision: match allocated {
                Ok(_) => Decision::MostlyLive,
                Err(_) => Decision::Unreadable,
            },
        });
    }
    let mut waiting: BTreeMap<PackId, Waiting> = BTreeMap::new();
    if figures == Figures::All || plan.packs.iter().any(Candidate::is_worth_it) {
        each_row(catalog, &FREED_EXTENTS, |key, row| {
            let entry = waiting.entry(key.pack).or_default();
            match row.length {
                0 => entry.is_kept = true,
                length => entry.bytes += footprint(key.offset, length),
            }
            true
        })?;
    }
    let mut room = gauge
        .room()
        .map(|room| room.available.saturating_sub(gauge.minimum()));
    for candidate in &mut plan.packs {
        if candidate.decision == Decision::Unreadable {
            continue;
        }
        let Waiting { bytes, is_kept } = waiting.remove(&candidate.pack).unwrap_or_default();
        candidate.freed = bytes;
        let idle = candidate.sealed || space.is_pooled(candidate.pack);
        candidate.decision = decide(candidate, idle, is_kept, stuck, &mut room);
    }
    Ok(plan)
}

impl Candidate {
    /// Whether rewriting it gives enough back.
    fn is_worth_it(&self) -> bool {
        let gain = self
            .allocated
            .saturating_sub(self.live)
            .saturating_sub(self.freed);
        gain >= GAIN_BYTES_MIN && gain > self.allocated / 2
    }

    /// Why it is not.
    fn why_not(&self) -> Decision {
        let not_alive = self.allocated.saturating_sub(self.live);
        if self.live > 0 && not_alive <= self.allocated / 2 {
            Decision::MostlyLive
        } else if not_alive < GAIN_BYTES_MIN {
            Decision::TooLittle
        } else {
            Decision::Waiting
        }
    }
}

fn decide(
    candidate: &Candidate,
    idle: bool,
    is_kept: bool,
    stuck: &BTreeMap<PackId, u64>,
    room: &mut Option<u64>,
) -> Decision {
    let Candidate { pack, live, .. } = *candidate;
    if candidate.sealed && live == 0 {
        return Decision::Empty;
    }
    if !candidate.is_worth_it() {
        return candidate.why_not();
    }
    if !idle {
        return Decision::InUse;
    }
    if is_kept {
        return Decision::Unknown;
    }
    if stuck.get(&pack) == Some(&live) {
        return Decision::Stuck;
    }
    match room {
        Some(room) if *room < live => return Decision::NoRoom,
        Some(room) => *room -= live,
        None => {}
    }
    Decision::Rewrite
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_are_rewritten_for_what_they_take_and_not_for_their_length() {
        const MIB: u64 = 1 << 20;
        let decide = |allocated, live, freed, idle| {
            let candidate = Candidate {
                pack: PackId::new(1, 1),
                sealed: false,
                allocated,
                live,
                freed,
                decision: Decision::Rewrite,
            };
            super::decide(
                &candidate,
                idle,
                false,
                &BTreeMap::new(),
                &mut Some(30 * MIB),
            )
        };
        assert_eq!(decide(100 * MIB, 20 * MIB, 0, true), Decision::Rewrite);
        assert_eq!(decide(100 * MIB, 20 * MIB, 0, false), Decision::InUse);
        assert_eq!(decide(100 * MIB, 40 * MIB, 0, true), Decision::NoRoom);
        // The rest was punched, or waits.
        assert_eq!(decide(30 * MIB, 20 * MIB, 0, true), Decision::MostlyLive);
        let waiting = decide(100 * MIB, 20 * MIB, 60 * MIB, true);
        assert_eq!(waiting, Decision::Waiting);
        // Nothing in it is alive, and nothing can be gained yet.
        let waiting = decide(100 * MIB, 0, 100 * MIB, true);
        assert_eq!(waiting, Decision::Waiting);
        assert_eq!(decide(50_000, 100, 0, true), Decision::TooLittle);
        assert_eq!(decide(0, 0, 0, true), Decision::TooLittle);
        assert_eq!(decide(50_000, 40_000, 0, true), Decision::MostlyLive);
    }
}
