//! `[quota]`: how much repositories may hold.

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::{rules, scalar};
use crate::oci::Pattern;

/// The section `[quota]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaConfig {
    /// The rules. Of those that fit a repository the first counts.
    #[serde(deserialize_with = "rules::list")]
    pub rules: Vec<QuotaRule>,
}

/// How much each repository of a pattern may hold.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaRule {
    /// The repositories.
    pub repositories: Pattern,
    /// Most bytes of blobs and manifests.
    #[serde(default, deserialize_with = "bytes_or_unset")]
    pub bytes: Option<u64>,
    /// Most tags.
    #[serde(default)]
    pub tags: Option<u64>,
}

fn bytes_or_unset<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    scalar::bytes::deserialize(deserializer).map(Some)
}

impl QuotaConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for rule in &self.rules {
            if rule.bytes.is_none() && rule.tags.is_none() {
                return Err(ConfigError::rule(
                    "quota",
                    "rules",
                    format!(
                        "the rule for {:?} limits nothing: set bytes, tags or both",
                        rule.repositories
                    ),
                ));
            }
        }
        Ok(())
    }
}
