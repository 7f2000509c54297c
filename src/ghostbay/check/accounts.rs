//! The packs' accounts: live bytes and owners, counted again.

use std::collections::BTreeMap;

use super::finding::{Repair, Subject};
use super::run::{CheckError, Run};
use crate::ghostbay::catalog::{Key, Rows, Snapshot, Table, Transaction, Value};
use crate::ghostbay::multipart::PARTS;
use crate::ghostbay::objects::OBJECTS;
use crate::ghostbay::pack::accounts::{ExtentKey, ExtraOwners, PACKS, PackRow, SHARED_EXTENTS};
use crate::ghostbay::pack::freed::FREED_EXTENTS;
use crate::ghostbay::pack::record::{HEADER_BYTES, footprint, record_end};
use crate::ghostbay::pack::{Extent, PackId};
use crate::ghostbay::uploads::UPLOADS;

/// Extents that are held in memory at once, at 16 bytes each. A store that has more is gone through
/// in as many rounds, some packs in each.
const EXTENTS_MAX: usize = 4 << 20;

/// Where an extent begins and how long it is.
type Place = (u64, u64);

pub(super) fn check(run: &mut Run<'_>) -> Result<(), CheckError> {
    // Objects move while they are counted, so one snapshot has to hold for all of them.
    let snapshot = run.store().read()?;
    let mut from = PackId::from_bits(0);
    loop {
        let (places, next) = gather(run, &snapshot, from)?;
        freed_but_owned(run, &snapshot, &places, from, next)?;
        compare(run, &snapshot, places, from, next)?;
        match next {
            Some(pack) => from = pack,
            None => return shared_of_nothing(run, &snapshot),
        }
    }
}

/// The places in the packs from `from` on in order, as many packs as there is room for; and the first pack
/// that there was none for.
#[derive(Default)]
struct Gathered {
    places: BTreeMap<PackId, Vec<Place>>,
    count: usize,
    next: Option<PackId>,
}

impl Gathered {
    fn add(&mut self, from: PackId, extents: &[Extent]) {
        for extent in extents {
            let pack = extent.pack;
            if pack < from || self.next.is_some_and(|next| pack >= next) {
                continue;
            }
            let places = self.places.entry(pack).or_default();
            places.push((extent.offset, extent.length));
            self.count += 1;
            if self.count > EXTENTS_MAX
                && self.places.len() > 1
                && let Some((pack, dropped)) = self.places.pop_last()
            {
                self.count -= dropped.len();
                self.next = Some(pack);
            }
        }
    }
}

type Places = BTreeMap<PackId, Vec<Place>>;

fn gather(
    run: &mut Run<'_>,
    snapshot: &Snapshot,
    from: PackId,
) -> Result<(Places, Option<PackId>), CheckError> {
    let mut gathered = Gathered::default();
    let mut add = |run: &mut Run<'_>, seen: &mut u64, extents: &[Extent]| {
        gathered.add(from, extents);
        *seen += 1;
        match *seen % 4096 {
            0 => run.progress("accounts", *seen, None),
            _ => Ok(()),
        }
    };
    let mut seen = 0;
    each(snapshot, &OBJECTS, |row| add(run, &mut seen, &row.extents))?;
    each(snapshot, &UPLOADS, |row| add(run, &mut seen, &row.extents))?;
    each(snapshot, &PARTS, |row| add(run, &mut seen, &row.extents))?;
    for places in gathered.places.values_mut() {
        places.sort_unstable();
    }
    Ok((gathered.places, gathered.next))
}

/// Every whole row. The others were told when their table was looked at.
fn each<K: Key, V: Value>(
    snapshot: &Snapshot,
    table: &Table<K, V>,
    mut visit: impl FnMut(V) -> Result<(), CheckError>,
) -> Result<(), CheckError> {
    for row in snapshot.inspect(table, &[], None)? {
        if let Ok(row) = row?.row {
            visit(row)?;
        }
    }
    Ok(())
}

/// Extents that are noted as freed although somebody owns them: their bytes would be given back.
fn freed_but_owned(
    run: &mut Run<'_>,
    snapshot: &Snapshot,
    places: &Places,
    from: PackId,
    next: Option<PackId>,
) -> Result<(), CheckError> {
    for row in snapshot.inspect(&FREED_EXTENTS, &[], None)? {
        let row = row?;
        let subject = Subject::row(FREED_EXTENTS.info().name, &row.bytes);
        let Some(key) = row.key else {
            // Told once, and not in each round.
            if from == PackId::from_bits(0) {
                let repair = Repair::remove_stray(row.bytes);
                run.found(subject, "its key is one that nobody writes", Some(repair))?;
            }
            continue;
        };
        if key.pack < from || next.is_some_and(|next| key.pack >= next) {
            continue;
        }
        if row.row.is_err() {
            let repair = Repair::remove_damaged(FREED_EXTENTS, key);
            run.found(subject, "its row is damaged", Some(repair))?;
            continue;
        }
        let owned = |places: &Vec<Place>| {
            places
                .binary_search_by_key(&key.offset, |(offset, _)| *offset)
                .is_ok()
        };
        if places.get(&key.pack).is_some_and(owned) {
            let reason = format!(
                "what lies at {} of pack {} is noted as freed, and has an owner",
                key.offset, key.pack
            );
            let repair = Repair::rows("take the note out", move |transaction| {
                transaction.delete(&FREED_EXTENTS, &key).map(drop)
            });
            run.found(subject, reason, Some(repair))?;
        }
    }
    Ok(())
}

