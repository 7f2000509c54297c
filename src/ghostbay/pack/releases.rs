//! What releasing extents would free, without releasing any.

use std::collections::HashMap;

use super::accounts::{ExtentKey, SHARED_EXTENTS};
use super::extent::{Extent, PackId};
use super::record::footprint;
use crate::ghostbay::catalog::{CatalogError, Rows};

/// Counts owners that would let go of extents, and the records that would lose their last one.
#[derive(Default)]
pub struct Releases {
    /// Owners that are left of extents that have several. The others have none left.
    left: HashMap<(PackId, u64), u32>,
    freed_bytes: u64,
}

impl Releases {
    /// Counts that one owner lets go of these extents.
    pub fn add(&mut self, rows: &impl Rows, extents: &[Extent]) -> Result<(), CatalogError> {
        for extent in extents {
            let key = ExtentKey::from(extent);
            let place = (extent.pack, extent.offset);
            let more = match self.left.get(&place) {
                Some(left) => *left,
                None => match rows.get_sound(&SHARED_EXTENTS, &key)? {
                    Some(owners) => owners.0,
                    // Owners that are not known count as many.
                    None if rows.contains(&SHARED_EXTENTS, &key)? => u32::MAX,
                    None => 0,
                },
            };
            match more.checked_sub(1) {
                Some(left) => {
                    self.left.insert(place, left);
                }
                None => self.freed_bytes += footprint(extent.offset, extent.length),
            }
        }
        Ok(())
    }

    /// Bytes of records that would be dead, headers, trailers and alignment included.
    pub fn freed_bytes(&self) -> u64 {
        self.freed_bytes
    }
}
