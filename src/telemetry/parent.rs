//! The trace that a request is a part of (W3C Trace Context).

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header that names the trace and the span above (W3C Trace Context, 3.2).
pub const TRACEPARENT: &str = "traceparent";

/// The one header that is looked at. `tracestate` is for other vendors and free text of the client's: it
/// goes nowhere from here.
struct Header<'a>(Option<&'a str>);

impl Extractor for Header<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.filter(|_| key == TRACEPARENT)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.map(|_| TRACEPARENT).into_iter().collect()
    }
}

/// Puts a span that was just opened below the one that `traceparent` names, if that is what it does, and
/// begins it. Gives the id of its trace, if that is kept.
pub fn adopt(span: &Span, traceparent: Option<&str>) -> Option<String> {
    let propagator = TraceContextPropagator::new();
    let above = propagator.extract_with_context(&Context::new(), &Header(traceparent));
    if above.span().span_context().is_valid() && span.set_parent(above).is_err() {
        // Nobody collects it.
        return None;
    }
    let begun = span.context();
    let of = begun.span().span_context().clone();
    of.is_sampled().then(|| of.trace_id().to_string())
}
