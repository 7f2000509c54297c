//! What a check looks at: a store that runs, or one that is stopped.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::finding::Repair;
use crate::ghostbay::catalog::change_log::LogVerifier;
use crate::ghostbay::catalog::{
    Catalog, CatalogError, Inspected, Key, Rows, Snapshot, Table, TableInfo, Value, ViewedCatalog,
    schema,
};
use crate::ghostbay::disk::{Disk, OsDisk};
use crate::ghostbay::error::StorageError;
use crate::ghostbay::local::{
    EngineOptions, INDEX_FILE, LOG_DIRECTORY, OFFLINE_CACHE_BYTES, PACKS_DIRECTORY,
};
use crate::ghostbay::pack::PackSpace;
use crate::ghostbay::pinned::Snapshots;

/// A store as a check sees it.
pub struct CheckedStore {
    pub(in crate::ghostbay) rows: RowSource,
    pub(in crate::ghostbay) space: PackSpace,
    pub(in crate::ghostbay) disk: Arc<dyn Disk>,
    pub(in crate::ghostbay) directory: PathBuf,
    pub(in crate::ghostbay) addressed_buckets: Vec<String>,
    pub(in crate::ghostbay) store: Uuid,
    /// The first bytes of all tables' keys; others are nobody's.
    pub(super) tables: Vec<u8>,
}

/// What a running store gives to its check.
pub(in crate::ghostbay) struct RunningParts {
    pub space: PackSpace,
    pub disk: Arc<dyn Disk>,
    pub directory: PathBuf,
    pub addressed_buckets: Vec<String>,
}

/// The schema of a store that is made now; making it takes as many transactions.
pub(super) fn newest_schema() -> u32 {
    crate::migrations::STEPS
        .last()
        .map_or(0, |step| step.version)
}

fn own_tables() -> Vec<u8> {
    crate::ghostbay::TABLES
        .iter()
        .map(|table| table.id)
        .collect()
}

/// Where rows are read.
pub(in crate::ghostbay) enum RowSource {
    /// In the catalog of a running store, which can be repaired.
    Running(Catalog, LogVerifier),
    /// In an index that nobody writes to.
    Stopped {
        index: ViewedCatalog,
        /// Let go last.
        _lock: Box<dyn Any + Send + Sync>,
    },
}

/// What a stopped store was found to be.
pub enum Stopped {
    /// It can be looked at. What is wrong with the index's pages, if anything is.
    Open(Box<CheckedStore>, Option<String>),
    /// Its index does not open.
    Unreadable(CatalogError),
}

/// Rows that are gathered at once where no snapshot can be kept.
const GATHERED_ROWS: usize = 256;

impl Snapshots for CheckedStore {
    fn snapshot(&self) -> Result<Snapshot, CatalogError> {
        self.read()
    }
}

impl CheckedStore {
    /// A store that runs.
    pub(in crate::ghostbay) fn running(
        parts: RunningParts,
        catalog: Catalog,
        log: LogVerifier,
    ) -> Result<Self, StorageError> {
        let store = schema::store_id(&catalog.read()?)?;
        Ok(CheckedStore {
            rows: RowSource::Running(catalog, log),
            space: parts.space,
            disk: parts.disk,
            directory: parts.directory,
            addressed_buckets: parts.addressed_buckets,
            store,
            tables: own_tables(),
        })
    }

    /// Adds tables that others keep in the same index.
    pub fn with_tables(mut self, tables: &[TableInfo]) -> Self {
        self.tables.extend(tables.iter().map(|table| table.id));
        self
    }

    /// Whether the store runs, and can be repaired.
    pub fn is_running(&self) -> bool {
        matches!(self.rows, RowSource::Running(..))
    }

    /// Some rows behind a key, which is given without the table's id.
    pub(super) fn some_after<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        after: Option<&[u8]>,
    ) -> Result<Vec<Inspected<K, V>>, CatalogError> {
        let rows = self.read()?;
        let some = rows.inspect(table, &[], after)?.take(GATHERED_ROWS);
        let mut gathered = Vec::new();
        for row in some {
            // What cannot be read was told when the table was looked at.
            let Ok(row) = row else { break };
            if after.is_none_or(|after| &row.bytes[1..] > after) {
                gathered.push(row);
            }
        }
        Ok(gathered)
    }

    /// Opens a stopped store to look at it. Nothing in it is changed: what a start would cut off or
    /// tidy up stays as it is.
    pub fn open_stopped(
        directory: &Path,
        options: &EngineOptions,
    ) -> Result<Stopped, StorageError> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let index = directory.join(INDEX_FILE);
        let found = disk.exists(&index).map_err(|source| StorageError::File {
            what: "cannot look at",
            path: index.clone(),
            source,
        })?;
        if !found {
            return Err(StorageError::File {
                what: "there is no index to check; if one was lost, `drift rebuild` makes it again:",
                path: index,
                source: std::io::ErrorKind::NotFound.into(),
            });
        }
        let lock = disk.lock(directory)?;
        let cache_bytes = OFFLINE_CACHE_BYTES;
        let pages = ViewedCatalog::check_pages(&*disk, &index, cache_bytes).err();
        let opened = ViewedCatalog::open(&*disk, &index, cache_bytes).and_then(|mut index| {
            if pages.is_some() {
                index.let_go();
            }

            let rows = index.read()?;
            let (found, known) = (schema::version(&rows)?, newest_schema());
            if found != known {
                return Err(CatalogError::OtherSchema { found, known });
            }
            let (store, node) = (schema::store_id(&rows)?, schema::node(&rows)?);
            Ok((index, store, node))
        });
        let (index, store, node) = match opened {
            Ok(opened) => opened,
            Err(error @ CatalogError::OtherSchema { .. }) => return Err(error.into()),
            Err(error) => return Ok(Stopped::Unreadable(error)),
        };
        let packs = directory.join(PACKS_DIRECTORY);
        // Nothing is written, so no pack is ever numbered.
        let space = PackSpace::new(disk.clone(), packs, store, node, 0, options.packs);
        let checked = CheckedStore {
            rows: RowSource::Stopped { index, _lock: lock },
            space,
            disk,
            directory: directory.to_owned(),
            addressed_buckets: options.addressed_buckets.clone(),
            store,
            tables: own_tables(),
        };
        Ok(Stopped::Open(
            Box::new(checked),
            pages.map(|error| error.to_string()),
        ))
    }

    /// The state after the last commit.
    pub fn read(&self) -> Result<Snapshot, CatalogError> {
        match &self.rows {
            RowSource::Running(catalog, _) => catalog.read(),
            RowSource::Stopped { index, .. } => index.read(),
        }
    }

    pub(super) fn packs(&self) -> PathBuf {
        self.directory.join(PACKS_DIRECTORY)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.directory.join(LOG_DIRECTORY)
    }

    /// Whether keys below `blobs/` of that bucket are digests.
    pub(super) fn is_addressed(&self, bucket: &str) -> bool {
        self.addressed_buckets
            .iter()
            .any(|addressed| addressed == bucket)
    }

    /// Makes a repair. A stopped store is not repaired: it is opened first.
    pub(super) fn repair(&self, repair: &Repair) -> Result<(), CatalogError> {
        let RowSource::Running(catalog, log) = &self.rows else {
            return Err(CatalogError::Closed);
        };
        match repair {
            Repair::Rows { apply, .. } => {
                let apply = apply.clone();
                catalog.transact_blocking(move |transaction| apply(transaction))?
            }
            Repair::Checkpoint => {
                log.close_gap(catalog);
                catalog.writable()
            }
        }
    }
}
