//! URLs that issuers and their keys are at.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 1024;

/// A URL of a host that proves by TLS who it is. It is kept as it was written: an issuer is known by its
/// very characters (OpenID Connect Core, 3.1.3.7).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpsUrl(String);

/// Text that is no such URL.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{text:?} {reason}: use a URL such as https://issuer.example.com, of at most {URL_BYTES_MAX} bytes"
)]
pub struct HttpsUrlError {
    text: String,
    reason: &'static str,
}

impl HttpsUrl {
    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is a query in it.
    pub fn has_query(&self) -> bool {
        self.0.contains('?')
    }

    /// One below it.
    pub fn below(&self, path: &str) -> HttpsUrl {
        let base = self.0.strip_suffix('/').unwrap_or(&self.0);
        HttpsUrl(format!("{base}{path}"))
    }
}

impl FromStr for HttpsUrl {
    type Err = HttpsUrlError;

    fn from_str(text: &str) -> Result<Self, HttpsUrlError> {
        let error = |reason| HttpsUrlError {
            text: text.chars().take(200).collect(),
            reason,
        };
        if text.len() > URL_BYTES_MAX {
            return Err(error("is too long"));
        }
        let rest = text
            .strip_prefix("https://")
            .ok_or_else(|| error("does not begin with https://"))?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        match () {
            () if authority.is_empty() || authority.starts_with(':') => Err(error("has no host")),
            () if authority.contains('@') => Err(error("has a user in it")),
            () if text.contains('#') => Err(error("has a fragment")),
            () if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(error("has a space or a character that is not ASCII"))
            }
            () if text.contains(['"', '<', '>', '\\', '^', '`', '{', '|', '}']) => {
                Err(error("has a character that no URL has"))
            }
            () => Ok(HttpsUrl(text.to_owned())),
        }
    }
}

impl TryFrom<String> for HttpsUrl {
    type Error = HttpsUrlError;

    fn try_from(text: String) -> Result<Self, HttpsUrlError> {
        text.parse()
    }
}

impl From<HttpsUrl> for String {
    fn from(url: HttpsUrl) -> String {
        url.0
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_https_with_a_host_and_nothing_that_misleads() {
        for text in [
            "https://token.actions.githubusercontent.com",
            "https://127.0.0.1:8443/keys?p=1",
            "https://[::1]:8443/a/",
        ] {
            assert_eq!(text.parse::<HttpsUrl>().unwrap().as_str(), text);
        }
        let long = format!("https://a/{}", "b".repeat(URL_BYTES_MAX));
        for text in [
            "",
            "https://",
            "https:///keys",
            "https://:443/",
            "http://a",
            "HTTPS://a",
            "https://user@a/",
            "https://a/#b",
            "https://a b",
            "https://ä",
            "https://a\\b",
            "file:///etc/passwd",
            &long,
        ] {
            assert!(text.parse::<HttpsUrl>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_below_has_one_slash_between() {
        for text in ["https://a/b", "https://a/b/"] {
            let url: HttpsUrl = text.parse().unwrap();
            assert_eq!(url.below("/c").as_str(), "https://a/b/c");
        }
    }
}
