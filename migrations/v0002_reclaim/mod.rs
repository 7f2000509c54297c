//! What reclaiming space needs to know without walking the store.

mod usage;

use crate::ghostbay::catalog::schema::Step;

pub(super) const STEP: Step = Step {
    version: 2,
    name: "reclaim",
    apply: usage::apply,
};
