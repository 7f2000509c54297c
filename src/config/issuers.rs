//! `[[auth.issuers]]` and `[[auth.trust]]`: others whose word counts.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::{networks, scalar};
use crate::auth::issuers::{HttpsUrl, Trust};

/// Longest URL of an issuer, in bytes: it stands in logs and histories.
const ISSUER_BYTES_MAX: usize = 255;

/// Longest audience, in bytes.
const AUDIENCE_BYTES_MAX: usize = 1024;

/// An issuer of tokens.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// What its tokens have as `iss`, letter by letter.
    pub url: HttpsUrl,
    /// What has to be in their `aud`.
    pub audience: String,
    /// Where its keys are; left out, it is asked.
    pub jwks: Option<HttpsUrl>,
    /// Who signs the certificates there, in PEM, in place of those whom the system trusts.
    pub ca: Option<PathBuf>,
    /// Networks that are not public where its keys may be all the same.
    #[serde(default, deserialize_with = "networks::deserialize")]
    pub private_networks: Vec<IpNet>,
    /// Whether its tokens are taken on every path, and not only exchanged for ours.
    #[serde(default, deserialize_with = "scalar::switch")]
    pub direct: bool,
}

/// Refuses issuers and trusts that cannot be meant.
pub(super) fn check(issuers: &[IssuerConfig], trust: &[Trust]) -> Result<(), ConfigError> {
    let refuse = |problem: String| Err(ConfigError::rule("auth", "issuers", problem));
    for (issuer, number) in issuers.iter().zip(1..) {
        let url = &issuer.url;
        if url.as_str().len() > ISSUER_BYTES_MAX || url.has_query() {
            return refuse(format!(
                "{url} has a query, or more than {ISSUER_BYTES_MAX} bytes: an issuer has neither"
            ));
        }
        if issuer.audience.is_empty() || issuer.audience.len() > AUDIENCE_BYTES_MAX {
            return refuse(format!(
                "the audience of {url} has not 1 to {AUDIENCE_BYTES_MAX} bytes: use a name of this registry \
                 that tokens are then asked for with"
            ));
        }
        if issuers[number..].iter().any(|other| other.url == *url) {
            return refuse(format!(
                "{url} stands there twice: put its trust into [[auth.trust]]"
            ));
        }
    }
    for trust in trust {
        trust
            .check(issuers.iter().map(|issuer| &issuer.url))
            .map_err(|error| ConfigError::rule("auth", "trust", error.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(issuers: Value, trust: Value) -> String {
        let issuers: Vec<IssuerConfig> = serde_json::from_value(issuers).unwrap();
        let trust: Vec<Trust> = serde_json::from_value(trust).unwrap();
        check(&issuers, &trust).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn issuers_are_told_apart_and_trusted_for_somebody() {
        let a = json!({ "url": "https://a.example.com", "audience": "drift" });
        let b = json!({ "url": "https://b.example.com", "audience": "drift" });
        let trust =
            json!([{ "issuer": "https://a.example.com", "claims": { "sub": "ci" }, "role": "ci" }]);
        assert_eq!(refused(json!([a, b]), trust.clone()), "");
        for (issuers, trust, reason) in [
            (json!([a, b, a]), json!([]), "twice"),
            (
                json!([{ "url": "https://a/?b", "audience": "drift" }]),
                json!([]),
                "a query",
            ),
            (
                json!([{ "url": "https://a", "audience": "" }]),
                json!([]),
                "audience",
            ),
            (json!([b]), trust.clone(), "none of [[auth.issuers]]"),
            (
                json!([a]),
                json!([{ "issuer": "https://a.example.com", "claims": {}, "role": "ci" }]),
                "everybody who has a token",
            ),
        ] {
            let error = refused(issuers, trust);
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }
}
