//! The change log: whether the index could be made again of it.

use std::time::Duration;

use super::finding::{Repair, Subject};
use super::run::{CheckError, Run};
use super::store::newest_schema;
use crate::ghostbay::catalog::change_log::file::{
    Kind, LogReadError, LogReader, file_name, parse_file_name,
};
use crate::ghostbay::catalog::{change_log, schema};

/// How often a log that does not reach the index is looked at again, and after how long: a commit
/// stands in the index a moment before it does in the log, and a checkpoint takes the place of files
/// while they are read.
const LOOKS: u32 = 10;
const LOOK_PAUSE: Duration = Duration::from_millis(200);

pub(super) fn check(run: &mut Run<'_>) -> Result<(), CheckError> {
    let mut fault = None;
    for look in 0..LOOKS {
        run.progress("change log", u64::from(look), None)?;
        fault = fault_of(run)?;
        if fault.is_none() {
            return Ok(());
        }
        if !run.store().is_running() {
            break;
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    match fault {
        Some(fault) => run.found(Subject::Log, fault, Some(Repair::Checkpoint)),
        None => Ok(()),
    }
}

fn fault_of(run: &mut Run<'_>) -> Result<Option<String>, CheckError> {
    let store = run.store();
    let sequence = schema::sequence(&store.read()?)?;
    let directory = store.log();
    // An older one that is damaged is passed over by a rebuild, and goes when nothing needs it.
    let names = store.disk.list(&directory)?;
    let newest = names
        .iter()
        .filter_map(|name| match parse_file_name(name)? {
            (Kind::Checkpoint, at) => Some(at),
            _ => None,
        })
        .max();
    if let Some(at) = newest {
        let name = file_name(Kind::Checkpoint, at);
        match read_whole(run, &name) {
            Ok(()) => {}
            Err(Stop::Check(error)) => return Err(error),
            Err(Stop::File(error)) => return Ok(Some(format!("its checkpoint {name}: {error}"))),
        }
    }
    let reached = change_log::replay(&*store.disk, &directory, |_| Ok(()));
    // A kill can leave the last transaction out, of which nobody was told; the next start adds it (O3).
    let left_by_kill = u64::from(!store.is_running());
    Ok(match reached {
        Ok(Some(reached)) if reached.saturating_add(left_by_kill) >= sequence => None,
        Ok(Some(reached)) => Some(format!(
            "it reaches transaction {reached}, and the index stands at {sequence}: what came \
             between would be lost with the index"
        )),
        // Killed as it was made: the index holds its schema, and nothing else yet.
        Ok(None) if !store.is_running() && sequence <= u64::from(newest_schema()) => None,
        Ok(None) => Some("it has no checkpoint: of it alone no index can be made".to_owned()),
        Err(error) => Some(error.to_string()),
    })
}

enum Stop {
    Check(CheckError),
    File(LogReadError),
}

fn read_whole(run: &mut Run<'_>, name: &str) -> Result<(), Stop> {
    let store = run.store();
    let path = store.log().join(name);
    let mut reader = LogReader::open(&*store.disk, &path).map_err(Stop::File)?;
    let mut frames = 0;
    while reader.next_frame().map_err(Stop::File)?.is_some() {
        frames += 1;
        if frames % 64 == 0 {
            run.progress("change log", frames, None)
                .map_err(Stop::Check)?;
        }
    }
    Ok(())
}
