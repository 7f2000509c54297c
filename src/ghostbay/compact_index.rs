//! An index that is mostly free: its rows are copied to a fresh file, which takes its place.
//!
//! The map below uses free pages again and never gives them back. A deletion of much leaves a file
//! that stays as long as it was.

use std::path::Path;
use std::sync::Arc;

use super::catalog::change_log::file::{Kind, parse_file_name};
use super::catalog::{IndexPlace, NEW_INDEX_FILE};
use super::disk::{Disk, OsDisk};
use super::error::StorageError;
use super::local::{EngineOptions, INDEX_FILE};

/// A file that is shorter is left alone at a start, in bytes.
const WORTH_FROM_BYTES: u64 = 64 << 20;
/// An index takes up to about twice the bytes of its rows. One that takes so many times as much is
/// more than half free.
const BLOAT: u64 = 4;
/// A start copies no more than this, in bytes of rows: about a second's work, and who starts a server
/// waits for it to be ready.
const ROWS_BYTES_MAX: u64 = 64 << 20;

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

/// Compacts an index that a start finds mostly free, or says that it is if that would take long.
/// `log` is the directory of the change log, which tells how many bytes the rows have at most. What a
/// compaction that was killed has left goes.
pub(super) fn at_start(place: &IndexPlace, log: &Path) -> Result<(), StorageError> {
    let disk = &*place.disk;
    if !disk.exists(&place.path).map_err(failed(&place.path))? {
        return Ok(());
    }
    let new = place.path.with_file_name(NEW_INDEX_FILE);
    if disk.exists(&new).map_err(failed(&new))?
        && let Err(error) = disk.remove(&new)
    {
        tracing::warn!(path = %new.display(), %error, "half of an index is left, and takes up room");
    }
    let length = |path: &Path| disk.open(path).and_then(|file| file.length());
    let index = length(&place.path).map_err(failed(&place.path))?;
    if index < WORTH_FROM_BYTES {
        return Ok(());
    }
    let mut files = Vec::new();
    for name in disk.list(log).map_err(failed(log))? {
        if let Some((kind, sequence)) = parse_file_name(&name) {
            files.push((
                kind,
                sequence,
                length(&log.join(&name)).map_err(failed(log))?,
            ));
        }
    }
    match rows_at_most(&files).map(|rows| advice(index, rows)) {
        None | Some(Advice::Leave) => {}
        Some(Advice::Say) => tracing::warn!(
            bytes = index,
            "the index is mostly free: drift compact --index writes it anew while the server is stopped"
        ),
        Some(Advice::WriteAnew) => match compact(place) {
            Ok(done) => tracing::info!(
                before = done.before_bytes,
                after = done.after_bytes,
                "the index was mostly free, and was written anew"
            ),
            // Nothing rests on it: a disk that is too full for it serves as before.
            Err(error) => {
                tracing::error!(%error, "the index is mostly free, and could not be written anew");
            }
        },
    }
    Ok(())
}

/// How many bytes the rows have at most: those of the newest checkpoint, and all that changed since.
/// `files` are those of the log, with their sequence numbers and lengths.
fn rows_at_most(files: &[(Kind, u64, u64)]) -> Option<u64> {
    let checkpoints = files.iter().filter(|(kind, ..)| *kind == Kind::Checkpoint);
    let (_, behind, rows) = checkpoints.max_by_key(|(_, sequence, _)| *sequence)?;
    let changes = files
        .iter()
        .filter(|(kind, first, _)| *kind == Kind::Changes && first > behind);
    Some(rows + changes.map(|(.., length)| length).sum::<u64>())
}

/// What a start does about an index.
#[derive(PartialEq, Eq, Debug)]
enum Advice {
    Leave,
    WriteAnew,
    /// It takes too long to be done at a start.
    Say,
}

fn advice(index: u64, rows: u64) -> Advice {
    match index >= WORTH_FROM_BYTES && index / BLOAT > rows {
        false => Advice::Leave,
        true if rows <= ROWS_BYTES_MAX => Advice::WriteAnew,
        true => Advice::Say,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn an_index_is_written_anew_when_most_of_it_is_free_and_that_is_soon_done() {
        assert_eq!(advice(100 * MIB, 20 * MIB), Advice::WriteAnew);
        assert_eq!(advice(100 * MIB, 40 * MIB), Advice::Leave);
        assert_eq!(advice(60 * MIB, MIB), Advice::Leave);
        assert_eq!(advice(24 << 30, 2 << 30), Advice::Say);
    }

    /// A store that was filled behind its first checkpoint was written anew at each start.
    #[test]
    fn what_changed_behind_the_newest_checkpoint_counts_as_rows() {
        let files = [
            (Kind::Checkpoint, 1, 500),
            (Kind::Changes, 2, 40),
            (Kind::Checkpoint, 9, 600),
            (Kind::Changes, 10, 7000),
            (Kind::Changes, 30, 80),
        ];
        assert_eq!(rows_at_most(&files), Some(7680));
        assert_eq!(rows_at_most(&files[..1]), Some(500));
        assert_eq!(rows_at_most(&files[1..2]), None);
    }
}