fn compare(
    run: &mut Run<'_>,
    snapshot: &Snapshot,
    mut places: Places,
    from: PackId,
    next: Option<PackId>,
) -> Result<(), CheckError> {
    let mut rows = BTreeMap::new();
    for row in snapshot.inspect(&PACKS, &[], None)? {
        let row = row?;
        match row.key {
            Some(pack) if pack >= from && next.is_none_or(|next| pack < next) => {
                places.entry(pack).or_default();
                rows.insert(pack, row.row.ok());
            }
            Some(_) => {}
            None => {
                let repair = Repair::remove_stray(row.bytes.clone());
                let subject = Subject::row(PACKS.info().name, &row.bytes);
                run.found(subject, "its key is one that nobody writes", Some(repair))?;
            }
        }
    }
    for (pack, places) in places {
        let counted = count(run, snapshot, pack, &places)?;
        match rows.get(&pack) {
            Some(Some(row)) if row.live == counted.live => {}
            Some(Some(row)) => {
                let reason = format!(
                    "{} of its bytes are live, and {} are noted",
                    counted.live, row.live
                );
                let repair = correct_live(pack, counted.live, row.live);
                run.found(Subject::Pack(pack), reason, Some(repair))?;
            }
            damaged => {
                let reason = match damaged {
                    Some(_) => "its row is damaged",
                    None => "it has no row",
                };
                run.found(Subject::Pack(pack), reason, Some(restore(pack, counted)))?;
            }
        }
    }
    Ok(())
}

/// What a pack's row would have to say.
#[derive(Clone, Copy)]
struct Counted {
    live: u64,
    tail: u64,
}

fn count(
    run: &mut Run<'_>,
    snapshot: &Snapshot,
    pack: PackId,
    places: &[Place],
) -> Result<Counted, CheckError> {
    let mut counted = Counted { live: 0, tail: 0 };
    for same in places.chunk_by(|one, other| one == other) {
        let (offset, length) = same[0];
        if offset.saturating_sub(HEADER_BYTES) < counted.tail {
            let reason = format!("two records overlap at {offset}");
            run.found(Subject::Pack(pack), reason, None)?;
        }
        counted.tail = counted.tail.max(record_end(offset, length));
        counted.live += footprint(offset, length);
        let key = ExtentKey::from(&Extent {
            pack,
            offset,
            length,
        });
        let extra = same.len() as u32 - 1;
        let noted = match snapshot.get(&SHARED_EXTENTS, &key) {
            Ok(owners) => Some(owners.map_or(0, |owners| owners.0)),
            Err(_) => None,
        };
        if noted != Some(extra) {
            let reason = format!(
                "what lies at {offset} has {} owners, and {} are noted",
                u64::from(extra) + 1,
                noted.map_or("it is not known how many".to_owned(), |noted| {
                    (u64::from(noted) + 1).to_string()
                })
            );
            let repair = correct_owners(key, extra, noted);
            run.found(Subject::Pack(pack), reason, Some(repair))?;
        }
    }
    Ok(counted)
}

/// Puts a count right by what it was wrong by, since pushes go on changing it.
fn correct_live(pack: PackId, counted: u64, noted: u64) -> Repair {
    Repair::rows("put its live bytes right", move |transaction| {
        if let Some(mut row) = transaction.get_sound(&PACKS, &pack)? {
            let live = i128::from(row.live) + i128::from(counted) - i128::from(noted);
            row.live = u64::try_from(live).unwrap_or(0);
            transaction.put(&PACKS, &pack, &row)?;
        }
        Ok(())
    })
}

/// Writes a pack's row again. Where its tail was is not known for certain, so nothing is appended to
/// it any more.
fn restore(pack: PackId, counted: Counted) -> Repair {
    Repair::rows("write the row again", move |transaction| {
        if transaction.get_sound(&PACKS, &pack)?.is_some() {
            return Ok(());
        }
        let row = PackRow {
            tail: counted.tail,
            live: counted.live,
            sealed: true,
        };
        transaction.put(&PACKS, &pack, &row)
    })
}

fn correct_owners(key: ExtentKey, counted: u32, noted: Option<u32>) -> Repair {
    Repair::rows("put its owners right", move |transaction| {
        let now = match (transaction.get(&SHARED_EXTENTS, &key), noted) {
            (Ok(now), Some(noted)) => {
                let now = now.map_or(0, |owners| owners.0);
                i64::from(now) + i64::from(counted) - i64::from(noted)
            }
            _ => i64::from(counted),
        };
        set_owners(transaction, key, u32::try_from(now).unwrap_or(0))
    })
}

fn set_owners(
    transaction: &mut Transaction<'_>,
    key: ExtentKey,
    owners: u32,
) -> Result<(), crate::ghostbay::catalog::CatalogError> {
    match owners {
        0 => transaction.delete(&SHARED_EXTENTS, &key).map(drop),
        owners => transaction.put(&SHARED_EXTENTS, &key, &ExtraOwners(owners)),
    }
}

/// Counts of owners of what nobody owns.
fn shared_of_nothing(run: &mut Run<'_>, snapshot: &Snapshot) -> Result<(), CheckError> {
    // Those of what somebody owns were compared; so few are shared that the rest may be listed.
    for row in snapshot.inspect(&SHARED_EXTENTS, &[], None)? {
        let row = row?;
        if row.key.is_none() {
            let repair = Repair::remove_stray(row.bytes.clone());
            let subject = Subject::row(SHARED_EXTENTS.info().name, &row.bytes);
            run.found(subject, "its key is one that nobody writes", Some(repair))?;
        }
    }
    Ok(())
}
