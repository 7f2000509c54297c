//! Requests that go out from here: to hosts that prove who they are, at addresses that are public or named
//! by the operator, for answers of bounded size and time.
//!
//! * `address`: which addresses are public; `resolver`: from a name to those that may be connected to
//! * `trust`: whose certificates count; `client`: the one place where clients are made
//! * `registry`, `collector`: registries and collectors of traces that an operator names, by rules of their own;
//!   `own`: our own listener
//! * `shown`: the certificates that a server shows, whoever signed them
//!
//! No redirect is followed: it would be a URL of somebody else's choosing. No proxy of the environment is
//! used: it would look names up itself, where nobody checks what comes of it.

mod address;
mod client;
mod collector;
mod own;
mod registry;
mod resolver;
mod shown;
mod trust;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::{Client, StatusCode, Url};
use tokio_rustls::rustls;

use super::error::causes;
use crate::auth::issuers::{Fetch, FetchError, Fetched, HttpsUrl};

pub use collector::{CollectorHeaders, CollectorOptions, CollectorUrl, OutboundCollector};
pub use own::OwnListener;
pub use registry::OutboundRegistry;
use resolver::{NotPublic, Resolver};
pub use shown::shown_certificates;
pub use trust::check_server;

/// How long a whole answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Who is asked, and who is believed.
#[derive(Clone, Debug, Default)]
pub struct OutboundOptions {
    /// A file with the certificates of those who count as authorities, in PEM, in place of the system's.
    pub ca: Option<PathBuf>,
    /// Networks that are not public and may be connected to all the same.
    pub private_networks: Vec<IpNet>,
}

