//! Checking a store: the index against itself, the packs and the change log, and every byte.
//!
//! * [`finding`]: what can be wrong, and how it is repaired
//! * [`store`]: what is looked at, running or stopped
//! * [`run`]: one check under way: its rows, its pace, its end
//! * `others`: rows that somebody else keeps in the same index
//! * `tables`, `accounts`, `records`, `log`: what is looked at in turn
//!
//! A check runs beside pushes and pulls. Rows that belong together are looked at in one snapshot, and
//! what concerns bytes is looked at a second time before it is told, so that nothing that changes
//! meanwhile is taken for damage. Snapshots are kept for a few hundred rows at most, but for the
//! count of live bytes, which needs one over all objects.

mod accounts;
pub mod finding;
mod log;
mod others;
mod records;
pub mod run;
pub mod store;
mod tables;

pub use finding::{Finding, Repair, Subject};
pub use others::each_row_is_whole;
pub use records::BYTES_PHASE;
pub use run::{CheckError, Depth, Event, Repairs, Run};
pub use store::CheckedStore;

/// Checks all that GhostBay knows of: its tables, the accounts of the packs, the change log and, to
/// the full depth, the bytes of every object.
pub fn check(run: &mut Run<'_>) -> Result<(), CheckError> {
    let looked = tables::check(run);
    run.bear(looked)?;
    let looked = accounts::check(run);
    run.bear(looked)?;
    let looked = log::check(run);
    run.bear(looked)?;
    match run.depth() {
        Depth::Quick => Ok(()),
        Depth::Full => {
            let looked = records::check(run);
            run.bear(looked)
        }
    }
}
