//! The ordered map on redb: the only file that knows redb's types.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition,
};

use super::error::CatalogError;
use super::pages::{Pages, View};
use super::table::{RawRead, RawScan, RawWrite, Transaction};
use crate::ghostbay::disk::Disk;

/// All rows of all tables.
const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

/// The index file.
pub(super) struct RedbMap {
    database: Held,
    health: Arc<Health>,
    writable: bool,
}

/// What has gone wrong with an index since it was opened.
#[derive(Default)]
pub(super) struct Health {
    /// Its file could not be read or written. redb refuses everything from then on.
    pub failed: AtomicBool,
    /// Its file could not be synced: what of it is on the disk is not known (ORDERING.md, O7).
    pub sync_failed: AtomicBool,
    /// redb has panicked over a damaged page.
    panicked: AtomicBool,
}

impl Health {
    /// The catalog's error for one of redb's; notes one that redb does not recover from.
    fn error(&self, error: impl Into<redb::Error>) -> CatalogError {
        let error = error.into();
        if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
            self.failed.store(true, Ordering::Release);
        }
        CatalogError::index(error)
    }
}

impl RedbMap {
    /// Opens the file, or makes it. It is not locked for itself: whoever opens it holds the data
    /// directory.
    ///
    /// `cache_bytes` bounds redb's page cache; its own default is 1 GiB.
    pub fn open(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<Self, CatalogError> {
        Self::open_noting(disk, path, cache_bytes, Arc::default())
    }

    /// As [`RedbMap::open`]; `health` says what went wrong also where opening fails.
    pub fn open_noting(
        disk: &dyn Disk,
        path: &Path,
        cache_bytes: usize,
        health: Arc<Health>,
    ) -> Result<Self, CatalogError> {
        let file = disk.exists(path).and_then(|exists| match exists {
            true => disk.open(path),
            false => disk.create(path),
        });
        let file = file.map_err(|error| health.error(redb::Error::Io(error)))?;
        let pages = Pages::new(file, health.clone());
        Self::with(pages, cache_bytes, health, true)
    }

    /// Opens a file to read it alone: not a byte of it is changed, also where redb has something
    /// to mend.
    pub fn view(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<Self, CatalogError> {
        let health = Arc::new(Health::default());
        let view = disk.open(path).and_then(View::new);
        let view = view.map_err(|error| health.error(redb::Error::Io(error)))?;
        Self::with(view, cache_bytes, health, false)
    }

    fn with(
        backend: impl StorageBackend,
        cache_bytes: usize,
        health: Arc<Health>,
        writable: bool,
    ) -> Result<Self, CatalogError> {
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes);
        let database = guarded(&health, || {
            builder
                .create_with_backend(backend)
                .map_err(|error| health.error(error))
        })?;
        Ok(RedbMap {
            database: Held {
                database: Some(database),
                health: health.clone(),
                closes: true,
            },
            health,
            writable,
        })
    }

    /// What has gone wrong so far.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Whether it was opened to write.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Compares every page with its checksum.
    pub fn check_pages(mut self) -> Result<(), CatalogError> {
        let health = self.health.clone();
        let whole = guarded(&health, || {
            self.database.check_integrity().map_err(CatalogError::index)
        });
        match whole {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.let_go();
                Err(CatalogError::Damaged(
                    "pages do not have their checksums".to_owned(),
                ))
            }
            Err(error) => {
                self.let_go();
                Err(error)
            }
        }
    }

    /// Has the database left unclosed when it is dropped, which costs its memory and its file: closing
    /// it over damaged pages can end the process.
    pub fn let_go(&mut self) {
        self.database.closes = false;
    }

    /// The state after the last commit. `None` while no transaction has been committed.
    pub fn read(&self) -> Result<Box<dyn RawRead + Send>, CatalogError> {
        guarded(&self.health, || {
            let transaction = self.database.begin_read();
            let transaction = transaction.map_err(|error| self.health.error(error))?;
            match transaction.open_table(ROWS) {
                Ok(table) => {
                    let reading = Reading(table, self.health.clone());
                    Ok(Box::new(reading) as Box<dyn RawRead + Send>)
                }
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(Box::new(Nothing)),
                Err(error) => Err(self.health.error(error)),
            }
        })
    }

    /// Runs `work` in a write transaction and commits durably what it did; an error drops all.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&mut dyn RawWrite) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        guarded(&self.health, || {
            let transaction = self.database.begin_write();
            let mut transaction = transaction.map_err(|error| self.health.error(error))?;
            transaction
                .set_durability(Durability::Immediate)
                .map_err(|error| self.health.error(error))?;
            // Two-phase commit, and the allocator saved with each commit, so that opening after a
            // kill does not walk the file.
            transaction.set_two_phase_commit(true);
            transaction.set_quick_repair(true);
            let done = {
                let table = transaction.open_table(ROWS);
                let table = table.map_err(|error| self.health.error(error))?;
                let mut writing = Writing {
                    table,
                    health: &self.health,
                    failure: None,
                };
                let done = work(&mut writing);
                // Half a change must not be committed, whatever became of the operation that made it.
                writing.failure.take().map_or(done, Err)?
            };
            transaction
                .commit()
                .map_err(|error| self.health.error(error))?;
            Ok(done)
        })
    }
}

