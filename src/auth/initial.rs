//! The password that a first start makes up: in a file that its owner alone may read, until somebody
//! changes it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The account that a first start makes.
pub const INITIAL_ACCOUNT: &str = "admin";

/// The file's name, in the directory of keys.
pub const INITIAL_PASSWORD_FILE: &str = "initial-admin-password";

/// Where it lies.
pub(super) fn path(keys: &Path) -> PathBuf {
    keys.join(INITIAL_PASSWORD_FILE)
}

/// Makes the directory of keys, mode 0700, if it is not there.
pub(super) fn make_keys_directory(keys: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    match builder.mode(0o700).create(keys) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::set_permissions(keys, Permissions::from_mode(0o700))
        }
        Ok(()) => match keys.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        },
        made => made,
    }
}

/// Writes a secret, mode 0600, in place of any other; it is durable when this returns.
pub(super) fn write_secret(path: &Path, secret: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    // One that a crash left behind might have another mode.
    remove(&new)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(secret)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    sync_parent(path)
}

/// Removes a file that may be there; its absence is durable when this returns.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_their_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        make_keys_directory(&keys).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&keys), 0o700);
        let file = path(&keys);
        for secret in ["first", "second"] {
            write_secret(&file, secret.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
            assert_eq!(mode(&file), 0o600);
        }
        remove(&file).unwrap();
        remove(&file).unwrap();
        assert!(!file.exists());
    }
}
