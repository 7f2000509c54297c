//! A collector of traces, which the operator has named. As such it may be anywhere, and without TLS: on the
//! host itself, as a rule.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::{ANSWER_TIMEOUT, OutboundError, client, trust};
use crate::telemetry::{Collector, SendError};

/// Where traces go below a collector's URL (OTLP 1, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The URL of a collector, such as `http://localhost:4318`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CollectorUrl(Url);

/// Text that is no such URL. It is not said again: there may be a password in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what stands there {0}: use the URL of a collector, such as http://localhost:4318")]
pub struct CollectorUrlError(&'static str);

impl FromStr for CollectorUrl {
    type Err = CollectorUrlError;

    fn from_str(text: &str) -> Result<Self, CollectorUrlError> {
        let error = CollectorUrlError;
        let url = Url::parse(text).map_err(|_| error("is no URL"))?;
        match () {
            () if !["http", "https"].contains(&url.scheme()) => {
                Err(error("is neither http nor https"))
            }
            () if !url.has_host() => Err(error("has no host")),
            () if !url.username().is_empty() || url.password().is_some() => Err(error(
                "has a login in it, which belongs in [telemetry] headers",
            )),
            () if url.query().is_some() || url.fragment().is_some() => {
                Err(error("has a query or a fragment"))
            }
            () => Ok(CollectorUrl(url)),
        }
    }
}

impl TryFrom<String> for CollectorUrl {
    type Error = CollectorUrlError;

    fn try_from(text: String) -> Result<Self, CollectorUrlError> {
        text.parse()
    }
}

impl From<CollectorUrl> for String {
    fn from(url: CollectorUrl) -> String {
        url.0.into()
    }
}

impl CollectorUrl {
    fn traces(&self) -> Url {
        let mut url = self.0.clone();
        let path = format!("{}{TRACES_PATH}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }
}

/// Headers that go with each batch, such as a key: `name=value`, with commas between them. Their values are
/// shown to nobody.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CollectorHeaders(HeaderMap);

/// Text that is no such list.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("number {0} of the headers is none: write name=value, with commas between them")]
pub struct CollectorHeadersError(usize);

impl TryFrom<String> for CollectorHeaders {
    type Error = CollectorHeadersError;

    fn try_from(text: String) -> Result<Self, CollectorHeadersError> {
        let mut headers = HeaderMap::new();
        let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
        for (at, pair) in pairs.enumerate() {
            let read = || {
                let (name, value) = pair.trim().split_once('=')?;
                let mut value: HeaderValue = value.trim().parse().ok()?;
                value.set_sensitive(true);
                Some((name.trim().parse::<HeaderName>().ok()?, value))
            };
            let (name, value) = read().ok_or(CollectorHeadersError(at + 1))?;
            headers.insert(name, value);
        }
        Ok(CollectorHeaders(headers))
    }
}

impl From<CollectorHeaders> for String {
    fn from(headers: CollectorHeaders) -> String {
        let names = headers.0.keys().map(|name| format!("{name}=..."));
        names.collect::<Vec<_>>().join(",")
    }
}

impl fmt::Debug for CollectorHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// Where the collector is.
#[derive(Clone, Debug)]
pub struct CollectorOptions {
    /// Its URL.
    pub url: CollectorUrl,
    /// What goes with each batch.
    pub headers: CollectorHeaders,
    /// A file with the certificates of those who count as authorities, in PEM, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// Sends batches to a collector.
pub struct OutboundCollector {
    url: Url,
    headers: HeaderMap,
    client: Client,
}

impl OutboundCollector {
    /// To the collector that these name.
    pub fn new(options: CollectorOptions) -> Result<Self, OutboundError> {
        let url = options.url.traces();
        let tls = match url.scheme() {
            "https" => trust::tls(options.ca.as_deref())?,
            // No TLS is spoken: whom the system trusts need not be asked.
            _ => trust::of_nobody()?,
        };
        let client = client::builder(tls).timeout(ANSWER_TIMEOUT).build()?;
        Ok(OutboundCollector {
            url,
            headers: options.headers.0,
            client,
        })
    }

    async fn post(&self, batch: Bytes) -> Result<(StatusCode, Bytes), OutboundError> {
        let request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone());
        let request = request
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(batch);
        let mut answer = request.send().await?;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            // What is longer says nothing that is needed.
            if piece.len() > ANSWER_BYTES_MAX - body.len() {
                return Ok((answer.status(), Bytes::new()));
            }
            body.extend_from_slice(&piece);
        }
        Ok((answer.status(), body.into()))
    }
}

#[async_trait]
impl Collector for OutboundCollector {
    async fn send(&self, batch: Bytes) -> Result<Bytes, SendError> {
        match self.post(batch).await {
            Ok((status, body)) if status.is_success() => Ok(body),
            Ok((status, _)) => Err(SendError {
                reason: format!("it answers {status}"),
                // OTLP 1, "Retryable Response Codes".
                is_passing: [429, 502, 503, 504].contains(&status.as_u16()),
            }),
            Err(error) => Err(SendError {
                reason: error.to_string(),
                is_passing: true,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_one_of_a_collector_and_holds_no_secret() {
        for (text, traces) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces"),
            (
                "https://a.example.com/otlp/",
                "https://a.example.com/otlp/v1/traces",
            ),
        ] {
            assert_eq!(
                text.parse::<CollectorUrl>().unwrap().traces().as_str(),
                traces
            );
        }
        for (text, reason) in [
            ("localhost:4318", "neither http nor https"),
            ("collector", "no URL"),
            ("grpc://localhost:4317", "neither http nor https"),
            ("http://me:secret@localhost", "a login in it"),
            ("http://localhost/?secret", "a query"),
        ] {
            let error = text.parse::<CollectorUrl>().unwrap_err().to_string();
            assert!(
                error.contains(reason) && !error.contains("secret"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn headers_are_pairs_whose_values_nobody_sees() {
        let read = |text: &str| CollectorHeaders::try_from(text.to_owned());
        let headers = read("api-key = s3cret=1, x-scope=a").unwrap();
        assert_eq!(headers.0["api-key"], "s3cret=1");
        assert_eq!(headers.0["x-scope"], "a");
        let shown = format!("{headers:?} {}", String::from(headers.clone()));
        assert!(
            shown.contains("api-key") && !shown.contains("s3cret"),
            "{shown}"
        );
        assert_eq!(read("").unwrap(), CollectorHeaders::default());
        for (text, number) in [("s3cret", 1), ("a=b,s3 cret=c", 2), ("a=b,c=\u{1}", 2)] {
            let error = read(text).unwrap_err();
            assert_eq!(error, CollectorHeadersError(number));
            assert!(!error.to_string().contains("s3"), "{error}");
        }
    }
}
