//! A disk whose syncs are timed. All else goes through as it is.

use std::any::Any;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::disk::{Disk, DiskFile, Room, SyncPoint};
use super::error::StorageError;
use super::figures::{Synced, Syncs};
use crate::spans::span;

/// A disk, and what its syncs took.
pub struct TimedDisk {
    disk: Arc<dyn Disk>,
    syncs: Arc<Syncs>,
}

impl TimedDisk {
    /// The same disk, with each sync noted in `syncs`.
    pub fn new(disk: Arc<dyn Disk>, syncs: Arc<Syncs>) -> Self {
        TimedDisk { disk, syncs }
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let syncs = self.syncs.clone();
        Arc::new(TimedFile { file, syncs })
    }
}

fn timed<T>(syncs: &Syncs, point: SyncPoint, sync: impl FnOnce() -> T) -> T {
    let _sync = span!("fsync", drift.file = Synced::from(point).as_str()).entered();
    let began = Instant::now();
    let synced = sync();
    syncs.of(point.into()).observe_time(began.elapsed());
    synced
}

impl Disk for TimedDisk {
    fn lock(&self, directory: &Path) -> Result<Box<dyn Any + Send + Sync>, StorageError> {
        self.disk.lock(directory)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.create_directory(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync_directory(&self, directory: &Path, point: SyncPoint) -> io::Result<()> {
        timed(&self.syncs, point, || {
            self.disk.sync_directory(directory, point)
        })
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        self.disk.room(path)
    }
}

struct TimedFile {
    file: Arc<dyn DiskFile>,
    syncs: Arc<Syncs>,
}

impl DiskFile for TimedFile {
    fn read_at(&self, buffer: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<()> {
        self.file.read_at(buffer, offset, length)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn read_now(&self, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
        self.file.read_now(bytes, offset)
    }

    fn start_reading(&self, offset: u64, length: u64) {
        self.file.start_reading(offset, length);
    }

    fn os_file(&self) -> Option<&File> {
        self.file.os_file()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self, point: SyncPoint) -> io::Result<()> {
        timed(&self.syncs, point, || self.file.sync_data(point))
    }

    fn start_writeback(&self, offset: u64, length: u64) {
        self.file.start_writeback(offset, length);
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.file.allocate(offset, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.file.punch(offset, length)
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }
}
