//! Where bytes lie: a pack, an offset, a length.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::file::PACK_HEADER_BYTES;
use super::record::body_offset;
use super::writer::RECORD_BODY_BYTES_MAX;
use crate::ghostbay::catalog::{Key, KeyReader, KeyWriter};

/// Identity of a pack: the writer's node in the upper 16 bits, its counter in the lower 48, so
/// that several writers could share a store one day without asking each other for ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackId(u64);

impl PackId {
    /// The pack that `node` numbered `counter`.
    pub fn new(node: u16, counter: u64) -> Self {
        PackId(u64::from(node) << 48 | (counter & ((1 << 48) - 1)))
    }

    /// The id of these bits.
    pub fn from_bits(bits: u64) -> Self {
        PackId(bits)
    }

    /// The id's bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The writer that made the pack.
    pub fn node(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// The writer's number for the pack.
    pub fn counter(self) -> u64 {
        self.0 & ((1 << 48) - 1)
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}-{:012x}", self.node(), self.counter())
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Key for PackId {
    const LAYOUT: &'static str = "pack u64";

    fn encode(&self, out: &mut KeyWriter) {
        out.u64(self.0);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        input.u64().map(PackId)
    }
}

/// The body of one record, whole.
///
/// A row that names a place where no body can lie is damaged, and found so when it is read:
/// nothing further in reckons with such numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "Place")]
pub struct Extent {
    /// The pack that holds it.
    pub pack: PackId,
    /// Where the body begins in the file, in bytes.
    pub offset: u64,
    /// The body's length in bytes; never 0.
    pub length: u64,
}

/// The most that a file's length can be; system calls take signed offsets.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// An extent as a row holds it, not looked at yet.
#[derive(Deserialize)]
struct Place {
    pack: PackId,
    offset: u64,
    length: u64,
}

impl TryFrom<Place> for Extent {
    type Error = &'static str;

    fn try_from(place: Place) -> Result<Self, Self::Error> {
        let Place {
            pack,
            offset,
            length,
        } = place;
        let possible = (1..=RECORD_BODY_BYTES_MAX).contains(&length)
            && offset >= body_offset(PACK_HEADER_BYTES, false)
            && offset < FILE_BYTES_MAX / 2;
        if !possible {
            return Err("an extent where no body can lie");
        }
        Ok(Extent {
            pack,
            offset,
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::catalog::codec;
    use crate::ghostbay::multipart::PartRow;

    #[test]
    fn a_row_with_an_impossible_extent_is_damaged() {
        let row = |offset, length| PartRow {
            size: length,
            md5: [0; 16],
            extents: vec![Extent {
                pack: PackId::new(1, 1),
                offset,
                length,
            }],
            modified_ms: 0,
            metadata: Default::default(),
        };
        let decoded = |row: &PartRow| codec::decode::<PartRow>(&codec::encode(row).unwrap());
        let good = row(4160, RECORD_BODY_BYTES_MAX);
        assert_eq!(decoded(&good), Ok(good));
        for (offset, length) in [
            (4160, 0),
            (4160, RECORD_BODY_BYTES_MAX + 1),
            (4160, u64::MAX),
            (4159, 1),
            (u64::MAX, 1),
        ] {
            assert!(decoded(&row(offset, length)).is_err());
        }
    }
}
