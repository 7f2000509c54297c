//! `[tls]`: the certificate that the registry API is served with.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// The section `[tls]`. Without a certificate the API is served in the clear.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The server's certificate and those above it, in PEM.
    pub cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key: Option<PathBuf>,
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
            _ => Ok(()),
        }
    }
}
