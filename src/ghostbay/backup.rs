//! A backup of the index: all that the catalog holds, in one file.
//!
//! It is sent as it is read: nothing is stored on the way, and a frame of rows is all that is held in
//! memory. What is committed meanwhile comes behind the rows, out of the change log, whose files stay
//! until then; whoever takes the backup gets so long, and no longer.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::catalog::backup::{self, BackupError};
use super::catalog::change_log::state::Contents;
use super::disk::{Disk, OsDisk};
use super::error::StorageError;
use super::local::{INDEX_FILE, LocalStorageEngine, OFFLINE_CACHE_BYTES};

/// A backup is given out in pieces of this many bytes at most.
const PIECE_BYTES: usize = 256 << 10;

/// Between pieces the reader rests for so long: commits get their turn at the disk.
const REST: Duration = Duration::from_millis(1);

/// A backup that is not taken after this is broken off.
pub const BACKUP_TIME_MAX: Duration = Duration::from_secs(60 * 60);

impl LocalStorageEngine {
    /// Gives the catalog as it stands to `out`, piece by piece, without stopping anybody. Blocks,
    /// for [`BACKUP_TIME_MAX`] at most if `out` does not.
    pub fn back_up(
        &self,
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Contents, BackupError> {
        let log = self.log().follow();
        let began = Instant::now();
        backup::write(&|| self.catalog().read(), log, &mut |bytes| {
            for piece in bytes.chunks(PIECE_BYTES) {
                if began.elapsed() > BACKUP_TIME_MAX {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!(
                            "it was not taken within {BACKUP_TIME_MAX:?}, and holds back files of the change log"
                        ),
                    ));
                }
                out(piece)?;
                std::thread::sleep(REST);
            }
            Ok(())
        })
    }
}

/// Writes a backup of the stopped store in `directory`. Its schema stays as it is.
pub fn of_stopped(
    directory: &Path,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> anyhow::Result<Contents> {
    let index = directory.join(INDEX_FILE);
    if !OsDisk.exists(&index)? {
        return Err(StorageError::File {
            what: "there is no index to take a backup of:",
            path: index,
            source: io::ErrorKind::NotFound.into(),
        }
        .into());
    }
    let _lock = OsDisk.lock(directory)?;
    let cache_bytes = OFFLINE_CACHE_BYTES;
    Ok(backup::write_stopped(&OsDisk, &index, cache_bytes, out)?)
}
