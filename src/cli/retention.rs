//! `drift retention`: goes by the rules of `[retention]`, or tells what that would delete and keep.

use std::io::{Write, stdout};

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::reach;
use crate::app;
use crate::config::Config;
use crate::http::admin::RETENTION_ROUTE;
use crate::http::admin::client::AdminClient;
use crate::registry::retention::{Fate, Mode, Retained, Verdict};

/// What is done, and how it is told.
#[derive(Args, Clone, Copy, Debug)]
pub struct RetentionArgs {
    /// Only tell what would be deleted, and what is kept and why
    #[arg(long)]
    dry_run: bool,
    /// Tell everything in JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// Has the running server do it, or does it in place.
pub fn run(config: &Config, args: RetentionArgs) -> anyhow::Result<()> {
    if config.retention.rules.is_empty() {
        println!("no rule: [[retention.rules]] of the configuration says what is kept");
        return Ok(());
    }
    let mut teller = Teller {
        args,
        retained: Retained::default(),
    };
    reach::block_on(retain(config, args, &mut teller))?;
    teller.sum_up();
    Ok(())
}

async fn retain(config: &Config, args: RetentionArgs, teller: &mut Teller) -> anyhow::Result<()> {
    if let Some(server) = reach::running_server(config).await? {
        return ask(server, args, teller).await;
    }
    let mode = match args.dry_run {
        true => Mode::Plan,
        false => {
            reach::check_writes(config)?;
            Mode::Act
        }
    };
    let storage = app::open(config).await?;
    let registry = app::registry(config, storage.clone());
    let stop = CancellationToken::new();
    let mut tell = |verdict: Verdict| teller.tell(&verdict);
    let retained = tokio::task::block_in_place(|| registry.retain(mode, &stop, &mut tell));
    storage.close().await;
    retained.context("retention broke off").map(drop)
}

/// Has the running server do it, by the rules that it was started with.
async fn ask(
    mut server: AdminClient,
    args: RetentionArgs,
    teller: &mut Teller,
) -> anyhow::Result<()> {
    let mut answer = match args.dry_run {
        true => server.get(RETENTION_ROUTE).await?,
        false => server.post(RETENTION_ROUTE).await?,
    };
    let mut rest = Vec::new();
    while let Some(piece) = answer.next().await? {
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let verdict =
                serde_json::from_slice(&line).context("the server's answer is not understood")?;
            if !teller.tell(&verdict) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Who tells the operator.
struct Teller {
    args: RetentionArgs,
    retained: Retained,
}

impl Teller {
    /// Tells it; whether anybody still listens.
    fn tell(&mut self, verdict: &Verdict) -> bool {
        self.retained.count(verdict.fate);
        let text = match self.args.json {
            // Strings: this cannot fail to serialise.
            true => serde_json::to_string(verdict).unwrap_or_default(),
            false => verdict.to_string(),
        };
        // Of what stays, only a plan tells.
        let is_told = self.args.dry_run || self.args.json || verdict.fate != Fate::Keep;
        !is_told || writeln!(stdout(), "{text}").is_ok()
    }

    fn sum_up(&self) {
        if self.args.json {
            return;
        }
        let Retained {
            kept,
            deleted,
            spared,
        } = self.retained;
        let deleted = match self.args.dry_run {
            true => format!("{deleted} would be deleted"),
            false => format!("{deleted} deleted"),
        };
        println!("{deleted}, {kept} kept, {spared} spared");
    }
}
