//! The first schema: an empty store gets its identity. All tables begin empty.

use crate::ghostbay::catalog::schema::{self, Step};

pub(super) const STEP: Step = Step {
    version: 1,
    name: "initial",
    apply: |transaction| schema::set_identity(transaction, uuid::Uuid::new_v4()),
};
