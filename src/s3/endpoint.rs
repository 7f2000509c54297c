//! From a request of HTTP to an operation and back: who comes, whether it is one too many, what is refused
//! unread, and what is written down of it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, EXPECT, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use tracing::Instrument;

use super::audit;
use super::caller::Caller;
use super::chunks::Chunks;
use super::error;
use super::hosts::Hosts;
use super::service::ObjectStore;
use super::strict;
use super::xml;
use crate::audit::AuditLog;
use crate::auth::{ClientCertificate, Identity};
use crate::http::body::content_length;
use crate::http::metrics::Limit;
use crate::http::transport::Peer;
use crate::http::{Limits, Metrics, OriginOptions, Surface, observed};
use crate::spans::span;

/// What the content of a body is said to be that comes in pieces nobody signed.
const UNSIGNED_PIECES: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// What the endpoint is made of.
pub struct S3Options {
    /// What the operations work on.
    pub store: ObjectStore,
    /// How many requests a client may send.
    pub limits: Arc<Limits>,
    /// Where clients are.
    pub origin: Arc<OriginOptions>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where it is written down who did what; `None`: nowhere.
    pub audit: Option<AuditLog>,
    /// The hosts below which names are those of buckets.
    pub hosts: Hosts,
}

#[derive(Clone)]
struct Endpoint {
    store: ObjectStore,
    service: S3Service,
    limits: Arc<Limits>,
    origin: Arc<OriginOptions>,
    metrics: Arc<Metrics>,
    audit: Option<AuditLog>,
    hosts: Hosts,
}

/// The endpoint, alone on a port.
pub fn router(options: S3Options) -> Router {
    let mut builder = S3ServiceBuilder::new(options.store.clone());
    let mut config = S3Config::default();
    config.xml_max_body_size = xml::BYTES_MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(options.store.clone());
    builder.set_access(options.store.clone());
    if !options.hosts.is_empty() {
        builder.set_host(options.hosts.clone());
    }
    let metrics = options.metrics.clone();
    let endpoint = Endpoint {
        store: options.store,
        service: builder.build(),
        limits: options.limits,
        origin: options.origin,
        metrics: options.metrics,
        audit: options.audit,
        hosts: options.hosts,
    };
    let router = Router::new().fallback(serve).with_state(endpoint);
    observed(router, metrics, Surface::S3)
}

