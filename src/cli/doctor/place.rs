//! The data directory: whether it is there or can be made, whose it is, who may look into it, and who
//! holds it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::geteuid;

use super::finding::Findings;
use crate::ghostbay::DirectoryLock;

const CHECK: &str = "data directory";

/// So many files in it are looked at.
const FILES_MAX: usize = 2000;

/// Who runs on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Nobody.
    Free,
    /// The server of that process, which answers.
    Server(u32),
    /// Somebody who does not answer.
    Silent,
}

/// Looks at it. Gives the directory on whose disk the data is or will be, if one can be used.
pub fn check(path: &Path, held: Held, findings: &mut Findings) -> Option<PathBuf> {
    let shown = path.display();
    let metadata = match path.metadata() {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            findings.fail(
                CHECK,
                format!("{shown} is no directory"),
                "name another by [storage] path (DRIFT_STORAGE_PATH)",
            );
            return None;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return to_be_made(path, findings),
        Err(error) => {
            findings.fail(
                CHECK,
                format!("{shown} cannot be looked at: {error}"),
                format!(
                    "run this as the server's user; {} has to reach every directory above it",
                    user(geteuid().as_raw())
                ),
            );
            return None;
        }
    };
    holder(path, held, findings);
    if let Err(error) = access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        findings.fail(
            CHECK,
            format!(
                "{shown} (mode {:04o}, of {}) cannot be written by {}: {error}",
                metadata.mode() & 0o7777,
                user(metadata.uid()),
                user(geteuid().as_raw()),
            ),
            format!(
                "run this as the server's user, or: chown -R {} {shown}",
                user_name(geteuid().as_raw())
            ),
        );
        return None;
    }
    modes(path, &metadata, findings);
    strangers(path, metadata.uid(), findings);
    Some(path.to_owned())
}

/// It will be made at the first start.
fn to_be_made(path: &Path, findings: &mut Findings) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let above = absolute.ancestors().skip(1).find(|above| above.exists())?;
    let shown = absolute.display();
    match access(above, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => {
            findings.ok(
                CHECK,
                format!("{shown} is not there yet: the first start makes it, for its user alone"),
            );
            Some(above.to_owned())
        }
        Err(error) => {
            findings.fail(
                CHECK,
                format!(
                    "{shown} is not there, and {} may not make it in {}: {error}",
                    user(geteuid().as_raw()),
                    above.display()
                ),
                format!(
                    "install -d -m 0700 -o {} {shown}",
                    user_name(geteuid().as_raw())
                ),
            );
            None
        }
    }
}

fn holder(path: &Path, held: Held, findings: &mut Findings) {
    let shown = path.display();
    match (held, DirectoryLock::holder(path)) {
        (Held::Server(process), _) => findings.ok(
            CHECK,
            format!("{shown} is held by the server that runs, process {process}"),
        ),
        (_, Ok(Some(holder))) => findings.fail(
            CHECK,
            format!("{shown} is held by process {holder}, which does not answer at its admin.sock"),
            "see whether it hangs or is a command that goes on, and end it before a start",
        ),
        (_, Ok(None)) => findings.ok(CHECK, format!("{shown} is held by nobody")),
        (_, Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {}
        (_, Err(error)) => findings.fail(
            CHECK,
            format!("{shown} cannot be locked: {error}"),
            "use a file system with locks: without them two servers could write to one store",
        ),
    }
}

fn modes(path: &Path, metadata: &fs::Metadata, findings: &mut Findings) {
    let (shown, mode) = (path.display(), metadata.mode() & 0o7777);
    let me = geteuid().as_raw();
    if mode & 0o022 != 0 {
        findings.warn(
            CHECK,
            format!("{shown} can be written by others (mode {mode:04o}): they can put files in the place of the store's"),
            format!("chmod 0700 {shown}"),
        );
    } else if mode & 0o055 != 0 {
        findings.note(
            CHECK,
            format!("{shown} can be looked into by others (mode {mode:04o}); the store's own files cannot be read"),
        );
    }
    match me == metadata.uid() {
        true => findings.ok(
            CHECK,
            format!("{shown} (mode {mode:04o}) is {}'s, who runs this", user(me)),
        ),
        false => findings.note(
            CHECK,
            format!(
                "{shown} (mode {mode:04o}) is {}'s, and this runs as {}: run it as the server's user to see what \
                 that one may",
                user(metadata.uid()),
                user(me)
            ),
        ),
    }
}

/// Files that belong to somebody else: what a start or a command as root has left behind stops the server's
/// user later.
fn strangers(path: &Path, owner: u32, findings: &mut Findings) {
    let mut directories = vec![path.to_owned()];
    let (mut looked, mut strange) = (0, Vec::new());
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        for entry in entries.take(FILES_MAX - looked) {
            looked += 1;
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.uid() != owner && !metadata.file_type().is_socket() {
                strange.push((entry.path(), metadata.uid()));
            }
            if metadata.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    if let Some((first, whose)) = strange.first() {
        findings.fail(
            CHECK,
            format!(
                "{} in it of another than {}, such as {} of {}: the server cannot write them",
                match strange.len() {
                    1 => "1 file is".to_owned(),
                    number => format!("{number} files are"),
                },
                user(owner),
                first.display(),
                user(*whose)
            ),
            format!("chown -R {} {}", user_name(owner), path.display()),
        );
    }
}

/// The name of a user, and the number.
fn user(id: u32) -> String {
    match name(id) {
        Some(name) => format!("{name} (uid {id})"),
        None => format!("uid {id}"),
    }
}

/// The name of a user, or else the number.
fn user_name(id: u32) -> String {
    name(id).unwrap_or_else(|| id.to_string())
}

/// Of /etc/passwd alone: a user of a directory service stays a number.
fn name(id: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id.to_string()).then(|| name.to_owned())
    })
}
