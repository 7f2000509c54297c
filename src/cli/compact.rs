//! `drift compact`: rewriting packs of which little is left alive, and an index that is mostly free.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::api::{get, post};
use super::progress::{Progress, Unit};
use super::reach;
use super::server::Server;
use crate::app;
use crate::config::Config;
use crate::ghostbay::admin::Status;
use crate::ghostbay::compact::{Compacted, CompactionState, Compactor};
use crate::ghostbay::compact_index;
use crate::ghostbay::reclaim::Reclaimed;
use crate::http::admin::client::AdminClient;
use crate::http::admin::{COMPACT_ROUTE, PAUSED};
use crate::management::operations::{CompactionProgress, Operations, Pack, Pause};

/// How often it is looked how far a compaction is: that of the store that was opened here, and that of the
/// running server, which looks at each pack's file to answer.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
const ASK_INTERVAL: Duration = Duration::from_secs(2);

/// What it is told as.
const REWRITING: &str = "rewriting packs";

/// What of the store is compacted.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").multiple(false)))]
pub struct CompactArgs {
    /// Say which packs would be rewritten and why, and change nothing
    #[arg(long, group = "what")]
    dry_run: bool,
    /// Write the index of a stopped store anew, without the room that is free in it
    #[arg(long, group = "what")]
    index: bool,
    /// Have compaction stand still until it is resumed, also over a restart of the server
    #[arg(long, group = "what")]
    pause: bool,
    /// Have it go on
    #[arg(long, group = "what")]
    resume: bool,
}

/// Does what the arguments say.
pub fn run(config: &Config, args: &CompactArgs) -> anyhow::Result<()> {
    if args.index {
        return compact_index(config);
    }
    let here = Server::here(config);
    if args.pause || args.resume {
        let paused = args.pause;
        let CompactionProgress {
            paused,
            running,
            copied_bytes,
            ..
        } = post(&here, "/operations/compaction", &Pause { paused })?;
        println!("{}", describe(paused, running, copied_bytes));
        return Ok(());
    }
    if args.dry_run {
        let operations: Operations = get(&here, "/operations", &[])?;
        operations.packs.iter().for_each(print);
        return Ok(());
    }
    reach::block_on(async {
        match reach::running_server(config).await? {
            Some(server) => ask(config, server).await,
            None => compact_stopped(config).await,
        }
    })
}

fn compact_index(config: &Config) -> anyhow::Result<()> {
    let path = &config.storage.path;
    let cannot = || {
        format!(
            "cannot compact the index of [storage] path = {:?}",
            path.display().to_string()
        )
    };
    let done = compact_index::of_stopped(path).with_context(cannot)?;
    println!(
        "the index took {} bytes, and takes {}",
        done.before_bytes, done.after_bytes
    );
    Ok(())
}

async fn ask(config: &Config, mut server: AdminClient) -> anyhow::Result<()> {
    let rewriting = async { anyhow::Ok(server.post(COMPACT_ROUTE).await?.whole().await?) };
    let answer = tokio::select! {
        answer = rewriting => answer?,
        never = tell_of_server(config) => match never {},
    };
    let done: (Compacted, Reclaimed) =
        serde_json::from_slice(&answer).context("the server's answer is not understood")?;
    say(&done);
    Ok(())
}

/// Tells how far the server is, for as long as it is asked to. One that does not say is still waited for.
async fn tell_of_server(config: &Config) -> Infallible {
    let progress = Progress::begin();
    loop {
        if let Some(state) = state_of_server(config).await {
            show(&progress, &state);
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
}

async fn state_of_server(config: &Config) -> Option<CompactionState> {
    let mut server = reach::running_server(config).await.ok()??;
    let answer = server.get("/status").await.ok()?.whole().await.ok()?;
    let status: Status = serde_json::from_slice(&answer).ok()?;
    Some(status.compaction)
}

/// Tells how far a compactor is, for as long as it is asked to.
async fn tell_of(compactor: &Compactor) -> Infallible {
    let progress = Progress::begin();
    loop {
        show(&progress, &compactor.state());
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// While packs are looked for it is not known how much there is to do.
fn show(progress: &Progress, state: &CompactionState) {
    let total = (state.planned_bytes > 0).then_some(state.planned_bytes);
    progress.show(REWRITING, Unit::Bytes, state.done_bytes, total);
}

async fn compact_stopped(config: &Config) -> anyhow::Result<()> {
    let engine = app::open(config).await?;
    let compactor = engine.compactor().clone();
    if compactor.state().paused {
        engine.close().await;
        bail!(PAUSED);
    }
    let compacted = tokio::select! {
        biased;
        never = tell_of(&compactor) => match never {},
        compacted = engine.compact(0) => compacted,
    };
    let done = match compacted {
        Ok(compacted) => engine
            .reclaim()
            .await
            .map(|reclaimed| (compacted, reclaimed)),
        Err(error) => Err(error),
    };
    engine.close().await;
    say(&done?);
    Ok(())
}

fn print(pack: &Pack) {
    println!(
        "pack {}: takes {} bytes, {} alive, {} freed and waiting; {}",
        pack.pack, pack.allocated, pack.live, pack.freed, pack.decision
    );
}

fn say((compacted, reclaimed): &(Compacted, Reclaimed)) {
    println!(
        "rewrote {} packs, of which {} are empty now: copied {} bytes, and made {} records of {}",
        compacted.packs,
        compacted.emptied,
        compacted.copied_bytes,
        compacted.extents_after,
        compacted.extents_before
    );
    if compacted.damaged > 0 {
        println!(
            "DAMAGED: {} records stay where they are; see drift verify",
            compacted.damaged
        );
    }
    if compacted.stopped {
        println!("stopped before its end");
    }
    println!(
        "removed {} packs, gave {} bytes back",
        reclaimed.packs, reclaimed.punched_bytes
    );
}

/// What compaction does, in words.
pub fn describe(paused: bool, running: bool, copied_bytes: u64) -> String {
    let doing = match (paused, running) {
        (true, true) => "paused in the middle of rewriting",
        (true, false) => "paused",
        (false, true) => "rewriting packs",
        (false, false) => "nothing to do",
    };
    format!("compaction: {doing}; {copied_bytes} bytes copied since the start")
}
