//! What clients were told is there, for as long as it has to stay. The table is in memory: behind
//! a start everything counts as leased for one whole time.
//!
//! * `table`: leases, and what the collector is about to take
//! * `model`: the table under a scheduler that tries its interleavings

mod sync {
    pub use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
}

mod table;

#[cfg(test)]
mod model;

pub use table::{LEASES_MAX, Leases};

#[cfg(test)]
mod tests;
