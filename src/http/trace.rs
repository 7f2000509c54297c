//! The span of a request: what a trace says of it (OpenTelemetry, "Semantic Conventions for HTTP Spans"). What
//! is done for it opens spans below this one.

use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use tracing::Span;
use tracing::field::Empty;
use uuid::Uuid;

use super::metrics::method_of;
use crate::spans::span;
use crate::telemetry::{TRACEPARENT, adopt};

/// What is known of a request when it comes.
pub struct Asked<'a> {
    /// Its id in the log.
    pub id: Uuid,
    /// The label of its route in the figures.
    pub route: &'static str,
    /// Its path, as long as the log has it.
    pub path: &'a str,
    /// The repository that it names.
    pub repository: Option<&'a str>,
}

/// The span of a request, and that of its answer's body. Where nobody collects traces both are nothing.
pub struct RequestSpan {
    span: Span,
    body: Span,
    /// The id of the trace, if it is kept.
    pub trace_id: Option<String>,
}

impl RequestSpan {
    /// One of which no trace knows.
    pub fn none() -> Self {
        RequestSpan {
            span: Span::none(),
            body: Span::none(),
            trace_id: None,
        }
    }

    /// Begins it, below the span that the client names.
    pub fn begin(request: &Request, asked: &Asked<'_>) -> Self {
        let span = span!(
            "request",
            otel.name = %Name(request.method(), asked.route),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method(request.method()),
            http.route = asked.route,
            http.response.status_code = Empty,
            url.path = asked.path,
            server.address = server(request.uri(), request.headers()),
            "error.type" = Empty,
            drift.request_id = %asked.id,
            drift.repository = asked.repository,
            drift.bytes_in = Empty,
            drift.bytes_out = Empty,
            drift.cut_off = Empty,
        );
        let mut begun = RequestSpan {
            span,
            ..RequestSpan::none()
        };
        if !begun.span.is_disabled() {
            let above = request.headers().get(TRACEPARENT);
            begun.trace_id = adopt(&begun.span, above.and_then(|it| it.to_str().ok()));
        }
        begun
    }

    /// What the work for the request goes on in.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Notes the head of the answer, whose body goes from now on if it has one.
    pub fn answered(&mut self, status: StatusCode, has_body: bool) {
        if self.span.is_disabled() {
            return;
        }
        let number = status.as_u16();
        self.span
            .record("http.response.status_code", i64::from(number));
        if status.is_server_error() {
            self.span.record("otel.status_code", "ERROR");
            self.span.record("error.type", number.to_string());
        }
        if has_body {
            self.body = span!(parent: &self.span, "answer");
        }
    }

    /// Ends it.
    pub fn end(&mut self, received: u64, sent: u64, is_cut_off: bool) {
        if self.span.is_disabled() {
            return;
        }
        self.span.record("drift.bytes_in", number(received));
        self.span.record("drift.bytes_out", number(sent));
        if is_cut_off {
            self.span.record("drift.cut_off", true);
        }
        self.body = Span::none();
        // A span ends when it was last left, which was when the head of the answer was there.
        self.span.in_scope(|| ());
    }
}

/// What a span is called.
struct Name<'a>(&'a Method, &'static str);

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Name(asked, route) = self;
        let method = match method(asked) {
            OTHER_METHOD => "HTTP",
            method => method,
        };
        write!(f, "{method} {route}")
    }
}

/// What stands for a method that somebody has made up.
const OTHER_METHOD: &str = "_OTHER";

fn method(asked: &Method) -> &'static str {
    match method_of(asked) {
        "other" => OTHER_METHOD,
        known => known,
    }
}

/// The host that the client asks for, without what else may stand there.
fn server(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(host) = uri.host() {
        return Some(host.to_owned());
    }
    let named: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    Some(named.host().to_owned())
}

fn number(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::body::Body;
    use bytes::Bytes;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::telemetry::{Collector, SendError, TelemetryOptions, Traces};

    #[derive(Clone, Default)]
    struct Taker(Arc<Mutex<Vec<Bytes>>>);

    #[async_trait::async_trait]
    impl Collector for Taker {
        async fn send(&self, batch: Bytes) -> Result<Bytes, SendError> {
            self.0.lock().unwrap().push(batch);
            Ok(Bytes::new())
        }
    }

    #[tokio::test]
    async fn an_error_of_the_server_is_one_of_the_span_and_a_clients_is_not() {
        let traces = Traces::new(&TelemetryOptions {
            service_name: "test".to_owned(),
            sample_ratio: 1.0,
        });
        let subscriber = tracing_subscriber::registry().with(traces.layer());
        let answered = [Some(200), Some(404), Some(507), None];
        tracing::subscriber::with_default(subscriber, || {
            for status in answered {
                let request = Request::get("/v2/?secret").body(Body::empty()).unwrap();
                let asked = Asked {
                    id: Uuid::new_v4(),
                    route: "base",
                    path: request.uri().path(),
                    repository: None,
                };
                let mut span = RequestSpan::begin(&request, &asked);
                if let Some(status) = status {
                    span.answered(StatusCode::from_u16(status).unwrap(), true);
                }
                span.end(0, 0, status.is_none());
            }
        });
        let taker = Taker::default();
        traces.export(taker.clone()).finish().await;
        let batches = taker.0.lock().unwrap().clone();
        let requests = batches
            .into_iter()
            .map(|it| ExportTraceServiceRequest::decode(it).unwrap());
        let scopes = requests
            .flat_map(|it| it.resource_spans)
            .flat_map(|it| it.scope_spans);
        let spans = scopes
            .flat_map(|it| it.spans)
            .filter(|it| it.name == "GET base");
        // Error is 2 (opentelemetry.proto.trace.v1.Status.StatusCode).
        let (codes, attributes): (Vec<_>, Vec<_>) = spans
            .map(|it| {
                (
                    it.status.unwrap_or_default().code,
                    format!("{:?}", it.attributes),
                )
            })
            .unzip();
        assert_eq!(codes, [0, 0, 2, 0]);
        for (attributes, status) in attributes.iter().zip(answered) {
            let named = attributes.contains("http.response.status_code");
            assert_eq!(named, status.is_some(), "{attributes}");
            assert_eq!(
                attributes.contains("error.type"),
                status == Some(507),
                "{attributes}"
            );
            assert_eq!(
                attributes.contains("drift.cut_off"),
                status.is_none(),
                "{attributes}"
            );
            assert!(!attributes.contains("secret"), "{attributes}");
        }
    }

    #[test]
    fn the_host_is_named_without_port_and_login() {
        let none = HeaderMap::new();
        let mut named = HeaderMap::new();
        named.insert(HOST, "registry.example.com:5000".parse().unwrap());
        let mut login = HeaderMap::new();
        login.insert(HOST, "me:secret@[::1]:5000".parse().unwrap());
        for (uri, headers, host) in [
            ("/v2/", &none, None),
            ("/v2/", &named, Some("registry.example.com")),
            ("/v2/", &login, Some("[::1]")),
            (
                "http://me:secret@a.example.com:1/v2/",
                &named,
                Some("a.example.com"),
            ),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(server(&uri, headers).as_deref(), host, "{uri}");
        }
    }

    #[test]
    fn a_made_up_method_makes_no_name() {
        let made_up = Method::from_bytes(b"SECRET").unwrap();
        assert_eq!(Name(&made_up, "blob").to_string(), "HTTP blob");
        assert_eq!(Name(&Method::GET, "blob").to_string(), "GET blob");
        assert_eq!(method(&made_up), "_OTHER");
    }
}
