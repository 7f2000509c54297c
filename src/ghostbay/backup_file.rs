//! The file that a backup is written to: it gets its name when it is whole and durable.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::catalog::change_log::state::Contents;
use super::replace::failed;
use super::restore::{self, RestoreError};

/// What follows the name of a backup that is being written.
pub const UNFINISHED_SUFFIX: &str = ".tmp";

/// It is synced in steps of this many bytes. One sync of a gigabyte at its end would have everybody
/// wait who syncs something on that disk: the server's commits, above all.
const SYNC_BYTES: usize = 1 << 20;

/// A backup that is being written. Dropped before it is finished, it leaves nothing.
pub struct BackupFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    unsynced_bytes: usize,
    finished: bool,
}

impl BackupFile {
    /// Begins the backup that is to be at `path`, over what a killed attempt left.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(UNFINISHED_SUFFIX);
        let temporary = PathBuf::from(temporary);
        // It holds what the index holds, accounts included.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        Ok(BackupFile {
            path: path.to_owned(),
            temporary,
            file,
            unsynced_bytes: 0,
            finished: false,
        })
    }

    /// Writes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.unsynced_bytes += bytes.len();
        if self.unsynced_bytes >= SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    /// Makes it durable, reads it over, and gives it its name in place of whatever had that.
    pub fn finish(mut self) -> Result<Contents, RestoreError> {
        self.file
            .sync_all()
            .map_err(failed("cannot sync", &self.temporary))?;
        let contents = restore::inspect(&self.temporary)?;
        std::fs::rename(&self.temporary, &self.path)
            .map_err(failed("cannot put in place", &self.path))?;
        self.finished = true;
        let parent = self.path.parent();
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(failed("cannot sync", parent))?;
        Ok(contents)
    }
}

impl Drop for BackupFile {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_backup_gets_no_name_and_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup");
        std::fs::write(&path, "the one before").unwrap();
        let mut file = BackupFile::begin(&path).unwrap();
        file.write(b"half").unwrap();
        let error = file.finish().unwrap_err();
        assert!(matches!(error, RestoreError::Torn { .. }), "{error}");
        drop(BackupFile::begin(&path).unwrap());
        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"the one before");
    }
}