async fn serve(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let from = endpoint
        .origin
        .client(&parts.headers, parts.extensions.get::<Peer>().copied());
    let about = audit::About::of(&parts, endpoint.hosts.place(&parts), from);
    // A body of no bytes needs no "100 Continue", and gets its answer at once. botocore takes the status of
    // such an answer for that of the next one on the connection as well, and waits for a minute.
    let is_last = parts.headers.contains_key(EXPECT)
        && parts
            .headers
            .get(CONTENT_LENGTH)
            .is_some_and(|it| it == "0")
        && parts.version < Version::HTTP_2;
    let (mut answer, caller) = match endpoint.admit(&parts, from).await {
        Ok((caller, key)) => {
            let answer = endpoint.answer(parts, body, &caller, key, from).await;
            (answer, Some(caller))
        }
        Err(error) => (refusal(error), None),
    };
    if let Some(log) = &endpoint.audit
        && let Some(event) = about.event(log, caller.as_ref(), &answer)
    {
        log.record(event).await;
    }
    if is_last {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    answer
}

impl Endpoint {
    /// Whoever sends the request, and the access key that it is said to be signed with.
    async fn admit(
        &self,
        parts: &Parts,
        from: Option<IpAddr>,
    ) -> S3Result<(Caller, Option<String>)> {
        let counted = self.limits.count_from(from);
        counted.map_err(|wait| self.too_many(Limit::requests_by_address, wait))?;
        let key = strict::access_key(parts, &self.store.region)?;
        // `s3s` stops there as well, but takes it for an error of its own.
        let length = content_length(&parts.headers);
        if parts.method == Method::POST && length.is_some_and(|it| it > xml::BYTES_MAX as u64) {
            return Err(s3_error!(
                MaxMessageLengthExceeded,
                "a body in XML has {} bytes at most",
                xml::BYTES_MAX
            ));
        }
        let auth = &self.store.auth;
        let identity = match &key {
            Some(key) => match auth.access_key(key) {
                Some((_, identity)) => identity,
                None => return Err(self.bad_signature(key, from, error::unknown_key())),
            },
            None => {
                let certificate = parts.extensions.get::<Arc<ClientCertificate>>();
                let known = match certificate {
                    Some(certificate) => auth.check_certificate(certificate),
                    None => auth.check(None, from).await,
                };
                known.map_err(|_| error::denied())?
            }
        };
        let counted = {
            let endpoint = self.clone();
            move |identity: &Identity| {
                let counted = endpoint.limits.count_by(identity);
                counted.map_err(|wait| endpoint.too_many(Limit::requests_by_account, wait))
            }
        };
        Ok((Caller::new(identity, key.is_some(), counted), key))
    }

    /// Counts a signature that is none, and answers `error`, or that it was one too many from there. One
    /// that is good is never kept waiting by others that are not.
    fn bad_signature(&self, key: &str, from: Option<IpAddr>, error: S3Error) -> S3Error {
        self.metrics.login(false);
        match self.store.auth.admit_bad_signature(from) {
            Ok(()) => {
                self.store.auth.signed(key, from, false);
                error
            }
            Err(wait) => self.too_many(Limit::bad_logins, wait),
        }
    }

    fn too_many(&self, limit: Limit, wait: std::time::Duration) -> S3Error {
        self.metrics.refused(limit);
        let mut error = s3_error!(SlowDown, "too many requests; come back later");
        let mut headers = axum::http::HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        error.set_headers(headers);
        error
    }

    async fn answer(
        &self,
        mut parts: Parts,
        body: Body,
        caller: &Caller,
        key: Option<String>,
        from: Option<IpAddr>,
    ) -> Response {
        parts.extensions.insert(caller.clone());
        let pieces = parts.headers.get("x-amz-content-sha256");
        let pieces = pieces.and_then(|it| it.to_str().ok());
        let pieces = pieces.filter(|it| it.starts_with("STREAMING-"));
        let (_, key_of_object) = self.hosts.place(&parts);
        let (body, outcome) = match pieces {
            _ if xml::is_expected(&parts, key_of_object) => match xml::watch(&parts, body).await {
                Ok((body, outcome)) => (body, Some(outcome)),
                Err(error) => return refusal(error),
            },
            None => (body, None),
            Some(pieces) => {
                let frames = body.into_data_stream().map_err(axum::Error::into_inner);
                let chunks = Chunks::new(frames, pieces != UNSIGNED_PIECES);
                (Body::from_stream(chunks), None)
            }
        };
        let body = s3s::Body::http_body_unsync(body);
        let request = axum::http::Request::from_parts(parts, body);
        let operation = span!("s3", rpc.method = tracing::field::Empty);
        let answered = self
            .service
            .call(request)
            .instrument(operation.clone())
            .await;
        operation.record("rpc.method", caller.noted().operation);
        // `s3s` takes what is wrong with a body in XML for an error of its own.
        if let Some(error) = outcome.and_then(|outcome| outcome.error()) {
            return refusal(error);
        }
        let answer = match answered {
            Ok(answer) => into_response(answer),
            Err(error) => {
                let error: s3s::StdError = error.into();
                refusal(error::internal(anyhow::Error::from_boxed(error)))
            }
        };
        if let Some(key) = key {
            if caller.noted().operation.is_some() {
                self.store.auth.signed(&key, from, true);
                self.metrics.login(true);
            } else if audit::Refused::is(&answer, S3ErrorCode::SignatureDoesNotMatch) {
                // What is refused for another reason, such as a link that has ended, says nothing of it.
                let error = s3_error!(SignatureDoesNotMatch, "the signature is not this request's");
                return refusal(self.bad_signature(&key, from, error));
            }
        }
        answer
    }
}

fn into_response(answer: s3s::HttpResponse) -> Response {
    let (mut parts, body) = answer.into_parts();
    // The status of an answer to HeadObject is lost in `s3s`.
    if parts.status == StatusCode::OK && parts.headers.contains_key(CONTENT_RANGE) {
        parts.status = StatusCode::PARTIAL_CONTENT;
    }
    let refused = audit::Refused::of(parts.status, &body);
    parts.extensions.insert(refused);
    if parts.status == StatusCode::NOT_MODIFIED {
        parts.headers.remove(CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::new(body))
}

/// The answer to a request that is not served.
fn refusal(error: S3Error) -> Response {
    match error.to_http_response() {
        Ok(answer) => into_response(answer),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
