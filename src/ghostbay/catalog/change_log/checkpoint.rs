//! Writing a checkpoint: every row of one state of the catalog, in frames.

use std::io;
use std::path::Path;

use super::LogPlace;
use super::file::{Kind, TEMPORARY_SUFFIX, file_name, parse_file_name};
use super::frame::{FRAME_BYTES_TARGET, FrameWriter};
use crate::ghostbay::catalog::table::{Rows, Snapshot};
use crate::ghostbay::disk::SyncPoint;

/// Writes the state behind transaction `sequence`, then removes what it makes needless. The
/// number of rows.
///
/// The file gets its name only when all of it is durable, so a checkpoint is whole or not there.
pub fn write(place: &LogPlace, sequence: u64, state: &Snapshot) -> io::Result<u64> {
    let temporary = place
        .directory
        .join(format!("{sequence:016x}{TEMPORARY_SUFFIX}"));
    let rows = write_temporary(place, &temporary, sequence, state).inspect_err(|_| {
        // The next commit tries again: on a full disk each try would leave its file.
        let _ = place.disk.remove(&temporary);
    })?;
    let path = place.directory.join(file_name(Kind::Checkpoint, sequence));
    place.disk.rename(&temporary, &path)?;
    place
        .disk
        .sync_directory(&place.directory, SyncPoint::CheckpointName)?;
    remove_covered(place, sequence)?;
    Ok(rows)
}

fn write_temporary(
    place: &LogPlace,
    temporary: &Path,
    sequence: u64,
    state: &Snapshot,
) -> io::Result<u64> {
    let file = place.disk.create(temporary)?;
    let (header, chain) = place.header(Kind::Checkpoint, sequence).encode();
    file.write_at(&header, 0)?;
    let mut offset = header.len() as u64;
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
            writer.rows(sequence, part, last, &mut frame);
            file.write_at(&frame, offset)?;
            offset += frame.len() as u64;
            gathered.clear();
            gathered_bytes = 0;
        }
        if last {
            break;
        }
    }
    file.sync_data(SyncPoint::Checkpoint)?;
    Ok(rows)
}

/// Removes older checkpoints, and files of changes that end before the checkpoint: each ends
/// where the next one begins, and the newest stays.
fn remove_covered(place: &LogPlace, sequence: u64) -> io::Result<()> {
    for name in place.disk.list(&place.directory)? {
        let needless = match parse_file_name(&name) {
            Some((Kind::Checkpoint, older)) => older < sequence,
            Some((Kind::Changes, first)) => first <= sequence,
            None => false,
        };
        if needless {
            place.disk.remove(&place.directory.join(name))?;
        }
    }
    Ok(())
}
