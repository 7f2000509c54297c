//! What the audit log is told of a request.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;

use s3s::S3ErrorCode;

use super::caller::Caller;
use crate::audit::{AuditLog, Detail, Event, Verdict};
use crate::auth::policy::OBJECTS_PREFIX;
use crate::http::RequestId;

/// What an answer that refuses says, as an extension of it.
#[derive(Clone, Debug)]
pub struct Refused(Option<(String, String)>);

impl Refused {
    /// Code and message of an answer's body.
    pub fn of(status: StatusCode, body: &s3s::Body) -> Self {
        let text = body.bytes().filter(|_| !status.is_success());
        let text = text.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        Refused(text.and_then(|text| {
            let code = element(&text, "Code")?;
            let message = element(&text, "Message").unwrap_or_default();
            Some((code, message))
        }))
    }
}

impl Refused {
    /// Whether an answer refuses with that code.
    pub fn is(answer: &Response, wanted: S3ErrorCode) -> bool {
        let refused = answer.extensions().get::<Refused>();
        refused.is_some_and(|Refused(said)| {
            said.as_ref()
                .is_some_and(|(code, _)| code == wanted.as_str())
        })
    }
}

fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner.to_owned())
}

/// What the head of a request says.
pub struct About {
    request: Option<String>,
    from: Option<String>,
    object: String,
    is_change: bool,
    has_credentials: bool,
}

impl About {
    /// That of a request for that bucket and key.
    pub fn of(parts: &Parts, (bucket, key): (&str, &str), from: Option<IpAddr>) -> Self {
        let decode = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy();
        let object = match key {
            "" => decode(bucket).into_owned(),
            key => format!("{}/{}", decode(bucket), decode(key)),
        };
        let id = parts.extensions.get::<RequestId>();
        let query = parts.uri.query().unwrap_or_default();
        About {
            request: id.map(|RequestId(id)| id.to_string()),
            from: from.map(|from| from.to_string()),
            object: format!("{OBJECTS_PREFIX}{object}"),
            is_change: !matches!(parts.method, Method::GET | Method::HEAD),
            has_credentials: parts.headers.contains_key("authorization")
                || query.contains("X-Amz-Signature"),
        }
    }

    /// What the log is to be told of it, if anything.
    pub fn event(
        self,
        log: &AuditLog,
        caller: Option<&Caller>,
        answer: &Response,
    ) -> Option<Event> {
        let status = answer.status();
        let is_refusal = matches!(
            status,
            StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED | StatusCode::TOO_MANY_REQUESTS
        );
        let is_done = self.is_change && (status.is_success() || status.is_server_error());
        if !is_refusal && !is_done && log.detail() != Detail::Everything {
            return None;
        }
        let noted = caller.map(Caller::noted).unwrap_or_default();
        // Who it is said to be counts once the signature is good.
        let who = match (&noted.operation, caller) {
            (Some(_), Some(caller)) => caller.identity().to_string(),
            _ if self.has_credentials => "unknown".to_owned(),
            _ => "anonymous".to_owned(),
        };
        let action = match (noted.action, noted.operation) {
            (Some(action), _) => action.to_string(),
            (None, Some(operation)) => operation,
            (None, None) if self.has_credentials => "login".to_owned(),
            (None, None) => "other".to_owned(),
        };
        let verdict = match is_refusal {
            true => Verdict::Deny,
            false => Verdict::Allow,
        };
        let mut event = Event::new(who, action, verdict);
        event.request = self.request;
        event.from = self.from;
        event.object = Some("object".to_owned());
        event.reference = Some(self.object);
        event.status = Some(status.as_u16());
        event.reason = match (noted.decision, answer.extensions().get::<Refused>()) {
            (Some(decision), _) if decision.allowed != is_refusal => {
                Some(decision.reason.to_string())
            }
            (_, Some(Refused(Some((code, message))))) => Some(format!("{code}: {message}")),
            _ => None,
        };
        Some(event)
    }
}
