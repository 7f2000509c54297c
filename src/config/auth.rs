//! `[auth]`: whether a login is asked for, and who may do what.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::issuers::{self, IssuerConfig};
use super::server::ServerConfig;
use super::{rules, scalar};
use crate::auth::issuers::Trust;
use crate::auth::{LIFETIME_MAX, Rule};

/// The section `[auth]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
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
    /// A file with further accounts, of lines `name:hash` with hashes of bcrypt or argon2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub htpasswd: Option<PathBuf>,
    /// For how long a signed token holds, which a client gets for a login.
    #[serde(with = "scalar::duration")]
    pub token_lifetime: Duration,
    /// How many failed logins a minute are borne from one address; 0 for any number.
    #[serde(deserialize_with = "scalar::whole")]
    pub bad_logins_by_address: u32,
    /// How many to one account, from wherever; 0 for any number.
    #[serde(deserialize_with = "scalar::whole")]
    pub bad_logins_by_account: u32,
    /// Others whose tokens are taken, such as a CI's.
    #[serde(deserialize_with = "rules::list")]
    pub issuers: Vec<IssuerConfig>,
    /// The roles that are given for them.
    #[serde(deserialize_with = "rules::list")]
    pub trust: Vec<Trust>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        AuthConfig {
            enabled: None,
            rules: Vec::new(),
            htpasswd: None,
            token_lifetime: Duration::from_secs(300),
            bad_logins_by_address: 20,
            bad_logins_by_account: 100,
            issuers: Vec::new(),
            trust: Vec::new(),
        }
    }
}

impl AuthConfig {
    /// Whether a login is asked for.
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(false)
    }

    /// An open registry on a network must have been asked for in so many words.
    pub(super) fn check(&self, server: &ServerConfig) -> Result<(), ConfigError> {
        let shortest = Duration::from_secs(60);
        if !(shortest..=LIFETIME_MAX).contains(&self.token_lifetime) {
            return Err(ConfigError::rule(
                "auth",
                "token_lifetime",
                format!(
                    "{} is too short or too long: use 1m to 24h",
                    humantime::format_duration(self.token_lifetime)
                ),
            ));
        }
        issuers::check(&self.issuers, &self.trust)?;
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
