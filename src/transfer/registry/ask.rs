//! One question to a registry, and what the status of its answer means.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use url::Url;

use super::RegistryEnd;
use crate::http::exchange::http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, RETRY_AFTER};
use crate::http::exchange::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use crate::http::exchange::{Body, ExchangeError, Request, Response};
use crate::transfer::error::TransferError;

/// The most of a refusal that is read and shown, in bytes and characters.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
const REFUSAL_CHARS_MAX: usize = 300;

/// So many answers in a row may send on to another.
const REDIRECTS_MAX: usize = 5;

/// The body of a refusal (distribution-spec, "Error Codes").
#[derive(Deserialize)]
struct Refusal {
    errors: Vec<RefusalEntry>,
}

#[derive(Deserialize)]
struct RefusalEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// What a question brings with it.
pub(super) enum Content {
    /// As often as it takes.
    Bytes(Bytes),
    /// Once.
    Stream(Body),
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Content::Bytes(bytes)
    }
}

impl From<Body> for Content {
    fn from(body: Body) -> Self {
        Content::Stream(body)
    }
}

/// A question.
pub(super) struct Ask {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Content,
    /// What it is about, for messages.
    pub what: String,
}

impl Ask {
    pub fn new(method: Method, url: Url, what: impl Into<String>) -> Self {
        Ask {
            method,
            url,
            headers: Vec::new(),
            body: Content::Bytes(Bytes::new()),
            what: what.into(),
        }
    }

    /// The same, if it can be asked twice.
    fn again(&self) -> Option<Self> {
        let Content::Bytes(bytes) = &self.body else {
            return None;
        };
        Some(Ask {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: Content::Bytes(bytes.clone()),
            what: self.what.clone(),
        })
    }

    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        // What comes from a manifest may hold anything; a header that cannot be is left out.
        if let Ok(value) = HeaderValue::try_from(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// With a body of that many bytes.
    pub fn body(mut self, body: Content, length: u64) -> Self {
        self.headers.push((CONTENT_LENGTH, length.into()));
        self.body = body;
        self
    }
}

impl RegistryEnd {
    /// The URL of a path of the API.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    /// Where an answer leads; an error if that is another host.
    pub(super) fn resolve(&self, from: &Url, to: &str, what: &str) -> Result<Url, TransferError> {
        let joined = from.join(to).ok();
        let within = joined.filter(|url| url.origin() == self.base.origin());
        within.ok_or_else(|| TransferError::Refused {
            end: self.name.clone(),
            what: what.to_owned(),
            status: 0,
            message: format!(
                "it leads elsewhere, to {:?}, where nobody goes for it",
                to.chars().take(REFUSAL_CHARS_MAX).collect::<String>()
            ),
        })
    }

    /// Sends a question as it is.
    pub(super) async fn send(&self, ask: Ask) -> Result<Response, TransferError> {
        let url = &ask.url;
        let mut request = Request::new(match ask.body {
            Content::Bytes(bytes) => Body::from(bytes),
            Content::Stream(body) => body,
        });
        *request.method_mut() = ask.method;
        *request.uri_mut() = url
            .as_str()
            .parse()
            .map_err(|_| TransferError::Unusable(format!("{url} cannot be asked: it is no URI")))?;
        request.headers_mut().extend(ask.headers);
        let sent = self.exchange.ask(request).await;
        sent.map_err(|error| match error {
            ExchangeError::Broken(reason) => self.broken(reason),
            ExchangeError::Gone(reason) => TransferError::Gone {
                end: self.name.clone(),
                reason,
            },
        })
    }

    /// Asks as whoever the registry wants us to be, and gives any answer.
    pub(super) async fn exchange(&self, mut ask: Ask) -> Result<Response, TransferError> {
        let again = ask.again();
        if let Some(authorization) = self.authorization(&ask.url).await? {
            ask.headers.push((AUTHORIZATION, authorization));
        }
        let url = ask.url.clone();
        let answer = self.send(ask).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || !self.learn(&url, &answer) {
            return Ok(answer);
        }
        let Some(mut again) = again else {
            // A token has come to its end. Whoever sends a stream begins again.
            return Err(self.broken("the login is over".to_owned()));
        };
        match self.authorization(&url).await? {
            None => Ok(answer),
            Some(authorization) => {
                again.headers.push((AUTHORIZATION, authorization));
                self.send(again).await
            }
        }
    }

