//! A stopped store is put back to what a backup holds.
//!
//! What is to be done can be looked at before it is: the new index is made beside the old one,
//! compared with it, and put in its place only when asked to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::change_log::file::{LogReadError, LogReader};
use super::catalog::change_log::history::{self, History};
use super::catalog::change_log::state::{self, Contents, StateError};
use super::catalog::compare::{RowChange, compare};
use super::catalog::rebuild::{NewIndex, RebuildError, Rebuilt, Tell};
use super::catalog::{CatalogError, Rows, Snapshot, ViewedCatalog, schema};
use super::clock::now_ms;
use super::disk::{Disk, OsDisk};
use super::error::StorageError;
use super::local::{INDEX_FILE, OFFLINE_CACHE_BYTES};
use super::objects::{OBJECTS, ObjectKey, ObjectRow};
use super::pack::record::{TRAILER_FIXED_BYTES, trailer_offset};
use super::pack::{Extent, PackId};
use super::replace::{Aside, Future, Replacement, failed};

/// Name of an index that is made of the log to be compared with, where the store's own is lost.
const CURRENT_INDEX_FILE: &str = "index.redb.current";

/// Why a store cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Somebody holds the store, or a file could not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The backup cannot be read to its end.
    #[error("{} is no whole backup, it is torn or damaged: {reason}", path.display())]
    Torn {
        /// The backup.
        path: PathBuf,
        /// What is wrong with it.
        reason: LogReadError,
    },
    /// It is a backup of something else.
    #[error("{} is a backup of store {found}, this is store {expected}", path.display())]
    OtherStore {
        /// The backup.
        path: PathBuf,
        /// The store that it was taken of.
        found: uuid::Uuid,
        /// The store that is to be restored.
        expected: uuid::Uuid,
    },
    /// It was taken by a newer Drift.
    #[error(
        "{} has schema version {found}, this drift knows up to {known}: restore it with the drift that took it, or a newer one",
        path.display()
    )]
    NewerSchema {
        /// The backup.
        path: PathBuf,
        /// The version that it names.
        found: u32,
        /// The newest version that this build knows.
        known: u32,
    },
    /// The moment that was asked for lies before the backup.
    #[error("the backup is younger than the moment that was asked for: take one that is older")]
    TooYoung,
    /// The change log does not lead on from the backup to the moment.
    #[error(
        "the change log does not lead from the backup to the moment that was asked for: it ends at transaction {reached}. Without --to the backup itself is restored"
    )]
    NoWay {
        /// The last transaction that follows on the backup.
        reached: u64,
    },
    /// The log or the new index failed.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

impl From<CatalogError> for RestoreError {
    fn from(error: CatalogError) -> Self {
        StorageError::from(error).into()
    }
}

/// A restore that is ready to be done. Dropped, it leaves all as it was.
pub struct Restore {
    current: Option<Current>,
    replacement: Replacement,
    /// What the store would hold.
    pub rebuilt: Rebuilt,
}

/// The state that would be undone.
enum Current {
    /// In the store's own index, of which not a byte is changed.
    Index(ViewedCatalog),
    /// In one that was made of the log.
    OfLog(Temporary),
}

/// An index that goes when it is dropped.
struct Temporary {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    index: Option<NewIndex>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.index = None;
        let _ = self.disk.remove(&self.path);
    }
}

/// Makes ready to put the stopped store in `directory` back to the backup `file`, or with the change
/// log behind it to the state at `until_ms`, in milliseconds since 1970.
pub fn prepare(
    directory: &Path,
    file: &Path,
    until_ms: Option<u64>,
) -> Result<Restore, RestoreError> {
    prepare_on(Arc::new(OsDisk), directory, file, until_ms, &mut |_, _| {})
}

