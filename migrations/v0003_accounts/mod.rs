//! Accounts and policy: tables of their own, which nobody has anything in yet.

use crate::ghostbay::catalog::schema::Step;

pub(super) const STEP: Step = Step {
    version: 3,
    name: "accounts",
    apply: |_| Ok(()),
};
