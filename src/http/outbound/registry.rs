//! A registry elsewhere, which the operator has named.
//!
//! The host that they named may be anywhere, for they may ask it anyhow. Where that host sends us on its own
//! account (a store of blobs, a maker of tokens) has to be public, or in a network that they named.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body::Body as _;
use reqwest::{Client, Url};

use super::resolver::Resolver;
use super::{OutboundError, OutboundOptions, check_literal, client, trust};
use crate::http::error::causes;
use crate::http::exchange::{Body, Exchange, ExchangeError, Request, Response};

/// How long an answer may stand still.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A registry elsewhere.
pub struct OutboundRegistry {
    host: String,
    options: OutboundOptions,
    /// Whether anything may be asked without TLS.
    allows_plain: bool,
    named: Client,
    elsewhere: Client,
}

impl OutboundRegistry {
    /// The one at that host, and whoever it sends us to.
    pub fn new(
        host: &str,
        options: OutboundOptions,
        allows_plain: bool,
    ) -> Result<Self, OutboundError> {
        let tls = trust::tls(options.ca.as_deref())?;
        let resolver = Arc::new(Resolver {
            private: options.private_networks.clone(),
        });
        let builder = || client::builder(tls.clone()).read_timeout(READ_TIMEOUT);
        Ok(OutboundRegistry {
            host: host.to_owned(),
            allows_plain,
            named: builder().build()?,
            elsewhere: builder().dns_resolver(resolver).build()?,
            options,
        })
    }

    async fn send(&self, request: Request) -> Result<Response, OutboundError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())
            .map_err(|error| OutboundError::Url(error.to_string()))?;
        if url.scheme() != "https" && !(self.allows_plain && url.scheme() == "http") {
            return Err(OutboundError::Plain(url.to_string()));
        }
        let client = match url.host_str() == Some(&self.host) {
            true => &self.named,
            false => {
                check_literal(&url, &self.options.private_networks)?;
                &self.elsewhere
            }
        };
        let mut asked = client.request(parts.method, url).headers(parts.headers);
        if !body.is_end_stream() {
            asked = asked.body(reqwest::Body::wrap_stream(body.into_data_stream()));
        }
        let answer = axum::http::Response::from(asked.send().await?);
        Ok(answer.map(Body::new))
    }
}

#[async_trait]
impl Exchange for OutboundRegistry {
    async fn ask(&self, request: Request) -> Result<Response, ExchangeError> {
        let sent = self.send(request).await;
        sent.map_err(|error| ExchangeError::Broken(causes(&error)))
    }
}
