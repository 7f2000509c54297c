//! `[storage]`: where GhostBay keeps its data.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::scalar::{self, Share};

/// The section `[storage]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// The store. There is one.
    pub backend: Backend,
    /// The data directory; created if it is not there. One process owns it.
    pub path: PathBuf,
    /// The bucket that blobs are kept in.
    pub bucket: String,
    /// Whether the API may delete. `false` answers 405 to every delete.
    #[serde(deserialize_with = "scalar::switch")]
    pub delete: bool,
    /// How fast the store is read over in the background, in bytes a second. 0 does not.
    #[serde(with = "scalar::bytes")]
    pub scrub_rate: u64,
    /// Room on the disk that pushes leave alone, in bytes or percent of the disk.
    #[serde(with = "scalar::share")]
    pub min_free: Share,
    /// An upload ends when no byte has come to it for so long. 0 never ends any.
    #[serde(with = "scalar::duration")]
    pub upload_expiry: Duration,
    /// From the beginning of one reading to that of the next.
    #[serde(with = "scalar::duration")]
    pub scrub_interval: Duration,
}

/// What keeps the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The embedded object store.
    GhostBay,
}

impl Default for StorageConfig {
    fn default() -> Self {
        StorageConfig {
            backend: Backend::GhostBay,
            path: PathBuf::from("./drift-data"),
            bucket: "drift-registry".to_owned(),
            delete: true,
            scrub_rate: 4 << 20,
            min_free: Share::Percent(1),
            upload_expiry: Duration::from_secs(7 * 24 * 60 * 60),
            scrub_interval: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl StorageConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.path.as_os_str().is_empty() {
            return Err(ConfigError::rule(
                "storage",
                "path",
                "is empty: name the data directory",
            ));
        }
        // The names that S3 allows, without the dots that its TLS certificates never covered.
        let named = self.bucket.len() >= 3
            && self.bucket.len() <= 63
            && self
                .bucket
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !self.bucket.starts_with('-')
            && !self.bucket.ends_with('-');
        if !named {
            return Err(ConfigError::rule(
                "storage",
                "bucket",
                format!(
                    "{:?} is no bucket name: use 3 to 63 lower-case letters, digits and inner \
                     hyphens",
                    self.bucket
                ),
            ));
        }
        Ok(())
    }
}
