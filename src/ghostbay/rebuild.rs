//! A store that has lost its index gets a new one, made of its change log.

use std::path::{Path, PathBuf};

use super::catalog::NEW_SUFFIX;
use super::catalog::rebuild::{RebuildError, Rebuilt, rebuild as rebuild_index};
use super::clock::now_ms;
use super::disk::{Disk, OsDisk, SyncPoint};
use super::error::StorageError;
use super::local::{EngineOptions, INDEX_FILE, LOG_DIRECTORY};

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RebuiltStore {
    /// What the new index was made of.
    pub rebuilt: Rebuilt,
    /// Where the old index was moved to, if there was one.
    pub replaced: Option<PathBuf>,
}

/// Why a store could not be given a new index.
#[derive(Debug, thiserror::Error)]
pub enum RebuildStoreError {
    /// Somebody holds the store, or a file could not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log does not give an index.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

/// Makes a new index for the stopped store in `directory`. An index that is there is kept under
/// another name; it is left alone until the new one is whole and durable.
pub fn rebuild(directory: &Path) -> Result<RebuiltStore, RebuildStoreError> {
    rebuild_on(&OsDisk, directory)
}

/// As [`rebuild`], on a disk of the caller's.
pub fn rebuild_on(disk: &dyn Disk, directory: &Path) -> Result<RebuiltStore, RebuildStoreError> {
    let failed = |what: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| StorageError::File { what, path, source }
    };
    let _lock = disk.lock(directory)?;
    let new = directory.join(format!("{INDEX_FILE}{NEW_SUFFIX}"));
    match disk.remove(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed("cannot remove", &new)(error).into());
        }
        _ => {}
    }
    let cache_bytes = EngineOptions::default().index_cache_bytes;
    let rebuilt = rebuild_index(disk, &new, cache_bytes, &directory.join(LOG_DIRECTORY));
    let rebuilt = rebuilt.inspect_err(|_| {
        // A beginning is of no use to anybody, and the next attempt removes it as well.
        let _ = disk.remove(&new);
    })?;
    let index = directory.join(INDEX_FILE);
    let mut replaced = None;
    let found = disk
        .exists(&index)
        .map_err(failed("cannot look at", &index))?;
    if found {
        let aside = directory.join(format!("{INDEX_FILE}.replaced-{}", now_ms()));
        disk.rename(&index, &aside)
            .map_err(failed("cannot move aside", &index))?;
        replaced = Some(aside);
    }
    disk.rename(&new, &index)
        .map_err(failed("cannot put in place", &index))?;
    disk.sync_directory(directory, SyncPoint::IndexSwap)
        .map_err(failed("cannot sync", directory))?;
    Ok(RebuiltStore { rebuilt, replaced })
}
