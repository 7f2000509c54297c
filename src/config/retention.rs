//! `[retention]`: which tags and manifests are kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::{rules, scalar};
use crate::oci::Pattern;

/// The section `[retention]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// How often the running server goes by the rules.
    #[serde(with = "scalar::duration")]
    pub interval: Duration,
    /// The rules. Of those that fit a repository the first counts.
    #[serde(deserialize_with = "rules::list")]
    pub rules: Vec<RetentionRule>,
}

/// What is kept of each repository of a pattern.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// The repositories.
    pub repositories: Pattern,
    /// So many tags that were pushed last.
    #[serde(default)]
    pub keep_last: Option<u32>,
    /// The tags of so many highest versions.
    #[serde(default)]
    pub keep_semver: Option<u32>,
    /// What was pulled or pushed within this time.
    #[serde(default, deserialize_with = "scalar::duration_or_unset")]
    pub keep_pulled_within: Option<Duration>,
    /// Tags that one of these patterns fits.
    #[serde(default)]
    pub keep_tags: Vec<Pattern>,
    /// How long manifests without a tag stay; for ever if unset.
    #[serde(default, deserialize_with = "scalar::duration_or_unset")]
    pub delete_untagged_after: Option<Duration>,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        RetentionConfig {
            interval: Duration::from_secs(60 * 60),
            rules: Vec::new(),
        }
    }
}

impl RetentionConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.interval.is_zero() {
            let problem = "0 would run without a pause: use at least 1s";
            return Err(ConfigError::rule("retention", "interval", problem));
        }
        Ok(())
    }
}