/// The database, which writes a little when it is closed and can panic over damaged pages then.
struct Held {
    database: Option<Database>,
    health: Arc<Health>,
    /// Whether it is to be closed, and not only let go.
    closes: bool,
}

impl std::ops::Deref for Held {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.database.as_ref().expect("held until it is dropped")
    }
}

impl std::ops::DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Database {
        self.database.as_mut().expect("held until it is dropped")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(database) = self.database.take() else {
            return;
        };
        // Where redb has panicked once, its locks are poisoned: its destructors would panic in turn,
        // which ends the whole process.
        if !self.closes || self.health.panicked.load(Ordering::Acquire) {
            std::mem::forget(database);
            return;
        }
        let closed = guarded(&self.health, || {
            drop(database);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::error!(%error, "the index was not closed well");
        }
    }
}

/// Calls redb, which takes some of its pages at their word: a damaged one can lead it to a panic,
/// which must hit the request that met it and nothing else.
fn guarded<T>(
    health: &Health,
    call: impl FnOnce() -> Result<T, CatalogError>,
) -> Result<T, CatalogError> {
    // What redb leaves behind is either not used any more (a read) or dropped with its
    // transaction (a write).
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        health.panicked.store(true, Ordering::Release);
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        let reason = said.unwrap_or("a page that makes no sense");
        Err(CatalogError::Damaged(reason.to_owned()))
    })
}

struct Reading(ReadOnlyTable<&'static [u8], &'static [u8]>, Arc<Health>);

/// A file in which nothing was ever committed.
struct Nothing;

struct Writing<'a> {
    table: redb::Table<'a, &'static [u8], &'static [u8]>,
    health: &'a Health,
    /// What broke off a change in the middle.
    failure: Option<CatalogError>,
}

impl Writing<'_> {
    fn change<T>(
        &mut self,
        change: impl FnOnce(
            &mut redb::Table<'_, &'static [u8], &'static [u8]>,
        ) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let changed = guarded(self.health, || change(&mut self.table));
        if let Err(error) = &changed {
            self.failure.get_or_insert_with(|| error.clone());
        }
        changed
    }
}

fn get(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    health: &Health,
    key: &[u8],
    found: &mut dyn FnMut(&[u8]),
) -> Result<bool, CatalogError> {
    guarded(health, || {
        match table.get(key).map_err(|error| health.error(error))? {
            Some(value) => {
                found(value.value());
                Ok(true)
            }
            None => Ok(false),
        }
    })
}

fn range<'a>(
    table: &'a impl ReadableTable<&'static [u8], &'static [u8]>,
    health: &'a Health,
    from: &[u8],
    exclusive: bool,
    to: &[u8],
) -> Result<RawScan<'a>, CatalogError> {
    if from >= to {
        return Ok(Box::new(std::iter::empty()));
    }
    let first = if exclusive {
        Bound::Excluded(from)
    } else {
        Bound::Included(from)
    };
    let bounds = (first, Bound::Excluded(to));
    let mut rows = guarded(health, || {
        table
            .range::<&[u8]>(bounds)
            .map_err(|error| health.error(error))
    })?;
    let mut failed = false;
    Ok(Box::new(std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let row = guarded(health, || {
            let Some(row) = rows.next() else {
                return Ok(None);
            };
            let (key, value) = row.map_err(|error| health.error(error))?;
            Ok(Some((key.value().to_vec(), value.value().to_vec())))
        });
        // Where an iterator fails it would stand still and fail for ever.
        failed = row.is_err();
        row.transpose()
    })))
}

impl RawRead for Reading {
    fn get(&self, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<bool, CatalogError> {
        get(&self.0, &self.1, key, found)
    }

    fn range(&self, from: &[u8], exclusive: bool, to: &[u8]) -> Result<RawScan<'_>, CatalogError> {
        range(&self.0, &self.1, from, exclusive, to)
    }
}

impl RawRead for Nothing {
    fn get(&self, _: &[u8], _: &mut dyn FnMut(&[u8])) -> Result<bool, CatalogError> {
        Ok(false)
    }

    fn range(&self, _: &[u8], _: bool, _: &[u8]) -> Result<RawScan<'_>, CatalogError> {
        Ok(Box::new(std::iter::empty()))
    }
}

impl RawRead for Writing<'_> {
    fn get(&self, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<bool, CatalogError> {
        get(&self.table, self.health, key, found)
    }

    fn range(&self, from: &[u8], exclusive: bool, to: &[u8]) -> Result<RawScan<'_>, CatalogError> {
        range(&self.table, self.health, from, exclusive, to)
    }
}

impl RawWrite for Writing<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), CatalogError> {
        let health = self.health;
        self.change(|table| {
            let inserted = table.insert(key, value);
            inserted.map_err(|error| health.error(error))?;
            Ok(())
        })
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, CatalogError> {
        let health = self.health;
        self.change(|table| {
            let removed = table.remove(key);
            Ok(removed.map_err(|error| health.error(error))?.is_some())
        })
    }
}

/// Runs one operation in a write transaction of its own; for opening, before the committer runs.
pub(super) fn write_once<T>(
    map: &RedbMap,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, CatalogError>,
) -> Result<T, CatalogError> {
    map.write(|rows| work(&mut Transaction::new(rows, &mut Vec::new())))
}
