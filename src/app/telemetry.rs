//! Traces on their way to the collector that the configuration names.

use anyhow::Context;

use super::options;
use crate::config::Config;
use crate::http::outbound::OutboundCollector;
use crate::telemetry::{Exporting, Traces};

/// Begins to send them.
pub fn export(config: &Config, traces: Traces) -> anyhow::Result<Option<Exporting>> {
    let Some(options) = options::collector(config) else {
        return Ok(None);
    };
    let url = String::from(options.url.clone());
    let collector = OutboundCollector::new(options)
        .context("see [telemetry] otlp_endpoint and ca (variable DRIFT_TELEMETRY_CA)")?;
    tracing::info!(
        collector = url,
        sample_ratio = config.telemetry.sample_ratio,
        "sending traces"
    );
    Ok(Some(traces.export(collector)))
}