/// Asks hosts elsewhere.
#[derive(Debug)]
pub struct Outbound {
    options: OutboundOptions,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// It is no URL.
    #[error("this is no URL: {0}")]
    Url(String),
    /// The host is not public.
    #[error(transparent)]
    NotPublic(#[from] NotPublic),
    /// The file of authorities.
    #[error("cannot use the certificates in {}: {reason}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It would go without TLS.
    #[error("{0} is without TLS, and plain HTTP was not asked for (--plain-http)")]
    Plain(String),
    /// There is nobody at the address, or no such host.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// TLS cannot be spoken.
    #[error("TLS cannot be spoken: {0}")]
    Tls(rustls::Error),
    /// The client could not be made, or the exchange failed.
    #[error("{}", causes(.0))]
    Exchange(#[from] reqwest::Error),
    /// The answer is not what was asked for.
    #[error("the answer is {0}, and redirects are not followed")]
    Status(StatusCode),
    /// The answer does not end.
    #[error("the answer has more than the {ANSWER_BYTES_MAX} bytes that are taken")]
    TooLong,
    /// A thread was lost.
    #[error("the certificates were not read: {0}")]
    Lost(#[from] tokio::task::JoinError),
}

impl OutboundError {
    fn ca(path: &Path, reason: impl ToString) -> Self {
        OutboundError::Ca {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl Outbound {
    /// With these options.
    pub fn new(options: OutboundOptions) -> Self {
        Outbound { options }
    }

    /// Whether the file of authorities can be used.
    pub fn check(&self) -> Result<(), OutboundError> {
        match &self.options.ca {
            None => Ok(()),
            ca => trust::tls(ca.as_deref()).map(drop),
        }
    }

    /// A client made anew, so that a file of authorities that was replaced counts, and no connection
    /// outlives what it was checked for.
    async fn client(&self) -> Result<Client, OutboundError> {
        let ca = self.options.ca.clone();
        let tls = tokio::task::spawn_blocking(move || trust::tls(ca.as_deref())).await??;
        let client = client::builder(tls)
            .https_only(true)
            .pool_max_idle_per_host(0)
            .timeout(ANSWER_TIMEOUT)
            .dns_resolver(Arc::new(Resolver {
                private: self.options.private_networks.clone(),
            }));
        Ok(client.build()?)
    }

    /// What is at a URL.
    async fn get(&self, url: &HttpsUrl) -> Result<Fetched, OutboundError> {
        let url =
            Url::parse(url.as_str()).map_err(|error| OutboundError::Url(error.to_string()))?;
        check_literal(&url, &self.options.private_networks)?;
        let request = self
            .client()
            .await?
            .get(url)
            .header(ACCEPT, "application/json");
        let mut answer = request.send().await?;
        if answer.status() != StatusCode::OK {
            return Err(OutboundError::Status(answer.status()));
        }
        let max_age = max_age(answer.headers());
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            if piece.len() > ANSWER_BYTES_MAX - body.len() {
                return Err(OutboundError::TooLong);
            }
            body.extend_from_slice(&piece);
        }
        Ok(Fetched { body, max_age })
    }
}

/// A host that is an address is never looked up, so that the resolver would not see it. It is taken
/// from the URL as it is connected to, where `0x7f.1` has become `127.0.0.1`.
fn check_literal(url: &Url, private: &[IpNet]) -> Result<(), OutboundError> {
    let host = url.host_str().unwrap_or_default();
    let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() else {
        return Ok(());
    };
    match address::is_permitted(address, private) {
        true => Ok(()),
        false => Err(OutboundError::NotPublic(NotPublic {
            host: host.to_owned(),
            address,
        })),
    }
}

/// For how long an answer may be kept (RFC 9111, 5.2.2). What may not be kept is old at once.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut shortest = None;
    for line in headers.get_all(CACHE_CONTROL) {
        for directive in line.to_str().unwrap_or_default().split(',') {
            let directive = directive.trim().to_ascii_lowercase();
            let seconds = match directive.split_once('=') {
                Some(("max-age", seconds)) => seconds.trim_matches('"').parse().ok(),
                None if directive == "no-store" || directive == "no-cache" => Some(0),
                _ => None,
            };
            shortest = match (shortest, seconds) {
                (Some(one), Some(other)) => Some(u64::min(one, other)),
                (one, other) => one.or(other),
            };
        }
    }
    shortest.map(Duration::from_secs)
}

#[async_trait]
impl Fetch for Outbound {
    async fn fetch(&self, url: &HttpsUrl) -> Result<Fetched, FetchError> {
        Ok(self.get(url).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_age_that_is_said_counts() {
        for (lines, seconds) in [
            (&[][..], None),
            (&["public"], None),
            (&["max-age=600"], Some(600)),
            (&["public, Max-Age=\"600\", must-revalidate"], Some(600)),
            (&["max-age=600", "max-age=60"], Some(60)),
            (&["max-age=600, no-store"], Some(0)),
            (&["max-age=x"], None),
            (&["max-age=99999999999999999999"], None),
            (&["s-maxage=5"], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_CONTROL, line.parse().unwrap());
            }
            assert_eq!(
                max_age(&headers),
                seconds.map(Duration::from_secs),
                "{lines:?}"
            );
        }
    }

    #[tokio::test]
    async fn addresses_that_are_not_public_are_refused_however_they_are_written() {
        let outbound = Outbound::new(OutboundOptions::default());
        for host in [
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "127.1",
            "169.254.169.254",
            "0xA9FEA9FE",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::7f00:1]",
            "[fd00:ec2::254]",
            "0.0.0.0",
            "10.0.0.1",
            "localhost",
            "LOCALHOST",
        ] {
            let url = format!("https://{host}:1/keys").parse().unwrap();
            let error = outbound.get(&url).await.unwrap_err().to_string();
            assert!(error.contains("not public"), "{host}: {error}");
        }
    }

    #[tokio::test]
    async fn a_file_of_authorities_that_holds_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let outbound = Outbound::new(OutboundOptions {
            ca: Some(path.clone()),
            ..OutboundOptions::default()
        });
        for content in [
            None,
            Some(""),
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = outbound.check().unwrap_err().to_string();
            assert!(error.contains("ca.pem"), "{error}");
        }
    }
}
