//! A simulated disk: it records all that is done to it, fails on command, and shows what a power
//! cut could leave.
//!
//! * `disk`: the disk in memory, behind the traits of [`disk`](super::disk), and its faults
//! * `file`: a file's content in pages that copies share
//! * [`trace`]: what was done, in order, and which syncs a test takes away
//! * [`crash`]: from a trace to what a crash could have left

pub mod crash;
mod disk;
mod file;
pub mod trace;

pub use crash::{Durable, Image};
pub use disk::{Fault, FaultKind, Faulty, SimDisk};
pub use trace::{Event, Trace};

#[cfg(test)]
mod tests;
