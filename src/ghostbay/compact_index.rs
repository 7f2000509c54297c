//! An index that is mostly free: its rows are copied to a fresh file, which takes its place.
//!
//! The map below uses free pages again and never gives them back. A deletion of much leaves a file
//! that stays as long as it was.

use std::path::Path;
use std::sync::Arc;

use super::catalog::IndexPlace;
use super::catalog::change_log::file::{Kind, parse_file_name};
use super::disk::{Disk, OsDisk};
use super::error::StorageError;
use super::local::{EngineOptions, INDEX_FILE};

/// A file that is shorter is left alone at a start, in bytes.
const WORTH_FROM_BYTES: u64 = 64 << 20;
/// An index takes up to about twice the bytes of its rows. One that takes so many times as much is
/// more than half free.
const BLOAT: u64 = 4;

/// What became of the index, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexCompacted {
    /// The file's length before.
    pub before_bytes: u64,
    /// Its length now.
    pub after_bytes: u64,
}

/// Compacts the index of the stopped store in `directory`.
pub fn of_stopped(directory: &Path) -> Result<IndexCompacted, StorageError> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let path = directory.join(INDEX_FILE);
    let found = disk.exists(&path).map_err(failed(&path))?;
    if !found {
        return Err(StorageError::File {
            what: "there is no index to compact:",
            path,
            source: std::io::ErrorKind::NotFound.into(),
        });
    }
    let _lock = disk.lock(directory)?;
    compact(&IndexPlace {
        disk,
        path,
        cache_bytes: EngineOptions::default().index_cache_bytes,
    })
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> StorageError {
    let path = path.to_owned();
    move |source| StorageError::File {
        what: "cannot look at",
        path,
        source,
    }
}

fn compact(place: &IndexPlace) -> Result<IndexCompacted, StorageError> {
    let length = || {
        let file = place.disk.open(&place.path);
        file.and_then(|file| file.length())
            .map_err(failed(&place.path))
    };
    let before_bytes = length()?;
    place.write_anew()?;
    Ok(IndexCompacted {
        before_bytes,
        after_bytes: length()?,
    })
}

/// Compacts an index that a start finds mostly free. `log` is the directory of the change log, whose
/// newest checkpoint tells how many bytes the rows have.
pub(super) fn at_start(place: &IndexPlace, log: &Path) -> Result<(), StorageError> {
    let disk = &*place.disk;
    if !disk.exists(&place.path).map_err(failed(&place.path))? {
        return Ok(());
    }
    let length = |path: &Path| disk.open(path).and_then(|file| file.length());
    let index = length(&place.path).map_err(failed(&place.path))?;
    if index < WORTH_FROM_BYTES {
        return Ok(());
    }
    let names = disk.list(log).map_err(failed(log))?;
    let checkpoint = names
        .iter()
        .filter_map(|name| match parse_file_name(name)? {
            (Kind::Checkpoint, at) => Some((at, name)),
            _ => None,
        })
        .max();
    let Some((_, name)) = checkpoint else {
        return Ok(());
    };
    let rows = length(&log.join(name)).map_err(failed(log))?;
    if !is_bloated(index, rows) {
        return Ok(());
    }
    match compact(place) {
        Ok(done) => {
            tracing::info!(
                before = done.before_bytes,
                after = done.after_bytes,
                "the index was mostly free, and was written anew"
            );
            Ok(())
        }
        // Nothing rests on it: a disk that is too full for it serves as before.
        Err(error) => {
            tracing::error!(%error, "the index is mostly free, and could not be written anew");
            Ok(())
        }
    }
}

fn is_bloated(index: u64, rows: u64) -> bool {
    index >= WORTH_FROM_BYTES && index / BLOAT > rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_written_anew_when_most_of_it_is_free() {
        const MIB: u64 = 1 << 20;
        assert!(is_bloated(100 * MIB, 20 * MIB));
        assert!(!is_bloated(100 * MIB, 40 * MIB));
        assert!(!is_bloated(60 * MIB, MIB));
    }
}
