//! The ordered map on redb: the only file that knows redb's types.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition,
};

use super::error::CatalogError;
use super::table::{RawRead, RawScan, RawWrite, Transaction};
use crate::ghostbay::disk::{Disk, DiskFile, SyncPoint};

/// All rows of all tables.
const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

/// The index file.
pub(super) struct RedbMap {
    database: Database,
}

impl RedbMap {
    /// Opens the file, or makes it.
    ///
    /// `cache_bytes` bounds redb's page cache; its own default is 1 GiB.
    pub fn open(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<Self, CatalogError> {
        let file = disk
            .exists(path)
            .and_then(|exists| match exists {
                true => disk.open(path),
                false => disk.create(path),
            })
            .map_err(|error| CatalogError::index(redb::Error::Io(error)))?;
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes);
        let database = guarded(|| {
            builder
                .create_with_backend(Pages(file))
                .map_err(CatalogError::index)
        })?;
        Ok(RedbMap { database })
    }

    /// The state after the last commit. `None` while no transaction has been committed.
    pub fn read(&self) -> Result<Box<dyn RawRead + Send>, CatalogError> {
        guarded(|| {
            let transaction = self.database.begin_read().map_err(CatalogError::index)?;
            match transaction.open_table(ROWS) {
                Ok(table) => Ok(Box::new(Reading(table)) as Box<dyn RawRead + Send>),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(Box::new(Nothing)),
                Err(error) => Err(CatalogError::index(error)),
            }
        })
    }

    /// Runs `work` in a write transaction and commits durably what it did; an error drops all.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&mut dyn RawWrite) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        guarded(|| {
            let mut transaction = self.database.begin_write().map_err(CatalogError::index)?;
            transaction
                .set_durability(Durability::Immediate)
                .map_err(CatalogError::index)?;
            // Two-phase commit, and the allocator saved with each commit, so that opening after a
            // kill does not walk the file.
            transaction.set_two_phase_commit(true);
            transaction.set_quick_repair(true);
            let done = {
                let table = transaction.open_table(ROWS).map_err(CatalogError::index)?;
                let mut writing = Writing {
                    table,
                    failure: None,
                };
                let done = work(&mut writing);
                // Half a change must not be committed, whatever became of the operation that made it.
                writing.failure.take().map_or(done, Err)?
            };
            transaction.commit().map_err(CatalogError::index)?;
            Ok(done)
        })
    }
}

/// Calls redb, which takes some of its pages at their word: a damaged one can lead it to a panic,
/// which must hit the request that met it and nothing else.
fn guarded<T>(call: impl FnOnce() -> Result<T, CatalogError>) -> Result<T, CatalogError> {
    // What redb leaves behind is either not used any more (a read) or dropped with its
    // transaction (a write).
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        let reason = said.unwrap_or("a page that makes no sense");
        Err(CatalogError::Damaged(reason.to_owned()))
    })
}

/// The index's file as redb wants it. It is not locked for itself: whoever opens it holds the
/// data directory.
struct Pages(Arc<dyn DiskFile>);

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the index's file")
    }
}

impl StorageBackend for Pages {
    fn len(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data(SyncPoint::Index)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
}

struct Reading(ReadOnlyTable<&'static [u8], &'static [u8]>);

/// A file in which nothing was ever committed.
struct Nothing;

struct Writing<'a> {
    table: redb::Table<'a, &'static [u8], &'static [u8]>,
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
        let changed = guarded(|| change(&mut self.table));
        if let Err(error) = &changed {
            self.failure.get_or_insert_with(|| error.clone());
        }
        changed
    }
}

fn get(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
    found: &mut dyn FnMut(&[u8]),
) -> Result<bool, CatalogError> {
    match guarded(|| table.get(key).map_err(CatalogError::index))? {
        Some(value) => {
            found(value.value());
            Ok(true)
        }
        None => Ok(false),
    }
}

fn range<'a>(
    table: &'a impl ReadableTable<&'static [u8], &'static [u8]>,
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
    let mut rows = guarded(|| table.range::<&[u8]>(bounds).map_err(CatalogError::index))?;
    let mut failed = false;
    Ok(Box::new(std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let row = guarded(|| {
            let Some(row) = rows.next() else {
                return Ok(None);
            };
            let (key, value) = row.map_err(CatalogError::index)?;
            Ok(Some((key.value().to_vec(), value.value().to_vec())))
        });
        // Where an iterator fails it would stand still and fail for ever.
        failed = row.is_err();
        row.transpose()
    })))
}

impl RawRead for Reading {
    fn get(&self, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<bool, CatalogError> {
        get(&self.0, key, found)
    }

    fn range(&self, from: &[u8], exclusive: bool, to: &[u8]) -> Result<RawScan<'_>, CatalogError> {
        range(&self.0, from, exclusive, to)
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
        get(&self.table, key, found)
    }

    fn range(&self, from: &[u8], exclusive: bool, to: &[u8]) -> Result<RawScan<'_>, CatalogError> {
        range(&self.table, from, exclusive, to)
    }
}

impl RawWrite for Writing<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), CatalogError> {
        self.change(|table| {
            table.insert(key, value).map_err(CatalogError::index)?;
            Ok(())
        })
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, CatalogError> {
        self.change(|table| Ok(table.remove(key).map_err(CatalogError::index)?.is_some()))
    }
}

/// Runs one operation in a write transaction of its own; for opening, before the committer runs.
pub(super) fn write_once<T>(
    map: &RedbMap,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, CatalogError>,
) -> Result<T, CatalogError> {
    map.write(|rows| work(&mut Transaction::new(rows, &mut Vec::new())))
}
