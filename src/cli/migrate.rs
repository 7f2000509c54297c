//! `drift migrate`: the steps from an older schema, on a stopped store.

use anyhow::Context;

use crate::app;
use crate::config::Config;
use crate::ghostbay::migrate::{self, Plan};

/// Lists the steps that the index needs and, unless `dry_run`, makes them.
pub fn run(config: &Config, dry_run: bool) -> anyhow::Result<()> {
    let path = &config.storage.path;
    let cannot = || {
        format!(
            "cannot migrate the index of [storage] path = {:?}",
            path.display().to_string()
        )
    };
    let Plan { found, steps } = migrate::plan(path).with_context(cannot)?;
    if steps.is_empty() {
        println!("schema version {found} is the newest: nothing to do");
        return Ok(());
    }
    println!("schema version {found} is older than this version's; steps:");
    for step in &steps {
        println!("  v{:04} {}", step.version, step.name);
    }
    if dry_run {
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?
        .block_on(migrate::migrate(path, app::engine_options(config)))
        .with_context(cannot)?;
    println!("done");
    Ok(())
}
