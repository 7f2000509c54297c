//! `[immutable]`: tags that stay where they are.

use serde::{Deserialize, Serialize};

use super::rules;
use crate::oci::Pattern;

/// The section `[immutable]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImmutableConfig {
    /// The rules. A tag that any of them fits is immutable.
    #[serde(deserialize_with = "rules::list")]
    pub rules: Vec<ImmutableRule>,
}

/// Tags that are neither moved nor deleted once they are there.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImmutableRule {
    /// The repositories.
    pub repositories: Pattern,
    /// The tags in them.
    pub tags: Pattern,
}
