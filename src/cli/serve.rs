//! `drift serve`: the registry, until a signal stops it.

use super::reach;
use crate::app;
use crate::config::Config;
use crate::telemetry::Traces;

/// Runs the server on a runtime of its own.
pub fn run(config: Config, traces: Option<Traces>) -> anyhow::Result<()> {
    reach::block_on(app::run(config, traces))
}
