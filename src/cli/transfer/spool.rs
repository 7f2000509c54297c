//! Standard input as a file in which one can go back: what comes by a pipe is kept in one that has no name.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use uuid::Uuid;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Standard input itself, where it is a file and nothing of it was read; else all of it in a file of `directory`,
/// whose room is free again when the file is closed, however that comes. `tell` is told how many bytes have come.
/// Blocks until the end of the input.
pub fn standard_input(directory: &Path, tell: impl FnMut(u64)) -> anyhow::Result<File> {
    let owned = io::stdin().as_fd().try_clone_to_owned();
    let mut input = File::from(owned.context("cannot read standard input")?);
    let is_file = input.metadata().is_ok_and(|it| it.is_file());
    if is_file && input.stream_position().is_ok_and(|position| position == 0) {
        return Ok(input);
    }
    keep(input, directory, tell)
}

fn keep(mut input: impl Read, directory: &Path, mut tell: impl FnMut(u64)) -> anyhow::Result<File> {
    let path = directory.join(format!("drift-import-{}", Uuid::new_v4()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut file = options
        .open(&path)
        .and_then(|file| std::fs::remove_file(&path).map(|()| file))
        .with_context(|| {
            format!(
                "cannot keep standard input in {}: name another directory by --spool",
                directory.display()
            )
        })?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut bytes = 0;
    loop {
        let read = match input.read(&mut piece) {
            Ok(0) => return Ok(file),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("cannot read standard input"),
        };
        file.write_all(&piece[..read]).with_context(|| {
            format!(
                "cannot keep more than {bytes} bytes of standard input in {}: name a directory with more room \
                 by --spool",
                directory.display()
            )
        })?;
        bytes += read as u64;
        tell(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_can_be_read_again_and_no_file_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let sent: Vec<u8> = (0..PIECE_BYTES as u32 + 1).map(|n| n as u8).collect();
        let mut told = Vec::new();
        let mut file = keep(&sent[..], directory.path(), |bytes| told.push(bytes)).unwrap();
        assert_eq!(told.last(), Some(&(sent.len() as u64)));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let mut kept = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut kept).unwrap();
        assert!(kept == sent);
    }

    #[test]
    fn a_directory_without_room_is_named() {
        // It is none.
        let error = keep(&b"x"[..], Path::new("/dev/null"), |_| {}).unwrap_err();
        assert!(error.to_string().contains("/dev/null"), "{error}");
        assert!(error.to_string().contains("--spool"), "{error}");
    }
}
