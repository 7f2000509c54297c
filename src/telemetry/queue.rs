//! From spans that have ended to batches: a queue that nobody waits for. A span that finds it full is dropped
//! and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

/// Spans that wait at most, while the collector takes none. Each has some 2 KiB at the longest.
pub const SPANS_MAX: usize = 4096;

/// What is counted of traces.
#[derive(Debug, Default)]
pub struct Figures {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Figures {
    /// Spans that the collector took.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Spans that it did not get, or refused.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, sent: u64, dropped: u64) {
        self.sent.fetch_add(sent, Ordering::Relaxed);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
    }
}

/// Where spans go when they have ended.
#[derive(Debug)]
pub struct Queue {
    spans: mpsc::Sender<SpanData>,
    figures: Arc<Figures>,
}

/// Where they come from.
pub struct Ended {
    /// The spans.
    pub spans: mpsc::Receiver<SpanData>,
    /// What is counted.
    pub figures: Arc<Figures>,
}

/// A queue for [`SPANS_MAX`] spans.
pub fn bounded() -> (Queue, Ended) {
    let (sender, spans) = mpsc::channel(SPANS_MAX);
    let figures = Arc::<Figures>::default();
    let queue = Queue {
        spans: sender,
        figures: figures.clone(),
    };
    (queue, Ended { spans, figures })
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.figures.note(0, 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// What is left in the queue is for [`super::Exporting::finish`].
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
