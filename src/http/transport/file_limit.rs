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
    let needed = u64::from(wanted) + OTHER_FILES;
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
    // However tight the limit is, somebody is served.
    let room = current.saturating_sub(OTHER_FILES).max(current / 4).max(1);
    u32::try_from(room).unwrap_or(u32::MAX).min(wanted)
}
