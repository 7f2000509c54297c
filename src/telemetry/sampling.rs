//! Which traces are kept.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::spans;

/// Keeps whole traces: those that clients want kept, and a part of those that begin here. A trace begins with a
/// request or with a job; whatever else has nothing above it (a commit for nobody in particular) is in none.
#[derive(Clone, Debug)]
pub struct Roots {
    of_roots: Sampler,
}

impl Roots {
    /// Keeps that part of the traces that begin here.
    pub fn new(ratio: f64) -> Self {
        let begun_here = Sampler::TraceIdRatioBased(ratio);
        Roots {
            of_roots: Sampler::ParentBased(Box::new(begun_here)),
        }
    }
}

impl ShouldSample for Roots {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let has_parent = parent_context.is_some_and(|it| it.span().span_context().is_valid());
        let is_job = || attributes.iter().any(|it| it.key.as_str() == spans::JOB);
        if !has_parent && *span_kind != SpanKind::Server && !is_job() {
            return SamplingResult {
                decision: SamplingDecision::Drop,
                attributes: Vec::new(),
                trace_state: TraceState::default(),
            };
        }
        let roots = &self.of_roots;
        roots.should_sample(parent_context, trace_id, name, span_kind, attributes, links)
    }
}
