//! One process owns a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::disk::FILE_MODE;
use super::error::StorageError;

/// Name of the file that the owner holds locked.
pub const LOCK_FILE: &str = "drift.lock";

/// Holds a data directory until it is dropped, or the process ends in whatever way.
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the directory, or says which process has it.
    pub fn acquire(directory: &Path) -> Result<Self, StorageError> {
        let path = directory.join(LOCK_FILE);
        let failed = |source| StorageError::File {
            what: "cannot lock",
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The holder's note is a courtesy; the lock is what counts.
                let _ = (&file).take(20).read_to_string(&mut holder);
                return Err(StorageError::InUse {
                    directory: directory.to_owned(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(DirectoryLock { _file: file })
    }

    /// Who has the directory, as far as its note says; `None` if nobody does.
    ///
    /// Looks by a lock that several may hold and that is let go at once: a server that starts in that very
    /// moment finds the directory taken.
    pub fn holder(directory: &Path) -> std::io::Result<Option<String>> {
        let file = match File::open(directory.join(LOCK_FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.take(20).read_to_string(&mut holder);
                Ok(Some(holder.trim().to_owned()))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryLock::acquire(directory.path()).unwrap();
        let error = DirectoryLock::acquire(directory.path()).err().unwrap();
        assert!(error.to_string().contains(&std::process::id().to_string()));
        let holder = DirectoryLock::holder(directory.path()).unwrap();
        assert_eq!(holder, Some(std::process::id().to_string()));
        drop(first);
        assert_eq!(DirectoryLock::holder(directory.path()).unwrap(), None);
        DirectoryLock::acquire(directory.path()).unwrap();
    }
}
