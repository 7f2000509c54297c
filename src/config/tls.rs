//! `[tls]`: the certificate that the registry API is served with.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::{rules, scalar};
use crate::auth::ClientRule;

/// The section `[tls]`. Without a certificate the API is served in the clear.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The server's certificate and those above it, in PEM.
    pub cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key: Option<PathBuf>,
    /// The authorities of clients' certificates, in PEM. Unset, clients are asked for none.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate of theirs is turned away.
    #[serde(deserialize_with = "scalar::switch")]
    pub client_required: bool,
    /// Whose account a certificate opens: the first rule that fits one of its names.
    #[serde(deserialize_with = "rules::list")]
    pub clients: Vec<ClientRule>,
}

impl TlsConfig {
    /// The files of certificate and key, if the API is served over TLS.
    pub fn files(&self) -> Option<(PathBuf, PathBuf)> {
        self.cert.clone().zip(self.key.clone())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let lacks = |key, other| {
            Err(ConfigError::rule(
                "tls",
                key,
                format!(
                    "is not set, and {other} is: TLS takes both, a server in the clear neither"
                ),
            ))
        };
        match (&self.cert, &self.key) {
            (None, Some(_)) => lacks("cert", "key"),
            (Some(_), None) => lacks("key", "cert"),
            _ => self.check_clients(),
        }
    }

    fn check_clients(&self) -> Result<(), ConfigError> {
        let rule = |key, problem: &str| Err(ConfigError::rule("tls", key, problem));
        if self.client_ca.is_some() && self.cert.is_none() {
            return rule(
                "client_ca",
                "is set, and cert is not: only over TLS do clients show certificates",
            );
        }
        if self.client_ca.is_none() && (self.client_required || !self.clients.is_empty()) {
            return rule(
                "client_ca",
                "is not set: name the file of the authorities that clients' certificates are signed by, \
                 or leave client_required and clients out",
            );
        }
        Ok(())
    }
}
