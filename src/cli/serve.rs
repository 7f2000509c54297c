//! `drift serve`: the registry, until a signal stops it.

use super::reach;
use crate::app;
use crate::config::Config;

/// Runs the server on a runtime of its own.
pub fn run(config: Config) -> anyhow::Result<()> {
    reach::block_on(app::run(config))
}
