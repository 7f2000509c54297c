//! `[backup]`: copies of the index on a schedule, and for how long the store keeps what they need.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::scalar;

/// The section `[backup]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupConfig {
    /// How often the running server takes a backup; 0 takes none.
    #[serde(with = "scalar::duration")]
    pub every: Duration,
    /// The directory that they go to.
    pub to: PathBuf,
    /// How many of them stay.
    #[serde(deserialize_with = "scalar::whole")]
    pub keep: u32,
    /// A backup younger than so many hours can be brought to any later moment: the change log
    /// keeps what that takes.
    #[serde(deserialize_with = "scalar::whole")]
    pub keep_hours: u32,
}

impl Default for BackupConfig {
    fn default() -> Self {
        BackupConfig {
            every: Duration::ZERO,
            to: PathBuf::from("./drift-backups"),
            keep: 7,
            keep_hours: 48,
        }
    }
}

impl BackupConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let rule = |key, problem: &str| Err(ConfigError::rule("backup", key, problem));
        if self.to.as_os_str().is_empty() {
            return rule("to", "is empty: name a directory");
        }
        if self.keep == 0 {
            return rule(
                "keep",
                "0 would remove every backup at once: use at least 1",
            );
        }
        Ok(())
    }
}
