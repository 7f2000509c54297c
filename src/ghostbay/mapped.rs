//! Bytes of files that the kernel sends by itself: named by an address, and never looked at.
//!
//! Between the store and a socket stands a HTTP library, which queues `Bytes`, cuts them and counts
//! them. So that it need not know of files, a piece of a file passes as `Bytes` that point into a
//! read-only map of it. Where the bytes would be copied into the socket, [`find`] tells from the
//! address which file and place is meant, and the kernel is asked to send that (`sendfile`).
//!
//! Why it is sound:
//! * A map is of whole pages, `PROT_READ`, and lives as long as any `Bytes` in it: they own it. Its
//!   addresses are in the registry for exactly as long, so no address that is found is another's.
//! * A slice promises that its bytes do not change. They lie within committed extents, which are
//!   never overwritten, cut or given back while the pin that the `Bytes` own is held.
//! * Reading a mapped byte that the disk cannot give ends the process (SIGBUS). Nothing of ours reads
//!   one: what is mapped goes to sockets in the clear alone, by [`find`]. A slice that is read
//!   nevertheless is right, unless the disk fails at that moment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use bytes::Bytes;

use super::disk::DiskFile;

/// Every map that there is, by its first address.
static MAPS: RwLock<BTreeMap<usize, Weak<Mapping>>> = RwLock::new(BTreeMap::new());

/// What `mincore` tells of a page in memory (mincore(2)).
const RESIDENT: u8 = 1;

/// A file's first bytes as addresses. May reach behind the file's end, where nothing is asked for.
pub struct Mapping {
    start: usize,
    length: usize,
    file: Arc<dyn DiskFile>,
}

impl Mapping {
    /// Maps the first `length` bytes of a file; `None` where it has none that the kernel could send,
    /// or there is no room for the addresses.
    pub fn new(file: Arc<dyn DiskFile>, length: u64) -> Option<Arc<Self>> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let length = usize::try_from(length)
            .ok()?
            .checked_next_multiple_of(rustix::param::page_size())?;
        // SAFETY: the system chooses addresses that nothing else has.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::SHARED,
                file.os_file()?,
                0,
            )
        };
        let start = start.ok()? as usize;
        let mapping = Arc::new(Mapping {
            start,
            length,
            file,
        });
        let mut maps = MAPS.write().unwrap_or_else(PoisonError::into_inner);
        maps.insert(start, Arc::downgrade(&mapping));
        drop(maps);
        Some(mapping)
    }

    /// Up to where the file is mapped, in bytes.
    pub fn length(&self) -> u64 {
        self.length as u64
    }

    /// Whether all of that part of the file is in memory, so that sending it waits for no disk.
    pub fn is_resident(&self, part: &Range<u64>) -> bool {
        let page = rustix::param::page_size();
        let Some((first, behind)) = self.within(part) else {
            return false;
        };
        let first = first / page * page;
        let pages = (behind - first).div_ceil(page);
        let mut told = vec![0u8; pages];
        // SAFETY: the addresses are of this map and begin on a page, and `told` has a byte for each
        // page. No mapped byte is read.
        let asked = unsafe {
            libc::mincore(
                (self.start + first) as *mut libc::c_void,
                behind - first,
                told.as_mut_ptr().cast(),
            )
        };
        asked == 0 && told.iter().all(|page| page & RESIDENT != 0)
    }

    /// That part of the file as bytes. `keep` holds it until the last of them is dropped.
    pub fn bytes(
        self: &Arc<Self>,
        part: &Range<u64>,
        keep: impl Send + Sync + 'static,
    ) -> Option<Bytes> {
        let (first, behind) = self.within(part)?;
        Some(Bytes::from_owner(Part {
            start: self.start + first,
            length: behind - first,
            _mapping: self.clone(),
            _keep: keep,
        }))
    }

    fn within(&self, part: &Range<u64>) -> Option<(usize, usize)> {
        let (first, behind) = (part.start.try_into().ok()?, part.end.try_into().ok()?);
        (first < behind && behind <= self.length).then_some((first, behind))
    }

    fn file(&self) -> Option<&File> {
        self.file.os_file()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // Out of the registry first: the addresses may be another map's as soon as they are free.
        MAPS.write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.start);
        // SAFETY: the map is ours, and no `Bytes` in it is left, for each owns it.
        let gone = unsafe { rustix::mm::munmap(self.start as *mut _, self.length) };
        debug_assert!(gone.is_ok());
    }
}

