//! A checkpoint: every row of one state of the catalog, in frames. A backup is the same bytes.

use std::io;
use std::path::{Path, PathBuf};

use super::file::{
    Kind, LogHeader, LogReadError, LogReader, TEMPORARY_SUFFIX, file_name, parse_file_name,
};
use super::frame::{FRAME_BYTES_TARGET, FrameError, FrameWriter};
use super::{LogPlace, retention};
use crate::ghostbay::catalog::table::{Change, Rows, Snapshot};
use crate::ghostbay::disk::{Disk, SyncPoint};

/// Writes the state behind transaction `sequence`, taken at `time_ms`. The number of rows.
///
/// The file gets its name only when all of it is durable, so a checkpoint is whole or not there.
pub fn write(place: &LogPlace, sequence: u64, time_ms: u64, state: &Snapshot) -> io::Result<u64> {
    let temporary = place
        .directory
        .join(format!("{sequence:016x}{TEMPORARY_SUFFIX}"));
    // What a crash left of an attempt before this one.
    match place.disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let header = place.header(Kind::Checkpoint, sequence, time_ms);
    let rows = write_temporary(&*place.disk, &temporary, &header, state).inspect_err(|_| {
        // The next commit tries again: on a full disk each try would leave its file.
        let _ = place.disk.remove(&temporary);
    })?;
    let path = place.directory.join(file_name(Kind::Checkpoint, sequence));
    place.disk.rename(&temporary, &path)?;
    place
        .disk
        .sync_directory(&place.directory, SyncPoint::CheckpointName)?;
    Ok(rows)
}

/// Removes the files that nothing needs any more, as of `now_ms`.
pub fn remove_needless(place: &LogPlace, now_ms: u64) -> io::Result<()> {
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
    let plan = retention::plan(&checkpoints, &changes, now_ms, keep_ms);
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
    header: &LogHeader,
    state: &Snapshot,
) -> io::Result<u64> {
    let file = disk.create(temporary)?;
    let mut offset = 0;
    let rows = write_rows(header, state, &mut |bytes| {
        file.write_at(bytes, offset)?;
        // Handed to the disk as it comes: a commit's sync must not find all of it waiting.
        file.start_writeback(offset, bytes.len() as u64);
        offset += bytes.len() as u64;
        Ok(())
    })?;
    file.sync_data(SyncPoint::Checkpoint)?;
    Ok(rows)
}

/// Writes `state` as a checkpoint with that header, piece by piece; the number of rows. Holds
/// one frame in memory.
pub fn write_rows(
    header: &LogHeader,
    state: &Snapshot,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let (bytes, chain) = header.encode();
    out(&bytes)?;
    let mut writer = FrameWriter::new(chain);
    let mut rows = 0;
    let mut gathered = Vec::new();
    let mut gathered_bytes = 0;
    let mut frame = Vec::new();
    let mut all = state
        .raw()
        .range(&[], false, &[u8::MAX])
        .map_err(io::Error::other)?;
    loop {
        let next = all.next().transpose().map_err(io::Error::other)?;
        let last = next.is_none();
        if let Some((key, value)) = next {
            gathered_bytes += key.len() + value.len();
            gathered.push((key, value));
            rows += 1;
        }
        if last || gathered_bytes >= FRAME_BYTES_TARGET {
            frame.clear();
            let part = gathered
                .iter()
                .map(|(key, value): &(Vec<u8>, Vec<u8>)| (key.as_slice(), value.as_slice()));
            writer.rows(header.sequence, header.time_ms, part, last, &mut frame);
            out(&frame)?;
            gathered.clear();
            gathered_bytes = 0;
        }
        if last {
            return Ok(rows);
        }
    }
}

/// Why a checkpoint gave no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError<E> {
    /// It is torn, damaged or cannot be read.
    #[error(transparent)]
    Log(#[from] LogReadError),
    /// Whoever took its rows failed.
    #[error(transparent)]
    Taken(E),
}

/// Reads a checkpoint or a backup to its end and gives its rows to `take`, frame by frame. What
/// was given counts only if the end is reached: a file that ends before is an error.
pub fn read_rows<E>(
    reader: &mut LogReader,
    mut take: impl FnMut(Vec<Change>) -> Result<(), E>,
) -> Result<(), StateError<E>> {
    let header = reader.header;
    let damaged = || StateError::Log(FrameError::Damaged.into());
    if header.kind != Kind::Checkpoint {
        return Err(damaged());
    }
    loop {
        let frame = reader
            .next_frame()?
            .ok_or(StateError::Log(FrameError::Short.into()))?;
        if frame.sequence != header.sequence {
            return Err(damaged());
        }
        take(frame.changes).map_err(StateError::Taken)?;
        if frame.last {
            // Nothing follows the end mark.
            return match reader.next_frame()? {
                None => Ok(()),
                Some(_) => Err(damaged()),
            };
        }
    }
}
