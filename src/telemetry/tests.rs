//! Spans in, batches out.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tracing_subscriber::layer::SubscriberExt;

use super::queue::SPANS_MAX;
use super::*;
use crate::spans::{self, job, span};

/// Keeps what it is sent, and answers as it is told.
struct Taker {
    spans: Arc<Mutex<Vec<Span>>>,
    answer: fn() -> Result<Bytes, SendError>,
}

#[async_trait]
impl Collector for Taker {
    async fn send(&self, batch: Bytes) -> Result<Bytes, SendError> {
        let request = ExportTraceServiceRequest::decode(batch).unwrap();
        let scopes = request
            .resource_spans
            .into_iter()
            .flat_map(|it| it.scope_spans);
        self.spans
            .lock()
            .unwrap()
            .extend(scopes.flat_map(|it| it.spans));
        (self.answer)()
    }
}

/// What is sent of the spans that `work` opens, and how many of them were sent and dropped.
async fn sent(
    ratio: f64,
    answer: fn() -> Result<Bytes, SendError>,
    work: impl FnOnce(),
) -> (Vec<Span>, u64, u64) {
    let traces = Traces::new(&TelemetryOptions {
        service_name: "test".to_owned(),
        sample_ratio: ratio,
    });
    let figures = traces.figures();
    // A log that takes everything, as another layer.
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
    let subscriber = tracing_subscriber::registry()
        .with(log)
        .with(traces.layer());
    tracing::subscriber::with_default(subscriber, work);
    let spans = Arc::<Mutex<Vec<Span>>>::default();
    let taker = Taker {
        spans: spans.clone(),
        answer,
    };
    traces.export(taker).finish().await;
    let spans = spans.lock().unwrap().clone();
    (spans, figures.sent(), figures.dropped())
}

fn takes() -> Result<Bytes, SendError> {
    Ok(Bytes::new())
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|it| it.name.as_str()).collect()
}

#[tokio::test]
async fn what_has_nothing_above_it_is_in_no_trace() {
    let (spans, ..) = sent(1.0, takes, || {
        span!("alone").in_scope(|| drop(span!("below")));
        let job = job!("job");
        span!(parent: &job, "step").in_scope(|| drop(span!("substep")));
        spans::failed(&job);
    })
    .await;
    assert_eq!(names(&spans), ["substep", "step", "job"]);
    assert_eq!(spans[0].parent_span_id, spans[1].span_id);
    assert_eq!(spans[1].parent_span_id, spans[2].span_id);
    assert!(spans[2].parent_span_id.is_empty());
    // Error (opentelemetry.proto.trace.v1.Status.StatusCode).
    let codes: Vec<_> = spans
        .iter()
        .map(|it| it.status.as_ref().map(|it| it.code))
        .collect();
    assert_eq!(codes, [Some(0), Some(0), Some(2)]);
}

#[tokio::test]
async fn neither_other_spans_nor_lines_of_the_log_are_in_a_trace() {
    let (spans, ..) = sent(1.0, takes, || {
        let job = job!("job");
        span!(parent: &job, "step").in_scope(|| {
            tracing::info_span!("elsewhere", password = "secret").in_scope(|| {
                tracing::error!(password = "secret", "a line");
                drop(span!("substep"));
            });
        });
    })
    .await;
    assert_eq!(names(&spans), ["substep", "step", "job"]);
    for span in &spans {
        assert!(span.events.is_empty(), "{span:?}");
        assert!(!format!("{span:?}").contains("secret"), "{span:?}");
    }
    // What is above is found beyond what is left out.
    assert_eq!(spans[0].parent_span_id, spans[1].span_id);
}

#[tokio::test]
async fn a_part_of_what_begins_here_is_kept() {
    let begun = 1000;
    let (spans, ..) = sent(0.5, takes, || (0..begun).for_each(|_| drop(job!("job")))).await;
    // A coin that falls on one side 650 times of 1,000 is none (nine standard deviations).
    assert!(
        (350..650).contains(&spans.len()),
        "{} of {begun}",
        spans.len()
    );
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_counted_and_nobody_waits() {
    let begun = SPANS_MAX + 100;
    let (spans, sent, dropped) =
        sent(1.0, takes, || (0..begun).for_each(|_| drop(job!("job")))).await;
    assert_eq!(
        (spans.len(), sent, dropped),
        (SPANS_MAX, SPANS_MAX as u64, 100)
    );
}

#[tokio::test]
async fn what_is_refused_is_counted() {
    let refuses = || {
        Err(SendError {
            reason: "no".to_owned(),
            is_passing: false,
        })
    };
    let partly = || {
        let answer = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: 3,
                error_message: "no".to_owned(),
            }),
        };
        Ok(answer.encode_to_vec().into())
    };
    let ten = || (0..10).for_each(|_| drop(job!("job")));
    let (_, taken, dropped) = sent(1.0, refuses, ten).await;
    assert_eq!((taken, dropped), (0, 10));
    let (_, taken, dropped) = sent(1.0, partly, ten).await;
    assert_eq!((taken, dropped), (7, 3));
}

#[test]
fn a_trace_is_taken_up_by_its_header_alone() {
    let traces = Traces::new(&TelemetryOptions {
        service_name: "test".to_owned(),
        sample_ratio: 1.0,
    });
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    tracing::subscriber::with_default(subscriber, || {
        let of = |header: Option<&str>| adopt(&span!("request", otel.kind = "server"), header);
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let header = |version, flags| format!("{version}-{trace}-b7ad6b7169203331-{flags}");
        assert_eq!(of(Some(&header("00", "01"))).as_deref(), Some(trace));
        assert_eq!(of(Some(&header("00", "00"))), None);
        for none in [
            None,
            Some(""),
            Some("00-0-0-01"),
            Some(header("ff", "01").as_str()),
        ] {
            let begun = of(none).unwrap();
            assert!(begun.len() == 32 && begun != trace, "{none:?}: {begun}");
        }
    });
    // Without a subscriber there is no trace.
    assert_eq!(adopt(&span!("request"), None), None);
}
