//! What the catalog knows of each pack: how far it is written, how much of it lives, and which
//! extents have more than one owner.
//!
//! Counters change in the transaction that adds or drops an extent, so they are never out of
//! step. What is not live is dead: only live bytes are counted.

use serde::{Deserialize, Serialize};

use super::extent::{Extent, PackId};
use super::freed;
use super::record::{footprint, record_end};
use crate::ghostbay::catalog::{
    CatalogError, Key, KeyReader, KeyWriter, Rows, Table, Transaction, Value,
};
use crate::ghostbay::clock::now_ms;

/// Every pack that holds committed records.
pub const PACKS: Table<PackId, PackRow> = Table::new(0x02, "packs");

/// Extents that several objects hold, with the number of owners beyond the first.
pub const SHARED_EXTENTS: Table<ExtentKey, ExtraOwners> = Table::new(0x03, "shared_extents");

/// A pack in the catalog.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct PackRow {
    /// Where the next record would begin: all committed records end before it.
    pub tail: u64,
    /// Bytes of records that something refers to, headers and trailers included.
    pub live: u64,
    /// Whether nothing will be appended any more.
    pub sealed: bool,
}

impl Value for PackRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "tail u64, live u64, sealed bool";
}

/// An extent by its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtentKey {
    pack: PackId,
    offset: u64,
}

impl From<&Extent> for ExtentKey {
    fn from(extent: &Extent) -> Self {
        ExtentKey {
            pack: extent.pack,
            offset: extent.offset,
        }
    }
}

impl Key for ExtentKey {
    const LAYOUT: &'static str = "pack u64, offset u64";

    fn encode(&self, out: &mut KeyWriter) {
        out.u64(self.pack.bits()).u64(self.offset);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(ExtentKey {
            pack: PackId::from_bits(input.u64()?),
            offset: input.u64()?,
        })
    }
}

/// Owners of an extent beyond the first.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtraOwners(pub u32);

impl Value for ExtraOwners {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "owners beyond the first u32";
}

/// Extents that were written and are durable, and the packs that they filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The extents, in the order of their bytes.
    pub extents: Vec<Extent>,
    /// Packs to which nothing more will be appended.
    pub full: Vec<PackId>,
}

/// Enters new extents: their packs' tails and live bytes.
pub fn add(transaction: &mut Transaction<'_>, written: &Written) -> Result<(), CatalogError> {
    for extent in &written.extents {
        let mut row = transaction.get(&PACKS, &extent.pack)?.unwrap_or_default();
        row.tail = row.tail.max(record_end(extent.offset, extent.length));
        row.live += footprint(extent.offset, extent.length);
        transaction.put(&PACKS, &extent.pack, &row)?;
    }
    for pack in &written.full {
        if let Some(mut row) = transaction.get(&PACKS, pack)? {
            row.sealed = true;
            transaction.put(&PACKS, pack, &row)?;
        }
    }
    Ok(())
}

/// Whether that extent's owners are not known any more. It then counts as owned by many until a
/// check has counted them: too many owners cost room, too few cost bytes.
fn owners_unknown(transaction: &Transaction<'_>, key: &ExtentKey) -> Result<bool, CatalogError> {
    Ok(transaction.get_sound(&SHARED_EXTENTS, key)?.is_none()
        && transaction.contains(&SHARED_EXTENTS, key)?)
}

/// Gives extents one owner more; for a copy, which moves no bytes.
pub fn share(transaction: &mut Transaction<'_>, extents: &[Extent]) -> Result<(), CatalogError> {
    for extent in extents {
        let key = ExtentKey::from(extent);
        if owners_unknown(transaction, &key)? {
            continue;
        }
        let owners = transaction
            .get(&SHARED_EXTENTS, &key)?
            .map_or(0, |owners| owners.0);
        let owners = owners.checked_add(1).ok_or(CatalogError::Corrupt {
            table: SHARED_EXTENTS.info().name,
            reason: "2^32 owners of one extent".into(),
        })?;
        transaction.put(&SHARED_EXTENTS, &key, &ExtraOwners(owners))?;
    }
    Ok(())
}

/// Takes one owner from extents; those without any are dead from then on, and noted as freed in the
/// same transaction.
pub fn release(transaction: &mut Transaction<'_>, extents: &[Extent]) -> Result<(), CatalogError> {
    let now = now_ms();
    for extent in extents {
        let key = ExtentKey::from(extent);
        if owners_unknown(transaction, &key)? {
            continue;
        }
        match transaction.get(&SHARED_EXTENTS, &key)? {
            Some(ExtraOwners(0 | 1)) => {
                transaction.delete(&SHARED_EXTENTS, &key)?;
            }
            Some(ExtraOwners(owners)) => {
                transaction.put(&SHARED_EXTENTS, &key, &ExtraOwners(owners - 1))?;
            }
            None => {
                let mut row = transaction.get(&PACKS, &extent.pack)?.unwrap_or_default();
                let bytes = footprint(extent.offset, extent.length);
                // A count that is wrong must not stand in the way of a push; a check counts again.
                if row.live < bytes {
                    tracing::error!(pack = %extent.pack, live = row.live, bytes, "a pack's live bytes were counted wrongly");
                }
                row.live = row.live.saturating_sub(bytes);
                transaction.put(&PACKS, &extent.pack, &row)?;
                freed::note(transaction, extent, now)?;
            }
        }
    }
    Ok(())
}