/// As [`prepare`], on that disk, and tells how much of the backup and the log behind it is read.
pub fn prepare_on(
    disk: Arc<dyn Disk>,
    directory: &Path,
    file: &Path,
    until_ms: Option<u64>,
    tell: Tell<'_>,
) -> Result<Restore, RestoreError> {
    let torn = |reason| RestoreError::Torn {
        path: file.to_owned(),
        reason,
    };
    let header = match LogReader::open(&*disk, file) {
        Ok(reader) => reader.header,
        Err(LogReadError::Io(error)) => return Err(failed("cannot read", file)(error).into()),
        Err(reason) => return Err(torn(reason)),
    };
    let known = crate::migrations::STEPS
        .last()
        .map_or(0, |step| step.version);
    if header.schema > known {
        return Err(RestoreError::NewerSchema {
            path: file.to_owned(),
            found: header.schema,
            known,
        });
    }
    if until_ms.is_some_and(|until| until < header.time_ms) {
        return Err(RestoreError::TooYoung);
    }
    let replacement = Replacement::begin(disk.clone(), directory)?;
    let log = replacement.log();
    let history = history::survey(&*disk, &log).map_err(failed("cannot read", &log))?;
    let current = Current::find(&disk, directory, &log);
    if let Some(expected) = store_of(&*disk, &replacement, current.as_ref(), &history)?
        && expected != header.store
    {
        return Err(RestoreError::OtherStore {
            path: file.to_owned(),
            found: header.store,
            expected,
        });
    }
    // Without a moment the backup alone counts.
    let behind = match until_ms {
        Some(_) => history,
        None => History {
            branch: header.branch,
            ..History::default()
        },
    };
    let filled = replacement
        .index()
        .fill(&*disk, file, &behind, until_ms, tell);
    let rebuilt = filled.map_err(|error| match error {
        RebuildError::Log(reason) => torn(reason),
        error => error.into(),
    })?;
    if until_ms.is_some_and(|until| until < rebuilt.base.time_ms) {
        return Err(RestoreError::TooYoung);
    }
    if until_ms.is_some() && !rebuilt.stopped {
        let another_branch = behind.branch != header.branch && !behind.changes.is_empty();
        let lost = history::lost_behind(&*disk, &behind, rebuilt.sequence, rebuilt.time_ms)
            .map_err(RebuildError::from)?;
        if another_branch || lost.is_some() {
            return Err(RestoreError::NoWay {
                reached: rebuilt.sequence,
            });
        }
    }
    Ok(Restore {
        current,
        replacement,
        rebuilt,
    })
}

/// Which store this is, by its index, its log or its packs; `None` if there is nothing of a store.
fn store_of(
    disk: &dyn Disk,
    replacement: &Replacement,
    current: Option<&Current>,
    history: &History,
) -> Result<Option<uuid::Uuid>, RestoreError> {
    if let Some(current) = current {
        return Ok(Some(schema::store_id(&current.read()?)?));
    }
    let files = history.checkpoints.iter().chain(&history.changes);
    if let Some(file) = files.last() {
        return Ok(Some(file.header.store));
    }
    let packs = replacement.packs();
    for (id, _) in replacement.pack_lengths()? {
        let path = packs.join(super::pack::file::file_name(id));
        if let Some(store) =
            super::pack::file::store_of(disk, &path).map_err(failed("cannot read", &path))?
        {
            return Ok(Some(store));
        }
    }
    Ok(None)
}

impl Current {
    /// The state that the store is in, by its index or else by its log; `None` if neither tells.
    fn find(disk: &Arc<dyn Disk>, directory: &Path, log: &Path) -> Option<Self> {
        let path = directory.join(INDEX_FILE);
        if disk.exists(&path).unwrap_or(false) {
            match Self::view(&**disk, &path) {
                Ok(index) => return Some(Current::Index(index)),
                Err(error) => {
                    tracing::warn!("the index cannot be read, its change log is compared: {error}");
                }
            }
        }
        let mut made = Temporary {
            disk: disk.clone(),
            path: directory.join(CURRENT_INDEX_FILE),
            index: None,
        };
        let _ = disk.remove(&made.path);
        let cache_bytes = OFFLINE_CACHE_BYTES;
        let index = NewIndex::open(&**disk, &made.path, cache_bytes).ok()?;
        let index = made.index.insert(index);
        index.fill_from_log(&**disk, log, &mut |_, _| {}).ok()?;
        Some(Current::OfLog(made))
    }

