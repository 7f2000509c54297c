//! A backup of the index: all that the catalog holds, in one file.
//!
//! A reader of the index holds back its pages, so that the file grows while it reads, and whoever
//! takes the backup may be slow. So the rows go to a file in the data directory first, at the disk's
//! speed; what is slow is sent from there. The file has no name: whatever ends the process, its
//! space comes back.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::catalog::Catalog;
use super::catalog::backup::{self, BackupError};
use super::catalog::change_log::file::LogHeader;
use super::disk::{Disk, DiskFile, OsDisk};
use super::error::StorageError;
use super::local::{EngineOptions, INDEX_FILE, LocalStorageEngine};

/// Name under which a backup's file is made, before the name is taken from it.
const SPOOL_FILE: &str = "backup.spool";
/// A backup is sent in pieces of this many bytes.
const PIECE_BYTES: usize = 256 << 10;
/// Between frames of a megabyte the copy rests for so long, so that commits get their turn.
const REST: std::time::Duration = std::time::Duration::from_millis(1);

/// A backup that is whole, and waits to be sent.
pub struct Spooled {
    file: Arc<dyn DiskFile>,
    length: u64,
    /// What it is a backup of.
    pub header: LogHeader,
}

impl Spooled {
    /// Copies the catalog of the store in `directory`. Blocks for as long as the disk takes.
    pub fn take(disk: &dyn Disk, directory: &Path, catalog: &Catalog) -> Result<Self, BackupError> {
        // Another backup's file has no name any more, but one that was killed may have left its.
        let path = directory.join(SPOOL_FILE);
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = disk.create(&path)?;
        disk.remove(&path)?;
        let mut length = 0;
        let state = catalog.read()?;
        let header = backup::write(&state, &mut |bytes| {
            file.write_at(bytes, length)?;
            file.start_writeback(length, bytes.len() as u64);
            length += bytes.len() as u64;
            std::thread::sleep(REST);
            Ok(())
        })?;
        Ok(Spooled {
            file,
            length,
            header,
        })
    }

    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Gives all of it to `out`, piece by piece.
    pub fn send(&self, out: &mut dyn FnMut(Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        let mut offset = 0;
        while offset < self.length {
            let mut piece = Vec::new();
            self.file.read_at(&mut piece, offset, PIECE_BYTES)?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset += piece.len() as u64;
            out(piece)?;
        }
        Ok(())
    }
}

impl LocalStorageEngine {
    /// Copies the catalog as it stands, without stopping anybody. Blocks.
    pub fn spool_backup(&self) -> Result<Spooled, BackupError> {
        Spooled::take(&**self.disk(), self.directory(), self.catalog())
    }
}

/// Writes a backup of the stopped store in `directory`. Its schema stays as it is.
pub fn of_stopped(
    directory: &Path,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> anyhow::Result<LogHeader> {
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
    let cache_bytes = EngineOptions::default().index_cache_bytes;
    Ok(backup::write_stopped(&OsDisk, &index, cache_bytes, out)?)
}
