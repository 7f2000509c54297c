//! How an issuer's keys are come by. Nothing here reaches for a network: that is the caller's to do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::jwks::{KeySet, KeySetError};
use super::url::{HttpsUrl, HttpsUrlError};

/// Where an issuer describes itself (OpenID Connect Discovery, 4).
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// Gets what is at a URL.
#[async_trait]
pub trait Fetch: fmt::Debug + Send + Sync {
    /// The body of the answer, if it is one of success.
    async fn fetch(&self, url: &HttpsUrl) -> Result<Fetched, FetchError>;
}

/// What was at a URL.
#[derive(Debug)]
pub struct Fetched {
    /// The body.
    pub body: Vec<u8>,
    /// For how long it may be kept, where that is said.
    pub max_age: Option<Duration>,
}

/// Why nothing was got, with all that caused it.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// An issuer, as it is configured.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// What its tokens have as `iss`, letter by letter.
    pub url: HttpsUrl,
    /// What has to be in their `aud`.
    pub audience: String,
    /// Where its keys are, if it is not to be asked.
    pub jwks: Option<HttpsUrl>,
    /// Whether its tokens are taken wherever ours are, and not only exchanged.
    pub direct: bool,
    /// How its keys are got.
    pub fetch: Arc<dyn Fetch>,
}

/// Why there are no new keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A document could not be got.
    #[error("{url}: {source}")]
    Fetch {
        /// Its URL.
        url: HttpsUrl,
        /// What went wrong.
        source: FetchError,
    },
    /// The issuer does not describe itself as it has to.
    #[error("{url} is no JSON object with an issuer and a jwks_uri")]
    Discovery {
        /// Where that should be.
        url: HttpsUrl,
    },
    /// It describes somebody else.
    #[error(
        "{url} is about {found:?}, and [[auth.issuers]] names {expected}: the two have to be equal"
    )]
    OtherIssuer {
        /// Where that stands.
        url: HttpsUrl,
        /// Who it is about.
        found: String,
        /// Who was meant.
        expected: HttpsUrl,
    },
    /// The keys are at no URL that is asked.
    #[error("its jwks_uri: {0}")]
    KeysUrl(#[from] HttpsUrlError),
    /// What is there are no keys.
    #[error("{url}: {source}")]
    Keys {
        /// Where they should be.
        url: HttpsUrl,
        /// What is wrong with them.
        source: KeySetError,
    },
    /// It took too long.
    #[error("there was no answer in {0:?}")]
    TooSlow(Duration),
}

/// What an issuer says of itself. Whatever else it says is not asked for.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Where the keys are that such a description names.
pub fn keys_url(issuer: &HttpsUrl, described: &[u8]) -> Result<HttpsUrl, KeysError> {
    let url = || issuer.below(DISCOVERY_PATH);
    let Ok(found) = serde_json::from_slice::<Discovery>(described) else {
        return Err(KeysError::Discovery { url: url() });
    };
    // Or one issuer's host could speak for another (OpenID Connect Discovery, 4.3).
    if found.issuer != issuer.as_str() {
        return Err(KeysError::OtherIssuer {
            url: url(),
            found: found.issuer.chars().take(200).collect(),
            expected: issuer.clone(),
        });
    }
    Ok(found.jwks_uri.parse()?)
}

/// Gets an issuer's keys, and for how long they may be kept.
pub async fn keys(issuer: &Issuer) -> Result<(KeySet, Option<Duration>), KeysError> {
    let get = async |url: &HttpsUrl| {
        let fetched = issuer.fetch.fetch(url).await;
        fetched.map_err(|source| KeysError::Fetch {
            url: url.clone(),
            source,
        })
    };
    let url = match &issuer.jwks {
        Some(url) => url.clone(),
        None => {
            let described = get(&issuer.url.below(DISCOVERY_PATH)).await?;
            keys_url(&issuer.url, &described.body)?
        }
    };
    let fetched = get(&url).await?;
    let keys = KeySet::parse(&fetched.body);
    Ok((
        keys.map_err(|source| KeysError::Keys { url, source })?,
        fetched.max_age,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_speaks_for_itself_alone() {
        let issuer: HttpsUrl = "https://a.example.com/realm".parse().unwrap();
        let told =
            |text: &str| keys_url(&issuer, text.as_bytes()).map_err(|error| error.to_string());
        let good = r#"{"issuer":"https://a.example.com/realm","jwks_uri":"https://b.example.com/keys","x":1}"#;
        assert_eq!(told(good).unwrap().as_str(), "https://b.example.com/keys");
        for (text, reason) in [
            ("", "no JSON object"),
            ("[]", "no JSON object"),
            (
                r#"{"issuer":"https://a.example.com/realm"}"#,
                "no JSON object",
            ),
            (&good.replace("/realm", "/realm/"), "have to be equal"),
            (&good.replace("a.example", "c.example"), "have to be equal"),
            (
                &good.replace("https://b", "http://b"),
                "does not begin with https",
            ),
            (
                &good.replace("https://b.example.com", "file://"),
                "does not begin with https",
            ),
        ] {
            let error = told(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
