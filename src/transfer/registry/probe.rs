//! Questions of somebody who wants to see the answers themselves.

use url::Url;

use super::RegistryEnd;
use super::ask::Ask;
use crate::http::exchange::http::header::WWW_AUTHENTICATE;
use crate::http::exchange::http::{HeaderMap, HeaderName, HeaderValue, Method};
use crate::http::exchange::{Body, Response};
use crate::transfer::error::TransferError;

/// A question as it is to be sent.
pub struct Probe {
    /// Its method.
    pub method: Method,
    /// A path of the API, or a URL as an answer gave it.
    pub path: String,
    /// Its headers, but for the login.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its body, which is sent once.
    pub body: Option<Body>,
}

impl Probe {
    /// One without headers and a body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Probe {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// With a header.
    pub fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body.
    pub fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }
}

impl RegistryEnd {
    /// Scheme, host and port of the registry, as it was named.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Whether there is a name to tell it.
    pub fn has_login(&self) -> bool {
        self.authorizer.as_ref().is_some_and(|it| it.has_login())
    }

    /// The answer to a question, whatever it is, without telling who asks.
    pub async fn probe(&self, probe: Probe) -> Result<Response, TransferError> {
        self.send(self.asked(probe)?).await
    }

    /// The answer to a question, whatever it is, as whoever the registry wants us to be.
    pub async fn probe_as_ourselves(&self, probe: Probe) -> Result<Response, TransferError> {
        self.exchange(self.asked(probe)?).await
    }

    /// The text of an answer, cut to what is bearable, without what a terminal would take for more than that.
    pub async fn text_of(&self, answer: Response) -> String {
        self.said(answer).await
    }

    /// The body of an answer, if it has at most that many bytes.
    pub async fn body_of(
        &self,
        answer: Response,
        bytes_max: usize,
    ) -> Result<Vec<u8>, TransferError> {
        self.gather(answer, bytes_max, "the answer").await
    }

    fn asked(&self, probe: Probe) -> Result<Ask, TransferError> {
        let what = format!("{} {}", probe.method, probe.path);
        let url = self.resolve(&self.base, &probe.path, &what)?;
        let mut ask = Ask::new(probe.method, url, what);
        ask.headers = probe.headers;
        if let Some(body) = probe.body {
            ask.body = body.into();
        }
        Ok(ask)
    }
}

/// A way to log in that an answer names: the scheme, and the realm where tokens are made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Such as `Bearer`.
    pub scheme: String,
    /// What its parameter `realm` says.
    pub realm: Option<String>,
}

/// The ways to log in that the headers of a 401 name.
pub fn challenges(headers: &HeaderMap) -> Vec<Asked> {
    let lines = headers.get_all(WWW_AUTHENTICATE).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| http_auth::parse_challenges(line).unwrap_or_default())
        .map(|challenge| {
            let mut parameters = challenge.params.iter();
            let realm = parameters.find(|it| it.0.eq_ignore_ascii_case("realm"));
            Asked {
                scheme: challenge.scheme.to_owned(),
                realm: realm.map(|(_, value)| value.to_unescaped()),
            }
        })
        .collect()
}
