//! `[gc]`: when what nothing refers to goes, and for how long deletes can be undone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::scalar;

/// The section `[gc]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GcConfig {
    /// How often the collector looks at what is due.
    #[serde(with = "scalar::duration")]
    pub interval: Duration,
    /// For how long a blob is safe that was pushed or mounted, or that a client was told is there.
    #[serde(with = "scalar::duration")]
    pub grace: Duration,
    /// For how long a deleted tag, manifest or repository can come back.
    #[serde(with = "scalar::duration")]
    pub keep_deleted: Duration,
    /// How fast packs of which little is left alive are rewritten, in bytes a second. 0 does not.
    #[serde(with = "scalar::bytes")]
    pub compact_rate: u64,
}

impl Default for GcConfig {
    fn default() -> Self {
        GcConfig {
            interval: Duration::from_secs(60),
            grace: Duration::from_secs(24 * 60 * 60),
            keep_deleted: Duration::from_secs(7 * 24 * 60 * 60),
            compact_rate: 32 << 20,
        }
    }
}

impl GcConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.interval.is_zero() {
            let problem = "0 would look without a pause: use at least 1ms";
            return Err(ConfigError::rule("gc", "interval", problem));
        }
        Ok(())
    }
}
