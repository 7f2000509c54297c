//! What reclaiming space needs to know without walking the store.

mod collection;
mod usage;

use crate::ghostbay::catalog::schema::Step;

pub(super) const STEP: Step = Step {
    version: 2,
    name: "reclaim",
    apply: |transaction| {
        // It reads links as they were before they learned their sizes.
        collection::apply(transaction)?;
        usage::apply(transaction)
    },
};
