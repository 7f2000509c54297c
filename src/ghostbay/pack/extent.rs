//! Where bytes lie: a pack, an offset, a length.

use std::fmt;

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Extent {
    /// The pack that holds it.
    pub pack: PackId,
    /// Where the body begins in the file, in bytes.
    pub offset: u64,
    /// The body's length in bytes; never 0.
    pub length: u64,
}
