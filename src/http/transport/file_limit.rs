//! Enough file descriptors for the connections that are promised.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::listener::WAITING_MAX;

/// Descriptors kept back for newcomers without a place, the store, the log and the listener.
const OTHER_FILES: u64 = WAITING_MAX as u64 + 1024;

/// Raises the limit of open files so that `wanted` connections fit, as far as the system
/// allows, and says how many do.
///
/// The usual soft limit of 1024 suits programs that use `select`; the hard one is the limit
/// that was meant.
pub fn connections_possible(wanted: u32) -> u32 {
    let needed = files_needed(wanted);
    let limit = getrlimit(Resource::Nofile);
    let mut current = limit.current.unwrap_or(u64::MAX);
    if current < needed {
        let raised = limit.maximum.unwrap_or(u64::MAX).min(needed);
        let new = Rlimit {
            current: Some(raised),
            maximum: limit.maximum,
        };
        if raised > current && setrlimit(Resource::Nofile, new).is_ok() {
            current = raised;
        }
    }
    connections_within(current, wanted)
}

/// How many of `wanted` connections fit a limit of so many open files.
pub fn connections_within(files: u64, wanted: u32) -> u32 {
    // However tight the limit is, somebody is served.
    let room = files.saturating_sub(OTHER_FILES).max(files / 4).max(1);
    u32::try_from(room).unwrap_or(u32::MAX).min(wanted)
}

/// The limit of open files by which that many connections fit.
pub fn files_needed(connections: u32) -> u64 {
    u64::from(connections) + OTHER_FILES
}
