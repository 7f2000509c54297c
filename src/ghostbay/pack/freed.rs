//! Extents that have lost their last owner, until their space is given back.
//!
//! A row is written in the transaction that takes the last owner away, and stays for as long as an
//! older state of the index may be restored that names the extent. While a pack has such rows its
//! file stays.

use serde::{Deserialize, Serialize};

use super::extent::{Extent, PackId};
use crate::ghostbay::catalog::{
    CatalogError, Key, KeyReader, KeyWriter, Table, Transaction, Value,
};

/// Extents that nobody owns any more, by the time they lost their last owner.
pub const FREED_EXTENTS: Table<FreedKey, FreedRow> = Table::new(0x0b, "freed_extents");

/// A freed extent by its time and place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FreedKey {
    /// When it lost its last owner, in milliseconds since 1970.
    pub freed_ms: u64,
    /// The pack.
    pub pack: PackId,
    /// Where its body begins, in bytes.
    pub offset: u64,
}

impl Key for FreedKey {
    const LAYOUT: &'static str = "freed_ms u64, pack u64, offset u64";

    fn encode(&self, out: &mut KeyWriter) {
        out.u64(self.freed_ms)
            .u64(self.pack.bits())
            .u64(self.offset);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(FreedKey {
            freed_ms: input.u64()?,
            pack: PackId::from_bits(input.u64()?),
            offset: input.u64()?,
        })
    }
}

/// What of a freed extent its key does not say.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreedRow {
    /// Length of its body in bytes; 0 for a mark that keeps the pack and stands for no extent.
    pub length: u64,
}

impl Value for FreedRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "length u64";
}

/// Notes that an extent has lost its last owner.
pub(super) fn note(
    transaction: &mut Transaction<'_>,
    extent: &Extent,
    now_ms: u64,
) -> Result<(), CatalogError> {
    let key = FreedKey {
        freed_ms: now_ms,
        pack: extent.pack,
        offset: extent.offset,
    };
    let row = FreedRow {
        length: extent.length,
    };
    transaction.put(&FREED_EXTENTS, &key, &row)
}

/// Keeps a pack until `until_ms`, whatever else the index knows of it.
pub fn keep_pack(
    transaction: &mut Transaction<'_>,
    pack: PackId,
    until_ms: u64,
) -> Result<(), CatalogError> {
    let key = FreedKey {
        freed_ms: until_ms,
        pack,
        offset: 0,
    };
    transaction.put(&FREED_EXTENTS, &key, &FreedRow { length: 0 })
}
