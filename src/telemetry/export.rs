//! Batches on their way out (OTLP 1, over HTTP with protobuf).
//!
//! A batch that does not arrive is sent again, later and later; meanwhile the queue fills, and what does not
//! fit is dropped. The log has one line when that begins, and one when it is over.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::queue::{Ended, Figures};

/// Spans in a batch.
const BATCH_SPANS: usize = 512;

/// How long the first spans of a batch wait for others.
const BATCH_DELAY: Duration = Duration::from_millis(200);

/// A batch that did not arrive is sent again after this, and after twice as long each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long a stop waits for what is left.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Whoever takes batches.
#[async_trait]
pub trait Collector: Send + Sync + 'static {
    /// Sends an `ExportTraceServiceRequest`, and gives the answer's body.
    async fn send(&self, batch: Bytes) -> Result<Bytes, SendError>;
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct SendError {
    /// What went wrong.
    pub reason: String,
    /// Whether it may be taken later (OTLP 1, "Failures").
    pub is_passing: bool,
}

/// Traces that are sent, until [`Exporting::finish`].
pub struct Exporting {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Exporting {
    /// Sends what is left, within 5 seconds.
    pub async fn finish(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(FLUSH_MAX, &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
            tracing::warn!("the last traces did not reach the collector in {FLUSH_MAX:?}");
        }
    }
}

/// Begins to send.
pub(super) fn begin(ended: Ended, resource: &Resource, collector: impl Collector) -> Exporting {
    let stop = CancellationToken::new();
    let exporter = Exporter {
        ended,
        resource: resource.into(),
        collector: Box::new(collector),
        stop: stop.clone(),
        is_failing: false,
    };
    Exporting {
        task: tokio::spawn(exporter.run()),
        stop,
    }
}

struct Exporter {
    ended: Ended,
    resource: ResourceAttributesWithSchema,
    collector: Box<dyn Collector>,
    stop: CancellationToken,
    is_failing: bool,
}

impl Exporter {
    async fn run(mut self) {
        loop {
            let batch = self.batch().await;
            if batch.is_empty() {
                return;
            }
            self.export(batch).await;
        }
    }

    /// The next batch; an empty one if it is over.
    async fn batch(&mut self) -> Vec<SpanData> {
        let mut batch = Vec::new();
        let spans = &mut self.ended.spans;
        tokio::select! {
            biased;
            // What is there still comes, and nothing more.
            () = self.stop.cancelled() => spans.close(),
            _ = spans.recv_many(&mut batch, BATCH_SPANS) => {}
        }
        if batch.len() < BATCH_SPANS && !spans.is_closed() {
            tokio::select! {
                () = self.stop.cancelled() => spans.close(),
                () = tokio::time::sleep(BATCH_DELAY) => {}
            }
        }
        while batch.len() < BATCH_SPANS
            && let Ok(span) = spans.try_recv()
        {
            batch.push(span);
        }
        batch
    }

    /// Sends a batch until it is taken or refused; once, if all is to end.
    async fn export(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let message = ExportTraceServiceRequest { resource_spans };
        let message = Bytes::from(message.encode_to_vec());
        let mut pause = PAUSE_MIN;
        loop {
            let error = match self.collector.send(message.clone()).await {
                Ok(answer) => return self.taken(spans, answer),
                Err(error) => error,
            };
            self.begin_to_fail(&error.reason);
            if !error.is_passing || self.stop.is_cancelled() {
                return self.ended.figures.note(0, spans);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Some of the spans may have been refused all the same (OTLP 1, "Partial Success").
    fn taken(&mut self, spans: u64, answer: Bytes) {
        let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
        let partial = answer.partial_success.unwrap_or_default();
        let refused = u64::try_from(partial.rejected_spans)
            .unwrap_or(0)
            .min(spans);
        let figures: &Arc<Figures> = &self.ended.figures;
        figures.note(spans - refused, refused);
        if refused > 0 {
            return self.begin_to_fail(&format!(
                "it refused {refused} of {spans} spans: {}",
                partial.error_message
            ));
        }
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("traces reach the collector again");
        }
    }

    fn begin_to_fail(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(
                reason,
                "traces do not reach the collector of [telemetry] otlp_endpoint; what does not fit in \
                 memory meanwhile is dropped"
            );
        }
    }
}
