//! `drift status`: which server holds the data directory.

use anyhow::{Context, bail};

use super::{compact, reach};
use crate::config::Config;
use crate::ghostbay::admin::Status;

/// Asks the server, and says what it answered.
pub fn run(config: &Config) -> anyhow::Result<()> {
    reach::block_on(async {
        let Some(mut server) = reach::running_server(config).await? else {
            bail!(
                "no server runs on [storage] path = {:?}",
                config.storage.path.display().to_string()
            );
        };
        let answer = server.get("/status").await?.whole().await?;
        let status: Status =
            serde_json::from_slice(&answer).context("the server's answer is not understood")?;
        println!(
            "drift {} serves as process {}; store {}, schema {}",
            status.version, status.process, status.store, status.schema
        );
        let space = status.space;
        println!(
            "{} packs take {} bytes: {} alive, {} freed and waiting, {} dead",
            space.packs,
            space.allocated,
            space.live,
            space.freed,
            space.dead()
        );
        let compaction = status.compaction;
        let told = compact::describe(
            compaction.paused,
            compaction.running,
            compaction.copied_bytes,
        );
        println!("{told}");
        Ok(())
    })
}
