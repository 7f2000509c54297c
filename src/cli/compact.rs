//! `drift compact`: rewriting packs of which little is left alive, and an index that is mostly free.

use anyhow::{Context, bail};
use clap::Args;

use super::reach;
use crate::app;
use crate::config::Config;
use crate::ghostbay::compact::plan::Plan;
use crate::ghostbay::compact::{Compacted, CompactionState};
use crate::ghostbay::compact_index;
use crate::ghostbay::reclaim::Reclaimed;
use crate::http::admin::client::AdminClient;
use crate::http::admin::{COMPACT_ROUTE, PAUSE_ROUTE, PAUSED, RESUME_ROUTE};

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
    reach::block_on(async {
        match reach::running_server(config).await? {
            Some(server) => ask(server, args).await,
            None => compact_stopped(config, args).await,
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

async fn ask(mut server: AdminClient, args: &CompactArgs) -> anyhow::Result<()> {
    const NOT_UNDERSTOOD: &str = "the server's answer is not understood";
    if args.pause || args.resume {
        let route = if args.pause {
            PAUSE_ROUTE
        } else {
            RESUME_ROUTE
        };
        let answer = server.post(route).await?.whole().await?;
        let state: CompactionState = serde_json::from_slice(&answer).context(NOT_UNDERSTOOD)?;
        println!("{}", describe(state));
    } else if args.dry_run {
        let answer = server.get(COMPACT_ROUTE).await?.whole().await?;
        print(&serde_json::from_slice(&answer).context(NOT_UNDERSTOOD)?);
    } else {
        let answer = server.post(COMPACT_ROUTE).await?.whole().await?;
        let done: (Compacted, Reclaimed) =
            serde_json::from_slice(&answer).context(NOT_UNDERSTOOD)?;
        say(&done);
    }
    Ok(())
}

async fn compact_stopped(config: &Config, args: &CompactArgs) -> anyhow::Result<()> {
    let engine = app::open(config).await?;
    let compactor = engine.compactor().clone();
    if args.pause || args.resume {
        let set = tokio::task::block_in_place(|| compactor.pause(args.pause));
        engine.close().await;
        set?;
        println!("{}", describe(compactor.state()));
        return Ok(());
    }
    if compactor.state().paused && !args.dry_run {
        engine.close().await;
        bail!(PAUSED);
    }
    let done = if args.dry_run {
        tokio::task::block_in_place(|| engine.compactor().plan()).map(|plan| {
            print(&plan);
            None
        })
    } else {
        match engine.compact(0).await {
            Ok(compacted) => engine
                .reclaim()
                .await
                .map(|reclaimed| Some((compacted, reclaimed))),
            Err(error) => Err(error),
        }
    };
    engine.close().await;
    if let Some(done) = done? {
        say(&done);
    }
    Ok(())
}

fn print(plan: &Plan) {
    for pack in &plan.packs {
        println!(
            "pack {}: takes {} bytes, {} alive, {} freed and waiting; {}",
            pack.pack, pack.allocated, pack.live, pack.freed, pack.decision
        );
    }
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
pub fn describe(state: CompactionState) -> String {
    let doing = match (state.paused, state.running) {
        (true, true) => "paused in the middle of rewriting",
        (true, false) => "paused",
        (false, true) => "rewriting packs",
        (false, false) => "nothing to do",
    };
    format!(
        "compaction: {doing}; {} bytes copied since the start",
        state.copied_bytes
    )
}