    /// Asks, and gives the answer if it has one of these statuses.
    pub(super) async fn ask(
        &self,
        ask: Ask,
        expected: &[StatusCode],
    ) -> Result<Response, TransferError> {
        let what = ask.what.clone();
        let answer = self.exchange(ask).await?;
        match expected.contains(&answer.status()) {
            true => Ok(answer),
            false => Err(self.refusal(answer, what).await),
        }
    }

    /// As [`RegistryEnd::ask`], and follows where an answer sends us on, which learns nothing of us.
    pub(super) async fn fetch(
        &self,
        mut ask: Ask,
        expected: &[StatusCode],
    ) -> Result<Response, TransferError> {
        for _ in 0..REDIRECTS_MAX {
            let (again, what, url) = (ask.again(), ask.what.clone(), ask.url.clone());
            let answer = self.exchange(ask).await?;
            match (self.redirected(&url, &answer, &what)?, again) {
                (Some(to), Some(mut again)) => {
                    again.url = to;
                    ask = again;
                }
                _ if expected.contains(&answer.status()) => return Ok(answer),
                _ => return Err(self.refusal(answer, what).await),
            }
        }
        Err(self.broken(format!(
            "more than {REDIRECTS_MAX} answers send on to another"
        )))
    }

    /// What an answer means that nobody wanted.
    pub(super) async fn refusal(&self, answer: Response, what: String) -> TransferError {
        let (end, status) = (self.name.clone(), answer.status());
        let wait = retry_after(answer.headers());
        let message = self.said(answer).await;
        match status {
            StatusCode::NOT_FOUND => TransferError::Missing { end, what },
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => TransferError::Busy {
                end,
                what,
                status: status.as_u16(),
                message,
                wait,
            },
            _ => TransferError::Refused {
                end,
                what,
                status: status.as_u16(),
                message,
            },
        }
    }

    /// What a refusal says, without what a terminal would take for more than text.
    pub(super) async fn said(&self, answer: Response) -> String {
        let body = self.gather(answer, REFUSAL_BYTES_MAX, "the refusal").await;
        let body = body.unwrap_or_default();
        let refusal = serde_json::from_slice::<Refusal>(&body);
        let said = match refusal.ok().and_then(|it| it.errors.into_iter().next()) {
            Some(RefusalEntry { code, message }) => match message {
                Some(message) if !message.is_empty() => message,
                _ => code,
            },
            None => String::from_utf8_lossy(&body).trim().to_owned(),
        };
        let shown = said.chars().filter(|char| !char.is_control());
        match shown.take(REFUSAL_CHARS_MAX).collect::<String>() {
            nothing if nothing.is_empty() => "no reason was given".to_owned(),
            shown => shown,
        }
    }

    /// The body of an answer, if it has at most that many bytes.
    pub(super) async fn gather(
        &self,
        answer: Response,
        bytes_max: usize,
        what: &str,
    ) -> Result<Vec<u8>, TransferError> {
        let mut pieces = answer.into_body().into_data_stream();
        let mut gathered = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.broken(format!("{what} broke off: {error}")))?;
            if piece.len() > bytes_max - gathered.len() {
                return Err(TransferError::Damaged {
                    end: self.name.clone(),
                    what: what.to_owned(),
                    reason: format!("it has more than the {bytes_max} bytes that are taken"),
                });
            }
            gathered.extend_from_slice(&piece);
        }
        Ok(gathered)
    }

    pub(super) fn broken(&self, reason: String) -> TransferError {
        TransferError::Broken {
            end: self.name.clone(),
            reason,
        }
    }

    /// Where an answer says that something is to be found.
    pub(super) fn location(
        &self,
        asked: &Url,
        answer: &Response,
        what: &str,
    ) -> Result<Url, TransferError> {
        let location = text(answer.headers(), LOCATION);
        let location = location.ok_or_else(|| TransferError::Damaged {
            end: self.name.clone(),
            what: what.to_owned(),
            reason: "the answer has no Location".to_owned(),
        })?;
        self.resolve(asked, location, what)
    }
}

/// The value of a header that is a text.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// How long to wait, where it is said in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = text(headers, RETRY_AFTER)?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
