//! The log: to standard error, one line an event, as `RUST_LOG` filters it.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;

/// Begins to log. From here on everything that is worth a line goes there.
pub fn begin(format: LogFormat) -> anyhow::Result<()> {
    let mut filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()
        .context("RUST_LOG is no filter: use a level such as info, or drift=debug")?;
    // It writes each refusal as an error, with what the client sent.
    let is_named = std::env::var(EnvFilter::DEFAULT_ENV).is_ok_and(|said| said.contains("s3s"));
    if !is_named {
        filter = filter.add_directive("s3s=off".parse()?);
    }
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
