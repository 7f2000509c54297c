//! `[audit]`: who did what, written down.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::scalar;
use crate::audit::Detail;

/// The section `[audit]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Whether it is written. Unset, it is where a login is asked for.
    #[serde(
        deserialize_with = "scalar::switch_or_unset",
        skip_serializing_if = "Option::is_none"
    )]
    pub enabled: Option<bool>,
    /// The file; a relative path begins at the data directory.
    pub file: PathBuf,
    /// How long the file grows, in bytes, before a new one begins.
    #[serde(with = "scalar::bytes")]
    pub rotate_at: u64,
    /// How many older files stay.
    #[serde(deserialize_with = "scalar::whole")]
    pub keep: u32,
    /// How many events the index keeps; 0: none.
    #[serde(deserialize_with = "scalar::whole")]
    pub rows: u32,
    /// What is written down.
    pub detail: Detail,
}

impl Default for AuditConfig {
    fn default() -> Self {
        AuditConfig {
            enabled: None,
            file: PathBuf::from("audit/audit.jsonl"),
            rotate_at: 64 << 20,
            keep: 8,
            rows: 100_000,
            detail: Detail::Changes,
        }
    }
}

impl AuditConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let problem = |key, problem: &str| Err(ConfigError::rule("audit", key, problem));
        if self.file.file_name().is_none() {
            return problem(
                "file",
                "names no file: write a path such as audit/audit.jsonl",
            );
        }
        if self.rotate_at < 64 << 10 {
            return problem(
                "rotate_at",
                "is too small for a file of events: use at least 64KiB",
            );
        }
        if self.keep > 1000 {
            return problem(
                "keep",
                "is more files than are renamed in a row: use at most 1000",
            );
        }
        Ok(())
    }
}
