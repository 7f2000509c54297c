//! Traces: the spans of `spans`, sampled, gathered and handed to whoever sends them on (OpenTelemetry).
//!
//! * `parent`: the trace that a request is a part of, as its client says; `sampling`: which traces are kept
//! * `queue`: from a span that has ended to the batches, without waiting
//! * `export`: batches on their way out, on a task of its own
//!
//! Nothing here knows a network: [`Collector`] is implemented by `http::outbound`.

mod export;
mod parent;
mod queue;
mod sampling;

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::{Level, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

pub use export::{Collector, Exporting, SendError};
pub use parent::{TRACEPARENT, adopt};
pub use queue::Figures;

use crate::spans;

/// How traces are made.
#[derive(Clone, PartialEq, Debug)]
pub struct TelemetryOptions {
    /// What the server is called in them.
    pub service_name: String,
    /// Which part of the traces that begin here is kept, above 0 and up to 1.
    pub sample_ratio: f64,
}

/// The traces of this process, from the spans to the queue that they are sent from.
pub struct Traces {
    tracer: SdkTracer,
    resource: Resource,
    ended: queue::Ended,
}

impl Traces {
    /// Makes a tracer. Nothing is sent before [`Traces::export`].
    pub fn new(options: &TelemetryOptions) -> Self {
        // Not `builder()`, which reads variables of its own: what is set stands in the configuration.
        let resource = Resource::builder_empty()
            .with_service_name(options.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let (queue, ended) = queue::bounded();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_sampler(sampling::Roots::new(options.sample_ratio))
            .with_span_processor(queue)
            .build();
        Traces {
            tracer: provider.tracer("drift"),
            resource,
            ended,
        }
    }

    /// What makes traces of spans, as a part of a subscriber.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        OpenTelemetryLayer::new(self.tracer.clone())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(only_spans())
    }

    /// What is counted of them.
    pub fn figures(&self) -> Arc<Figures> {
        self.ended.figures.clone()
    }

    /// Begins to send them, on a task of its own.
    pub fn export(self, collector: impl Collector) -> Exporting {
        export::begin(self.ended, &self.resource, collector)
    }
}

/// Lines of the log within a span are none of its matter: they may say more than may leave the machine.
fn only_spans<S>() -> impl tracing_subscriber::layer::Filter<S> {
    let is_ours = |it: &tracing::Metadata<'_>| it.is_span() && it.target() == spans::TARGET;
    let filter: FilterFn<_> = filter_fn(is_ours);
    FilterExt::<S>::and(filter, LevelFilter::from_level(Level::INFO))
}

#[cfg(test)]
mod tests;
