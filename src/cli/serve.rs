//! `drift serve`: the registry, until a signal stops it.

use anyhow::Context;

use crate::app;
use crate::config::Config;

/// Runs the server on a runtime of its own.
pub fn run(config: Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("drift")
        .build()
        .context("cannot start threads")?
        .block_on(app::run(config))
}
