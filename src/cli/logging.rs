//! The log: to standard error, one line an event, as `RUST_LOG` filters it.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use crate::config::LogFormat;
use crate::spans;
use crate::telemetry::Traces;

/// Begins to log, and to make traces if there are to be any. From here on everything that is worth a line
/// goes there.
pub fn begin(format: LogFormat, traces: Option<&Traces>) -> anyhow::Result<()> {
    let mut filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()
        .context("RUST_LOG is no filter: use a level such as info, or drift=debug")?;
    // It writes each refusal as an error, with what the client sent.
    let is_named = std::env::var(EnvFilter::DEFAULT_ENV).is_ok_and(|said| said.contains("s3s"));
    if !is_named {
        filter = filter.add_directive("s3s=off".parse()?);
    }
    // Spans of traces are no lines, and where there are no traces nothing at all.
    let filter = filter.add_directive(format!("{}=off", spans::TARGET).parse()?);
    let Some(traces) = traces else {
        let log = fmt().with_env_filter(filter);
        let log = log.with_writer(stderr).with_ansi(stderr().is_terminal());
        match format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
        return Ok(());
    };
    let log = fmt::layer();
    let log = log.with_writer(stderr).with_ansi(stderr().is_terminal());
    let log = match format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    registry()
        .with(log.with_filter(filter))
        .with(traces.layer())
        .init();
    Ok(())
}
