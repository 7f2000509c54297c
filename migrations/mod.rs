//! Steps from one version of the index to the next. README.md says how one is written.

mod v0001_initial;
mod v0002_reclaim;
mod v0003_accounts;
mod v0004_audit;
mod v0005_parts;
mod v0006_insight;

use crate::ghostbay::catalog::schema::Step;

/// All steps, oldest first. The last one's version is the one that this build writes.
pub const STEPS: &[Step] = &[
    v0001_initial::STEP,
    v0002_reclaim::STEP,
    v0003_accounts::STEP,
    v0004_audit::STEP,
    v0005_parts::STEP,
    v0006_insight::STEP,
];
