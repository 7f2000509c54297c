//! The index's file as redb wants it: to write to, or to look at without changing a byte.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::redb_map::Health;
use crate::ghostbay::disk::{DiskFile, SyncPoint};

/// The file.
pub(super) struct Pages {
    file: Arc<dyn DiskFile>,
    health: Arc<Health>,
}

impl Pages {
    pub fn new(file: Arc<dyn DiskFile>, health: Arc<Health>) -> Self {
        Pages { file, health }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the index's file")
    }
}

impl StorageBackend for Pages {
    fn len(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data(SyncPoint::Index).inspect_err(|_| {
            self.health.sync_failed.store(true, Ordering::Release);
        })
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
}

/// What is laid over a file is kept in pages of this length.
const PAGE_BYTES: u64 = 4096;

/// The file with all that is written to it kept in memory. Opening an index that was not closed
/// writes a few pages; copying its rows writes none.
pub(super) struct View {
    file: Arc<dyn DiskFile>,
    laid_over: Mutex<LaidOver>,
}

struct LaidOver {
    length: u64,
    /// Up to where the file's own bytes count.
    file_length: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl View {
    pub fn new(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let length = file.length()?;
        Ok(View {
            file,
            laid_over: Mutex::new(LaidOver {
                length,
                file_length: length,
                pages: BTreeMap::new(),
            }),
        })
    }

    fn laid_over(&self) -> MutexGuard<'_, LaidOver> {
        self.laid_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The file's own bytes, and zeros behind them.
    fn read_file(&self, offset: u64, out: &mut [u8], file_length: u64) -> io::Result<()> {
        let there = file_length.saturating_sub(offset).min(out.len() as u64) as usize;
        let (own, behind) = out.split_at_mut(there);
        behind.fill(0);
        self.file.read_exact_at(own, offset)
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a view of the index's file")
    }
}

impl StorageBackend for View {
    fn len(&self) -> io::Result<u64> {
        Ok(self.laid_over().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.laid_over();
        let end = offset + out.len() as u64;
        if end > over.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_file(offset, out, over.file_length)?;
        for (number, page) in over
            .pages
            .range(offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES))
        {
            let begin = number * PAGE_BYTES;
            let (first, last) = (begin.max(offset), (begin + PAGE_BYTES).min(end));
            out[(first - offset) as usize..(last - offset) as usize]
                .copy_from_slice(&page[(first - begin) as usize..(last - begin) as usize]);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut over = self.laid_over();
        over.file_length = over.file_length.min(length);
        over.pages.retain(|number, page| {
            let begin = number * PAGE_BYTES;
            let kept = length.saturating_sub(begin).min(PAGE_BYTES) as usize;
            page[kept..].fill(0);
            kept > 0
        });
        over.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut over = self.laid_over();
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (number, within) = (at / PAGE_BYTES, (at % PAGE_BYTES) as usize);
            let now = (PAGE_BYTES as usize - within).min(bytes.len() - done);
            if !over.pages.contains_key(&number) {
                let mut page = vec![0; PAGE_BYTES as usize];
                self.read_file(number * PAGE_BYTES, &mut page, over.file_length)?;
                over.pages.insert(number, page);
            }
            if let Some(page) = over.pages.get_mut(&number) {
                page[within..within + now].copy_from_slice(&bytes[done..done + now]);
            }
            done += now;
        }
        over.length = over.length.max(offset + bytes.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::disk::{Disk, OsDisk};

    #[test]
    fn what_is_written_to_a_view_is_read_from_it_and_not_from_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = OsDisk.create(&directory.path().join("f")).unwrap();
        file.write_at(&[1; 10_000], 0).unwrap();
        let view = View::new(file.clone()).unwrap();
        view.write(4000, &[2; 5000]).unwrap();
        let mut bytes = vec![0; 10_000];
        view.read(0, &mut bytes).unwrap();
        assert_eq!(bytes[..4000], [1; 4000]);
        assert_eq!(bytes[4000..9000], [2; 5000]);
        assert_eq!(bytes[9000..], [1; 1000]);
        assert!(view.read(9000, &mut [0; 1001]).is_err());
        // Cut and lengthened, it reads as zeros.
        view.set_len(5000).unwrap();
        view.set_len(20_000).unwrap();
        view.read(0, &mut bytes).unwrap();
        assert_eq!(bytes[4000..5000], [2; 1000]);
        assert_eq!(bytes[5000..], [0; 5000]);
        view.write(19_000, &[3; 2000]).unwrap();
        assert_eq!(view.len().unwrap(), 21_000);
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [1; 10_000]);
        assert_eq!(file.length().unwrap(), 10_000);
    }
}
