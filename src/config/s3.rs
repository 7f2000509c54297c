//! `[s3]`: the endpoint for objects.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::server::ServerConfig;
use super::{hosts, rules, scalar};

/// The section `[s3]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    /// Whether it listens.
    #[serde(deserialize_with = "scalar::switch")]
    pub enabled: bool,
    /// Its port, at the address of `[server] host`; 0 takes any free one, which the log then names.
    #[serde(deserialize_with = "scalar::whole")]
    pub port: u16,
    /// The region that requests are signed for.
    pub region: String,
    /// The hosts below which names are those of buckets.
    #[serde(deserialize_with = "hosts::deserialize")]
    pub hosts: Vec<String>,
    /// Objects and uploads that have an end.
    #[serde(deserialize_with = "rules::list")]
    pub lifecycle: Vec<LifecycleConfig>,
}

/// What ends, and when.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LifecycleConfig {
    /// The bucket.
    pub bucket: String,
    /// What the keys begin with; all, if it is left out.
    #[serde(default)]
    pub prefix: String,
    /// Objects are deleted when they have this age.
    #[serde(default, deserialize_with = "scalar::duration_or_unset")]
    pub expire_after: Option<Duration>,
    /// Multipart uploads are dropped when they have this age.
    #[serde(default, deserialize_with = "scalar::duration_or_unset")]
    pub abort_after: Option<Duration>,
}

impl Default for S3Config {
    fn default() -> Self {
        S3Config {
            enabled: false,
            port: 5002,
            region: "us-east-1".to_owned(),
            hosts: Vec::new(),
            lifecycle: Vec::new(),
        }
    }
}

impl S3Config {
    pub(super) fn check(
        &self,
        server: &ServerConfig,
        registry_bucket: &str,
    ) -> Result<(), ConfigError> {
        let rule = |key, problem: String| Err(ConfigError::rule("s3", key, &problem));
        let taken = [("api_port", server.api_port), ("ui_port", server.ui_port)];
        let taken = taken.iter().find(|(_, port)| *port == self.port);
        if let Some((key, port)) = taken.filter(|_| self.enabled && self.port != 0) {
            return rule(
                "port",
                format!("port {port} is [server] {key} already: use another one"),
            );
        }
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if self.region.is_empty() || !self.region.bytes().all(is_word) {
            return rule(
                "region",
                format!(
                    "{:?} is no region: use letters, digits and hyphens, such as us-east-1",
                    self.region
                ),
            );
        }
        if let Some(host) = self.hosts.iter().find(|host| !hosts::is_name(host)) {
            return rule(
                "hosts",
                format!(
                    "{host:?} is no name of a host: use one without a port, such as s3.example.org"
                ),
            );
        }
        for it in &self.lifecycle {
            if it.bucket == registry_bucket {
                return rule(
                    "lifecycle",
                    format!(
                        "{:?} is the registry's bucket, in which nothing ends by age: see [retention]",
                        it.bucket
                    ),
                );
            }
            if [it.expire_after, it.abort_after].contains(&Some(Duration::ZERO)) {
                return rule(
                    "lifecycle",
                    format!(
                        "the rule for {:?} ends everything at once: give it an age above 0",
                        it.bucket
                    ),
                );
            }
            if it.expire_after.is_none() && it.abort_after.is_none() {
                return rule(
                    "lifecycle",
                    format!(
                        "the rule for {:?} ends nothing: give it expire_after or abort_after",
                        it.bucket
                    ),
                );
            }
        }
        Ok(())
    }
}
