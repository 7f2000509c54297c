//! Figures of the running server, in the text form that Prometheus reads (OpenMetrics 1.0).
//!
//! * `labels`: what they are told apart by; `store`, `process`, `traces`: what is looked at when it is asked for;
//!   `caches`: whether what was asked for was kept
//! * `endpoint`: who may read them
//!
//! No label takes its values from what clients send: a client can make figures grow, never their number.

mod caches;
mod endpoint;
mod labels;
mod process;
mod store;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::auth::AuthService;
use crate::registry::Registry as Rules;
use crate::telemetry::Figures;

pub use caches::Cache;
use caches::CacheCounts;
pub(super) use endpoint::get;
pub use labels::Limit;
pub(super) use labels::method_of;
use labels::{LimitLabels, LoginLabels, RequestLabels, RouteLabels};
use store::StoreCollector;
use traces::TracesCollector;

/// Upper bounds of the buckets of durations, in seconds: from a row of the index to a layer over a slow line.
const DURATION_BOUNDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0,
];

/// What is counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    received: Counter,
    sent: Counter,
    refused: Family<LimitLabels, Counter>,
    logins: Family<LoginLabels, Counter>,
    connections: Gauge,
    handshakes_failed: Counter,
    caches: CacheCounts,
}

/// A connection that is counted for as long as this is kept.
pub(super) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let durations: fn() -> Histogram = || Histogram::new(DURATION_BOUNDS);
        let mut registry = Registry::with_prefix("drift");
        let mut metrics = Metrics {
            caches: CacheCounts::register(&mut registry),
            registry,
            requests: Family::default(),
            durations: Family::new_with_constructor(durations),
            received: Counter::default(),
            sent: Counter::default(),
            refused: Family::default(),
            logins: Family::default(),
            connections: Gauge::default(),
            handshakes_failed: Counter::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// With the figures of traces, if there are any.
    pub fn new(traces: Option<Arc<Figures>>) -> Self {
        let mut metrics = Metrics::default();
        if let Some(figures) = traces {
            let collector = Box::new(TracesCollector(figures));
            metrics.registry.register_collector(collector);
        }
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "build",
            "The program that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register(
            "http_requests",
            "Requests answered, by route, method and status; 0: the client left before there was an answer",
            self.requests.clone(),
        );
        registry.register(
            "http_request_duration_seconds",
            "From a request's head to the end of its answer, in seconds",
            self.durations.clone(),
        );
        registry.register(
            "http_received_bytes",
            "Bytes of requests' bodies",
            self.received.clone(),
        );
        registry.register(
            "http_sent_bytes",
            "Bytes of answers' bodies",
            self.sent.clone(),
        );
        registry.register(
            "refused",
            "Requests, logins and connections that were one too many, by the limit that they met",
            self.refused.clone(),
        );
        registry.register(
            "logins",
            "Requests that came with credentials, by whether these were good",
            self.logins.clone(),
        );
        registry.register(
            "connections",
            "Connections that are served now",
            self.connections.clone(),
        );
        registry.register(
            "tls_handshakes_failed",
            "Connections that ended before they could ask for anything",
            self.handshakes_failed.clone(),
        );
        // So that a figure is there before it first grows: an alert on its growth misses no first time.
        for limit in Limit::ALL {
            drop(self.refused.get_or_create(&LimitLabels { limit }));
        }
        for good in [true, false] {
            drop(self.logins.get_or_create(&LoginLabels::of(good)));
        }
    }

    /// Counts a request when its answer has ended. `None` stands for an answer that the client did not
    /// wait for.
    pub(super) fn request(
        &self,
        route: &'static str,
        method: &Method,
        status: Option<StatusCode>,
        took: Duration,
    ) {
        let labels = RequestLabels::of(route, method, status);
        self.requests.get_or_create(&labels).inc();
        self.durations
            .get_or_create(&RouteLabels { route })
            .observe(took.as_secs_f64());
    }

    /// Counts bytes of bodies.
    pub(super) fn bytes(&self, received: u64, sent: u64) {
        self.received.inc_by(received);
        self.sent.inc_by(sent);
    }

    /// Counts what met a limit.
    pub fn refused(&self, limit: Limit) {
        self.refused.get_or_create(&LimitLabels { limit }).inc();
    }

    /// Counts credentials.
    pub fn login(&self, good: bool) {
        self.logins.get_or_create(&LoginLabels::of(good)).inc();
    }

    /// Counts what was asked for of a cache.
    pub fn cached(&self, cache: Cache, hits: u64, misses: u64) {
        self.caches.count(cache, hits, misses);
    }

    /// Counts a connection until what this returns is dropped.
    pub(super) fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    /// Counts a connection that did not come to speak TLS.
    pub(super) fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }

    /// All figures. Looks at the store; blocks.
    fn text(&self, rules: &Rules, auth: &AuthService) -> Result<String, std::fmt::Error> {
        let mut looked = Registry::with_prefix("drift");
        let store = StoreCollector::look(
            rules.store().clone(),
            rules.figures().clone(),
            auth.logins_known(),
        );
        looked.register_collector(Box::new(store));
        let mut text = String::new();
        text::encode_registry(&mut text, &self.registry)?;
        text::encode_registry(&mut text, &looked)?;
        text::encode_eof(&mut text)?;
        Ok(text)
    }
}
