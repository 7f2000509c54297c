//! `[auth]`: whether a login is asked for, and who may do what.

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::server::ServerConfig;
use super::{rules, scalar};
use crate::auth::Rule;

/// The section `[auth]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Whether a login is asked for. Unset means no, and is taken only where nobody but this
    /// machine can connect.
    #[serde(
        deserialize_with = "scalar::switch_or_unset",
        skip_serializing_if = "Option::is_none"
    )]
    pub enabled: Option<bool>,
    /// Who may do what. The first rule that fits decides, before those of `drift policy`; what no rule
    /// allows is denied.
    #[serde(deserialize_with = "rules::list")]
    pub rules: Vec<Rule>,
}

impl AuthConfig {
    /// Whether a login is asked for.
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(false)
    }

    /// An open registry on a network must have been asked for in so many words.
    pub(super) fn check(&self, server: &ServerConfig) -> Result<(), ConfigError> {
        let loopback = server
            .ip()
            .is_some_and(|ip| ip.to_canonical().is_loopback());
        if self.enabled.is_none() && !loopback {
            return Err(ConfigError::rule(
                "auth",
                "enabled",
                format!(
                    "is not set, and [server] host = {:?} can be reached from other machines: \
                     set it to true, or to false if everybody who reaches this address may \
                     push, pull and delete",
                    server.host
                ),
            ));
        }
        Ok(())
    }
}
