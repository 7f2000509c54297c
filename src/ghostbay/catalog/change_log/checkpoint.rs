//! A checkpoint's file: written, named, and removed when nothing needs it any more.

use std::io;
use std::path::{Path, PathBuf};

use super::file::{Kind, LogReadError, LogReader, TEMPORARY_SUFFIX, file_name, parse_file_name};
use super::state::{Contents, Out};
use super::{LogPlace, retention};
use crate::ghostbay::disk::{Disk, SyncPoint};

/// Writes what `write` gives to the checkpoint named for transaction `sequence`.
///
/// The file gets its name only when all of it is durable, so a checkpoint is whole or not there.
pub fn write(
    place: &LogPlace,
    sequence: u64,
    write: impl FnOnce(Out<'_>) -> io::Result<Contents>,
) -> io::Result<Contents> {
    let temporary = place
        .directory
        .join(format!("{sequence:016x}{TEMPORARY_SUFFIX}"));
    // What a crash left of an attempt before this one.
    match place.disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let contents = write_temporary(&*place.disk, &temporary, write).inspect_err(|_| {
        // The next commit tries again: on a full disk each try would leave its file.
        let _ = place.disk.remove(&temporary);
    })?;
    let path = place.directory.join(file_name(Kind::Checkpoint, sequence));
    place.disk.rename(&temporary, &path)?;
    place
        .disk
        .sync_directory(&place.directory, SyncPoint::CheckpointName)?;
    Ok(contents)
}

/// Removes the files that nothing needs any more, as of `now_ms`; somebody still reads the transactions
/// from `followed` on.
pub fn remove_needless(place: &LogPlace, now_ms: u64, followed: Option<u64>) -> io::Result<()> {
    let keep_ms = place.keep.as_millis() as u64;
    let mut checkpoints = Vec::new();
    let mut changes = Vec::new();
    for name in place.disk.list(&place.directory)? {
        match parse_file_name(&name) {
            Some((Kind::Checkpoint, sequence)) => {
                let path = place.directory.join(&name);
                // One that cannot be opened is nothing to fall back on.
                let time_ms = match LogReader::open(&*place.disk, &path) {
                    Ok(reader) => Some(reader.header.time_ms),
                    Err(LogReadError::Frame(_)) => None,
                    Err(LogReadError::Io(error)) => return Err(error),
                };
                checkpoints.push(retention::Checkpoint { sequence, time_ms });
            }
            Some((Kind::Changes, first)) => changes.push(first),
            None => {}
        }
    }
    let plan = retention::plan(&checkpoints, &changes, now_ms, keep_ms, followed);
    let needless = plan.checkpoints.iter().map(|n| (Kind::Checkpoint, *n));
    for (kind, sequence) in needless.chain(plan.changes.iter().map(|n| (Kind::Changes, *n))) {
        let path: PathBuf = place.directory.join(file_name(kind, sequence));
        place.disk.remove(&path)?;
    }
    Ok(())
}

fn write_temporary(
    disk: &dyn Disk,
    temporary: &Path,
    write: impl FnOnce(Out<'_>) -> io::Result<Contents>,
) -> io::Result<Contents> {
    let file = disk.create(temporary)?;
    let mut offset = 0;
    let contents = write(&mut |bytes| {
        file.write_at(bytes, offset)?;
        // Handed to the disk as it comes: a commit's sync must not find all of it waiting.
        file.start_writeback(offset, bytes.len() as u64);
        offset += bytes.len() as u64;
        Ok(())
    })?;
    file.sync_data(SyncPoint::Checkpoint)?;
    Ok(contents)
}