    /// The store's own index, if every page of it is whole: a restore is for those whose is not, and
    /// must not fail by it.
    fn view(disk: &dyn Disk, path: &Path) -> Result<ViewedCatalog, CatalogError> {
        let cache_bytes = OFFLINE_CACHE_BYTES;
        ViewedCatalog::check_pages(disk, path, cache_bytes)?;
        let index = ViewedCatalog::open(disk, path, cache_bytes)?;
        schema::store_id(&index.read()?)?;
        Ok(index)
    }

    fn read(&self) -> Result<Snapshot, CatalogError> {
        match self {
            Current::Index(index) => index.read(),
            Current::OfLog(Temporary {
                index: Some(index), ..
            }) => index.read(),
            Current::OfLog(_) => Err(CatalogError::Closed),
        }
    }
}

impl Restore {
    /// Gives each row in which the restored state differs from the one that the store is in now.
    /// `false` if that one is not known.
    pub fn compare(&self, tell: impl FnMut(RowChange)) -> Result<bool, RestoreError> {
        let Some(current) = &self.current else {
            return Ok(false);
        };
        let (now, then) = (current.read()?, self.replacement.index().read()?);
        compare(&now, &then, tell)?;
        Ok(true)
    }

    /// Gives each object of the restored state whose bytes the packs do not hold any more, by the
    /// packs' lengths: the bytes themselves are not read. Objects that were known to be damaged are
    /// left out.
    pub fn missing(&self, tell: impl FnMut(ObjectKey, ObjectRow)) -> Result<(), RestoreError> {
        let lengths = self.replacement.pack_lengths()?.into_iter().collect();
        Ok(each_missing(
            &self.replacement.index().read()?,
            &lengths,
            tell,
        )?)
    }

    /// Puts the restored state in place. History begins anew with it, so that nothing which was
    /// undone can come back. Objects whose bytes are missing answer as damaged ones do, until they
    /// are pushed again.
    pub fn apply(mut self) -> Result<Aside, RestoreError> {
        let mut missing = Vec::new();
        self.missing(|key, row| missing.push((key, row)))?;
        let now = now_ms();
        self.replacement.index().write(|transaction| {
            for (key, mut row) in missing {
                row.damaged_ms = Some(now);
                transaction.put(&OBJECTS, &key, &row)?;
            }
            Ok(())
        })?;
        // The old index is open no more when it is moved.
        self.current = None;
        Ok(self.replacement.finish(&Future::BeginsAnew)?)
    }
}

/// Gives each object whose bytes packs of those lengths do not hold, and that is not known to be
/// damaged.
pub(super) fn each_missing(
    rows: &Snapshot,
    lengths: &HashMap<PackId, u64>,
    mut tell: impl FnMut(ObjectKey, ObjectRow),
) -> Result<(), CatalogError> {
    for row in rows.scan(&OBJECTS, &[], None)? {
        let (key, row) = row?;
        let lost = row.extents.iter().any(|extent| !holds(lengths, extent));
        if lost && row.damaged_ms.is_none() {
            tell(key, row);
        }
    }
    Ok(())
}

fn holds(lengths: &HashMap<PackId, u64>, extent: &Extent) -> bool {
    let end = trailer_offset(extent.offset, extent.length) + TRAILER_FIXED_BYTES;
    lengths
        .get(&extent.pack)
        .is_some_and(|length| end <= *length)
}

/// What a backup says of itself, if it is whole: reads all of it.
pub fn inspect(file: &Path) -> Result<Contents, RestoreError> {
    let torn = |reason| RestoreError::Torn {
        path: file.to_owned(),
        reason,
    };
    let mut reader = LogReader::open(&OsDisk, file).map_err(torn)?;
    let read = state::read(&mut reader, |_| Ok::<_, LogReadError>(()));
    read.map_err(|error| match error {
        StateError::Log(error) | StateError::Taken(error) => torn(error),
    })
}
