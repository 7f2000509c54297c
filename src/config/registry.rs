//! `[registry]`: which manifests are taken.

use serde::{Deserialize, Serialize};

/// The section `[registry]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// What to do with a manifest that refers to content which the repository does not hold.
    pub missing_references: MissingReferences,
}

/// How a manifest with missing references is met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingReferences {
    /// Refused with MANIFEST_BLOB_UNKNOWN.
    #[default]
    Refuse,
    /// Taken when only the children of an index are missing.
    AllowChildren,
    /// Taken whatever is missing.
    Allow,
}
