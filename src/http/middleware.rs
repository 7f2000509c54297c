//! Around every request: an id, one line in the log, and an answer even to a panic.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::FutureExt;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use super::error::ApiError;
use super::metrics::Metrics;
use super::router::{Route, RouteError};
use super::trace::{Asked, RequestSpan};
use super::transport::Peer;

/// The header that names a request in its answer, as the log does.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header with the digest of what an answer is about (distribution-spec, "Pulling blobs").
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Which API a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// The registry's, with what stands beside it.
    Registry,
    /// The S3 endpoint's, whose paths are names of buckets and keys.
    S3,
    /// The page's and the management API's.
    Page,
}

/// The router with all that is around every request.
pub fn observed(router: Router, metrics: Arc<Metrics>, surface: Surface) -> Router {
    let observer = (metrics, surface);
    router.layer(axum::middleware::from_fn_with_state(observer, observe))
}

/// What the path of a request came to, as an extension of the request.
pub type Target = Result<Route, RouteError>;

/// Who asked, as an extension of the answer.
#[derive(Clone, Debug)]
pub struct Actor(pub String);

/// The id of a request, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct RequestId(pub Uuid);

/// Longest path in the log, in characters. A longer one is cut.
const PATH_CHARS_MAX: usize = 512;

/// Gives the request an id, reads its path, runs it, and logs it when its answer has ended.
async fn observe(
    State((metrics, surface)): State<(Arc<Metrics>, Surface)>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = Uuid::new_v4();
    let target: Option<Target> = match surface {
        Surface::Registry => Some(Route::parse(request.uri().path())),
        Surface::S3 | Surface::Page => None,
    };
    let received = Arc::new(AtomicU64::new(0));
    let mut record = Record::new(
        id,
        &request,
        target.as_ref().and_then(|target| target.as_ref().ok()),
        surface,
        received.clone(),
        metrics,
    );
    if let Some(target) = target {
        request.extensions_mut().insert(target);
    }
    request.extensions_mut().insert(RequestId(id));
    let is_head = request.method() == Method::HEAD;
    let request = request.map(|body| {
        Body::new(Counted {
            inner: body,
            bytes: received,
        })
    });
    let span = tracing::info_span!("request", %id, trace_id = record.trace.trace_id);
    let work = next.run(request).instrument(record.trace.span());
    let mut response = AssertUnwindSafe(work.instrument(span.clone()))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            // The panic itself was printed by the hook.
            span.in_scope(|| ApiError::internal(anyhow::anyhow!("panicked")).into_response())
        });
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    record.answered(&response);
    if is_head {
        return without_body(response, record);
    }
    response.map(|body| {
        Body::new(Logged {
            inner: body,
            record,
        })
    })
}

/// The answer to a HEAD: the headers of the GET, its length among them, and no body
/// (RFC 9110, 9.3.2). hyper leaves the body out by itself, but in HTTP/1 alone.
fn without_body(mut response: Response, mut record: Record) -> Response {
    use axum::http::header::CONTENT_LENGTH;
    if let Some(length) = response.body().size_hint().exact()
        && !response.headers().contains_key(CONTENT_LENGTH)
        && response.status() != StatusCode::NOT_MODIFIED
        && response.status() != StatusCode::NO_CONTENT
    {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    record.ended = true;
    response.map(|_| Body::empty())
}

/// What the log says of a request.
struct Record {
    id: Uuid,
    began: Instant,
    peer: Option<Peer>,
    method: Method,
    path: String,
    repository: Option<String>,
    digest: Option<String>,
    /// `user:alice`; absent where there is no login, or none that is known.
    who: Option<String>,
    is_probe: bool,
    route: &'static str,
    metrics: Arc<Metrics>,
    /// Absent when the client left before there was an answer.
    status: Option<StatusCode>,
    received: Arc<AtomicU64>,
    sent: u64,
    ended: bool,
    trace: RequestSpan,
}

impl Record {
    fn new(
        id: Uuid,
        request: &Request,
        route: Option<&Route>,
        surface: Surface,
        received: Arc<AtomicU64>,
        metrics: Arc<Metrics>,
    ) -> Self {
        // The path alone: a query can hold what is nobody's business.
        let path = request.uri().path();
        let path: String = path.chars().take(PATH_CHARS_MAX).collect();
        let repository = route.and_then(|route| Some(route.repository()?.to_string()));
        let is_probe = route.is_some_and(Route::is_probe);
        let label = match surface {
            Surface::Registry => route.map_or("none", Route::kind),
            Surface::S3 => "s3",
            Surface::Page => "page",
        };
        let asked = Asked {
            id,
            route: label,
            path: &path,
            repository: repository.as_deref(),
        };
        Record {
            id,
            began: Instant::now(),
            peer: request.extensions().get().copied(),
            method: request.method().clone(),
            // A probe every second would be most of the traces as well.
            trace: match is_probe {
                true => RequestSpan::none(),
                false => RequestSpan::begin(request, &asked),
            },
            path,
            repository,
            digest: route.and_then(|route| Some(route.digest()?.to_string())),
            who: None,
            is_probe,
            route: label,
            metrics,
            status: None,
            received,
            sent: 0,
            ended: false,
        }
    }

    fn answered(&mut self, response: &Response) {
        self.status = Some(response.status());
        let has_body = self.method != Method::HEAD && !response.body().is_end_stream();
        self.trace.answered(response.status(), has_body);
        if let Some(limit) = response.extensions().get() {
            self.metrics.refused(*limit);
        }
        self.who = response.extensions().get().map(|Actor(who)| who.clone());
        // What a tag stands for, and what an upload came to, only the answer knows.
        if self.digest.is_none()
            && let Some(digest) = response.headers().get(CONTENT_DIGEST)
        {
            self.digest = digest.to_str().ok().map(str::to_owned);
        }
    }
}

impl Drop for Record {
    /// The one line of the request. It is written when the record goes, so that a client which
    /// left, and a transfer that was cut off, are in the log as well.
    fn drop(&mut self) {
        let received = self.received.load(Ordering::Relaxed);
        let took = self.began.elapsed();
        self.metrics
            .request(self.route, &self.method, self.status, took);
        self.metrics.bytes(received, self.sent);
        self.trace.end(received, self.sent, !self.ended);
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    id = %self.id,
                    trace_id = self.trace.trace_id,
                    peer = self.peer.map(|peer| tracing::field::display(peer.0)),
                    method = %self.method,
                    path = self.path,
                    repository = self.repository,
                    digest = self.digest,
                    who = self.who,
                    status = self.status.map(|status| status.as_u16()),
                    bytes_in = received,
                    bytes_out = self.sent,
                    duration_ms = took.as_micros() as f64 / 1000.0,
                    cut_off = (!self.ended).then_some(true),
                    "request"
                )
            };
        }
        // A probe every second would be most of the log of a quiet registry.
        match self.is_probe {
            true => log!(debug),
            false => log!(info),
        }
    }
}

/// The body of a request, counted.
struct Counted {
    inner: Body,
    bytes: Arc<AtomicU64>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer, counted, with the record that is written when it goes.
struct Logged {
    inner: Body,
    record: Record,
}

impl HttpBody for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.record.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Some(Err(error)) => {
                tracing::error!(
                    id = %self.record.id,
                    trace_id = self.record.trace.trace_id,
                    "answer broke off: {error:#}"
                );
            }
            None => self.record.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        // hyper does not ask an answer that has no more to give for its end.
        self.record.ended |= self.inner.is_end_stream();
    }
}
