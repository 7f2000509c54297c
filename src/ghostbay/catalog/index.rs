//! The index of a store: made under another name, and opened again when it has failed.
//!
//! redb takes nothing more after an error of its file. What it is opened again on depends on the
//! error. Where reading or writing failed, what was synced is still what it was, and the same file
//! is opened. Where a *sync* failed, the system may hold pages that the disk does not, and would
//! never write them again: the rows are copied to a fresh file, which takes the old one's place
//! once it is durable (ORDERING.md, O7). Until then a view of the old file is read.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::committer::ReadCatalog;
use super::error::CatalogError;
use super::redb_map::{Health, RedbMap};
use super::table::{RawRead, RawWrite, Snapshot};
use crate::ghostbay::disk::{Disk, SyncPoint};

/// Name of an index that is being made, beside the one whose place it takes.
pub const NEW_INDEX_FILE: &str = "index.redb.new";

/// Where an index lies, and how it is opened.
#[derive(Clone)]
pub struct IndexPlace {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The index's file.
    pub path: PathBuf,
    /// Memory for its pages, in bytes.
    pub cache_bytes: usize,
}

impl IndexPlace {
    /// Opens the index, if there is one.
    pub(super) fn open(&self) -> Result<Option<RedbMap>, CatalogError> {
        let found = self.disk.exists(&self.path).map_err(io_error)?;
        match found {
            true => RedbMap::open(&*self.disk, &self.path, self.cache_bytes).map(Some),
            false => Ok(None),
        }
    }

    /// Opens the index to look at it, if there is one.
    pub(super) fn view(&self) -> Result<Option<RedbMap>, CatalogError> {
        let found = self.disk.exists(&self.path).map_err(io_error)?;
        match found {
            true => RedbMap::view(&*self.disk, &self.path, self.cache_bytes).map(Some),
            false => Ok(None),
        }
    }

    /// Copies the rows to a fresh file, which takes this one's name once it is durable; what is free in
    /// this one is not in that. Nobody has it open.
    pub fn write_anew(&self) -> Result<(), CatalogError> {
        let Some(old) = self.view()? else {
            return Ok(());
        };
        self.make(|fresh| copy(&*old.read()?, fresh)).map(drop)
    }

    /// Makes an index: it gets its name only when `fill` has committed all that belongs in it, in
    /// place of whatever had that name (ORDERING.md, O5).
    pub(super) fn make(
        &self,
        fill: impl FnOnce(&RedbMap) -> Result<(), CatalogError>,
    ) -> Result<RedbMap, CatalogError> {
        let new = self.path.with_file_name(NEW_INDEX_FILE);
        // What an attempt before this one left.
        match self.disk.remove(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error(error));
            }
            _ => {}
        }
        let made = RedbMap::open(&*self.disk, &new, self.cache_bytes).and_then(|map| {
            fill(&map)?;
            self.disk.rename(&new, &self.path).map_err(io_error)?;
            Ok(map)
        });
        let map = made.inspect_err(|_| {
            let _ = self.disk.remove(&new);
        })?;
        if let Some(directory) = self.path.parent() {
            let synced = self.disk.sync_directory(directory, SyncPoint::IndexSwap);
            synced.map_err(io_error)?;
        }
        Ok(map)
    }
}

fn io_error(error: std::io::Error) -> CatalogError {
    CatalogError::index(redb::Error::Io(error))
}

/// The index of a running store.
pub(super) struct Index {
    place: IndexPlace,
    map: RwLock<Arc<RedbMap>>,
    /// A sync of the file failed, and no fresh one has taken its place yet.
    untrusted: AtomicBool,
    /// The file cannot even be looked at: whether the last commit is done is not known, and what
    /// redb still has in memory may be older than what will be found.
    unsettled: AtomicBool,
}

impl Index {
    pub fn new(place: IndexPlace, map: RedbMap) -> Self {
        Index {
            place,
            map: RwLock::new(Arc::new(map)),
            untrusted: AtomicBool::new(false),
            unsettled: AtomicBool::new(false),
        }
    }

    fn map(&self) -> Arc<RedbMap> {
        self.map
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn replace(&self, map: RedbMap) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
        self.unsettled.store(false, Ordering::Release);
    }

    /// What gives the state after the last commit.
    pub fn reader(index: &Arc<Index>) -> ReadCatalog {
        let index = index.clone();
        Arc::new(move || Ok(Snapshot::new(index.read()?)))
    }

    /// The state after the last commit.
    pub fn read(&self) -> Result<Box<dyn RawRead + Send>, CatalogError> {
        if self.unsettled.load(Ordering::Acquire) {
            return Err(CatalogError::index(redb::Error::PreviousIo));
        }
        self.map().read()
    }

    /// As [`RedbMap::write`].
    pub fn write<T>(
        &self,
        work: impl FnOnce(&mut dyn RawWrite) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        self.map().write(work)
    }

    /// Whether it has to be opened again before anything can be written.
    pub fn has_failed(&self) -> bool {
        let map = self.map();
        !map.is_writable() || map.health().failed.load(Ordering::Acquire)
    }

    /// Opens it again. Reads go on from here where the disk can be read at all, also if this
    /// fails.
    pub fn reopen(&self) -> Result<(), CatalogError> {
        let failed = self.map();
        if failed.health().sync_failed.load(Ordering::Acquire) {
            self.untrusted.store(true, Ordering::Release);
        }
        let opened = if self.untrusted.load(Ordering::Acquire) {
            self.look(&failed)?;
            self.place.make(|fresh| copy(&*self.read()?, fresh))
        } else {
            self.open_again()
        };
        match opened {
            Ok(map) => {
                self.untrusted.store(false, Ordering::Release);
                self.replace(map);
                Ok(())
            }
            Err(error) => {
                self.look(&failed)?;
                Err(error)
            }
        }
    }

    fn open_again(&self) -> Result<RedbMap, CatalogError> {
        let IndexPlace {
            disk,
            path,
            cache_bytes,
        } = &self.place;
        let health = Arc::new(Health::default());
        let opened = RedbMap::open_noting(&**disk, path, *cache_bytes, health.clone());
        // Opening syncs as well.
        if opened.is_err() && health.sync_failed.load(Ordering::Acquire) {
            self.untrusted.store(true, Ordering::Release);
        }
        opened
    }

    /// Has reads served from a view, unless one that works is there.
    fn look(&self, failed: &Arc<RedbMap>) -> Result<(), CatalogError> {
        let current = self.map();
        let works = !current.health().failed.load(Ordering::Acquire);
        if works && !(Arc::ptr_eq(&current, failed) && current.is_writable()) {
            return Ok(());
        }
        let IndexPlace {
            disk,
            path,
            cache_bytes,
        } = &self.place;
        let view = RedbMap::view(&**disk, path, *cache_bytes);
        self.replace(view.inspect_err(|_| self.unsettled.store(true, Ordering::Release))?);
        Ok(())
    }
}

/// Rows that are copied in one transaction at most: what a transaction writes is held in memory
/// until its commit.
const COPY_ROWS: usize = 100_000;

fn copy(from: &dyn RawRead, to: &RedbMap) -> Result<(), CatalogError> {
    let mut rows = from.range(&[], false, &[u8::MAX])?.peekable();
    loop {
        to.write(|fresh| {
            for row in rows.by_ref().take(COPY_ROWS) {
                let (key, value) = row?;
                fresh.put(&key, &value)?;
            }
            Ok(())
        })?;
        if rows.peek().is_none() {
            return Ok(());
        }
    }
}