/// What `Bytes` of a map own.
struct Part<T> {
    start: usize,
    length: usize,
    _mapping: Arc<Mapping>,
    _keep: T,
}

impl<T> AsRef<[u8]> for Part<T> {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the part lies within a map that `self` owns; the module's page says why its bytes
        // do not change.
        unsafe { std::slice::from_raw_parts(self.start as *const u8, self.length) }
    }
}

/// A place in a file.
pub struct Found {
    mapping: Arc<Mapping>,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
}

impl Found {
    /// The file.
    pub fn file(&self) -> io::Result<BorrowedFd<'_>> {
        let file = self.mapping.file();
        file.map(File::as_fd).ok_or(io::ErrorKind::NotFound.into())
    }
}

/// The place in a file that a slice stands for, if it lies in a map.
pub fn find(slice: &[u8]) -> Option<Found> {
    let first = slice.as_ptr() as usize;
    let maps = MAPS.read().unwrap_or_else(PoisonError::into_inner);
    let (start, mapping) = maps.range(..=first).next_back()?;
    let offset = first - start;
    // The slice keeps its map: one that is going away is none that it could lie in.
    let mapping = mapping.upgrade()?;
    let inside = offset + slice.len() <= mapping.length && !slice.is_empty();
    // A map that is dropped here takes itself out of the registry.
    drop(maps);
    inside.then_some(Found {
        mapping,
        offset: offset as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::disk::{Disk, OsDisk, SyncPoint};

    fn mapping(content: &[u8], length: u64) -> (tempfile::TempDir, Arc<Mapping>) {
        let directory = tempfile::tempdir().unwrap();
        let file = OsDisk.create(&directory.path().join("f")).unwrap();
        file.write_at(content, 0).unwrap();
        file.sync_data(SyncPoint::Bodies).unwrap();
        let mapping = Mapping::new(file, length).unwrap();
        (directory, mapping)
    }

    #[test]
    fn a_slice_is_found_wherever_it_was_cut() {
        let content: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
        let (_directory, mapping) = mapping(&content, 100_000);
        let bytes = mapping.bytes(&(5000..90_000), ()).unwrap();
        assert_eq!(bytes.len(), 85_000);
        let cut = bytes.slice(10..20);
        assert_eq!(find(&cut).unwrap().offset, 5010);
        assert_eq!(find(&bytes).unwrap().offset, 5000);
        assert_eq!(cut, content[5010..5020]);
        assert!(find(&content).is_none() && find(&[]).is_none());
        assert!(mapping.is_resident(&(5000..90_000)));
    }

    #[test]
    fn a_map_stays_as_long_as_its_bytes_and_no_longer() {
        let (_directory, mapping) = mapping(b"0123456789", 10);
        let keep = Arc::new(());
        let bytes = mapping.bytes(&(2..4), keep.clone()).unwrap();
        let (start, weak) = (mapping.start, Arc::downgrade(&mapping));
        drop(mapping);
        assert_eq!(find(&bytes).unwrap().offset, 2);
        assert_eq!(bytes, "23");
        assert_eq!(Arc::strong_count(&keep), 2);
        drop(bytes);
        assert_eq!(Arc::strong_count(&keep), 1);
        assert!(weak.upgrade().is_none());
        let maps = MAPS.read().unwrap();
        let left = maps.get(&start).and_then(Weak::upgrade);
        assert!(left.is_none_or(|other| !Weak::ptr_eq(&Arc::downgrade(&other), &weak)));
    }

    #[test]
    fn nothing_is_mapped_behind_the_end() {
        let (_directory, mapping) = mapping(b"0123456789", 10);
        assert!(mapping.bytes(&(3..3), ()).is_none());
        assert!(mapping.bytes(&(0..mapping.length() + 1), ()).is_none());
        assert!(!mapping.is_resident(&(0..mapping.length() + 1)));
    }
}
