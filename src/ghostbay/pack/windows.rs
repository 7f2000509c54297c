//! What is known of the windows of an extent: their checksums, and which of them were found right.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::extent::Extent;
use super::record::Trailer;
use crate::ghostbay::figures::CacheFigures;

/// What all that is known may take, in bytes: that of some TiB in extents of 64 MiB.
const KNOWN_BYTES_MAX: u64 = 8 << 20;

/// What an entry takes beside its windows, in bytes, about.
const ENTRY_BYTES: u64 = 128;

/// Windows that one word tells of.
const WORD_BITS: u64 = u64::BITS as u64;

/// The windows of one extent.
#[derive(Debug)]
pub struct Windows {
    checksums: Vec<u32>,
    right: Vec<AtomicU64>,
}

impl Windows {
    /// As the trailer says; none was looked at yet.
    pub fn new(trailer: Trailer) -> Self {
        let words = (trailer.windows.len() as u64).div_ceil(WORD_BITS);
        Windows {
            checksums: trailer.windows,
            right: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// CRC-32C of the window of that number.
    pub fn checksum(&self, window: u64) -> Option<u32> {
        self.checksums.get(window as usize).copied()
    }

    /// Whether the window was found to be as it was written.
    pub fn is_right(&self, window: u64) -> bool {
        let word = self.right.get((window / WORD_BITS) as usize);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & bit(window) != 0)
    }

    /// Notes that it was.
    pub fn found_right(&self, window: u64) {
        if let Some(word) = self.right.get((window / WORD_BITS) as usize) {
            word.fetch_or(bit(window), Ordering::Relaxed);
        }
    }

    /// Notes that it is no longer known: what lies in memory of it may have come from the disk since.
    pub fn forget(&self, window: u64) {
        if let Some(word) = self.right.get((window / WORD_BITS) as usize) {
            word.fetch_and(!bit(window), Ordering::Relaxed);
        }
    }
}

fn bit(window: u64) -> u64 {
    1 << (window % WORD_BITS)
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Extent, Arc<Windows>> for ByBytes {
    fn weight(&self, _: &Extent, windows: &Arc<Windows>) -> u64 {
        let words = windows.right.len() as u64;
        ENTRY_BYTES + 4 * windows.checksums.len() as u64 + 8 * words
    }
}

/// The windows of the extents that were read lately. A pack's number is never used again, and what
/// an extent names is never overwritten, so nothing here grows old.
pub struct KnownWindows {
    cache: Cache<Extent, Arc<Windows>, ByBytes>,
    figures: Arc<CacheFigures>,
}

impl KnownWindows {
    /// Those of that extent, if they are known.
    pub fn get(&self, extent: &Extent) -> Option<Arc<Windows>> {
        let known = self.cache.get(extent);
        match known {
            Some(_) => self.figures.hits.add(1),
            None => self.figures.misses.add(1),
        }
        known
    }

    /// What is counted of it.
    pub fn figures(&self) -> &Arc<CacheFigures> {
        &self.figures
    }

    /// Remembers those of an extent, and gives what all who read it share.
    pub fn remember(&self, extent: &Extent, windows: Windows) -> Arc<Windows> {
        let windows = Arc::new(windows);
        self.cache.insert(*extent, windows.clone());
        windows
    }
}

impl Default for KnownWindows {
    fn default() -> Self {
        let entries = (KNOWN_BYTES_MAX / (2 * ENTRY_BYTES)) as usize;
        KnownWindows {
            cache: Cache::with_weighter(entries, KNOWN_BYTES_MAX, ByBytes),
            figures: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::pack::PackId;

    fn windows(count: u32) -> Windows {
        Windows::new(Trailer {
            windows: (0..count).collect(),
            digest: None,
        })
    }

    #[test]
    fn each_window_is_found_right_by_itself() {
        let windows = windows(130);
        windows.found_right(0);
        windows.found_right(129);
        windows.found_right(130);
        let right: Vec<u64> = (0..200)
            .filter(|window| windows.is_right(*window))
            .collect();
        // The last word has room for some that the extent has not.
        assert_eq!(right, [0, 129, 130]);
        windows.forget(129);
        assert!(windows.is_right(0) && !windows.is_right(129));
        assert_eq!(windows.checksum(129), Some(129));
        assert_eq!(windows.checksum(130), None);
    }

    #[test]
    fn what_is_known_is_bounded() {
        let known = KnownWindows::default();
        let extent = |offset| Extent {
            pack: PackId::new(1, 1),
            offset,
            length: 64 << 20,
        };
        for number in 0..200_000 {
            known.remember(&extent(4160 + number * (65 << 20)), windows(64));
        }
        assert!(known.cache.weight() <= KNOWN_BYTES_MAX);
        assert!(known.cache.len() > 10_000);
    }
}
