//! The audit log: a table of its own, which nobody has anything in yet.

use crate::ghostbay::catalog::schema::Step;

pub(super) const STEP: Step = Step {
    version: 4,
    name: "audit",
    apply: |_| Ok(()),
};
