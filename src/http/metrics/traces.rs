//! Figures of the traces, where there are any.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::store::Out;
use crate::telemetry::Figures;

/// What became of spans.
#[derive(Debug)]
pub(super) struct TracesCollector(pub Arc<Figures>);

impl Collector for TracesCollector {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        out.counter(
            "traces_sent",
            "Spans of traces that the collector took",
            self.0.sent(),
        )?;
        out.counter(
            "traces_dropped",
            "Spans of traces that the collector refused, or that did not fit in memory while it took none",
            self.0.dropped(),
        )
    }
}
