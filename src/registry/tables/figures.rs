//! The tables of how much there was, and how much was asked for, at what time.

use serde::{Deserialize, Serialize};

use crate::ghostbay::catalog::{Key, KeyReader, KeyWriter, Table, Value};
use crate::oci::RepositoryName;

/// What the store took up, from time to time.
pub const GROWTH: Table<u64, GrowthRow> = Table::new(0x31, "growth");
/// How often repositories were pulled from, by day.
pub const PULL_DAYS: Table<PullDayKey, PullDayRow> = Table::new(0x32, "pull_days");

impl Key for u64 {
    const LAYOUT: &'static str = "u64";

    fn encode(&self, out: &mut KeyWriter) {
        out.u64(*self);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        input.u64()
    }
}

/// What the store took up at a moment, in bytes. The key is the moment, in milliseconds since 1970.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct GrowthRow {
    /// What the packs' files took on the disk.
    pub allocated: u64,
    /// What of it was alive.
    pub live: u64,
    /// What the repositories held together, if each had its own copy of everything.
    pub logical: u64,
}

impl Value for GrowthRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "allocated u64, live u64, logical u64";
}

/// A repository on a day.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PullDayKey {
    /// The day, counted from 1970-01-01 in UTC.
    pub day: u32,
    /// The repository.
    pub repository: RepositoryName,
}

impl Key for PullDayKey {
    const LAYOUT: &'static str = "day u32, repository";

    fn encode(&self, out: &mut KeyWriter) {
        out.u32(self.day);
        self.repository.encode(out);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(PullDayKey {
            day: input.u32()?,
            repository: Key::decode(input)?,
        })
    }
}

/// How often a repository was pulled from on a day.
#[derive(Serialize, Deserialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct PullDayRow {
    /// Manifests that were answered with their bytes, or that the client had already.
    pub pulls: u64,
}

impl Value for PullDayRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "pulls u64";
}
