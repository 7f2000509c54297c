//! `drift du`: what takes up room, and what deleting it would free.

use std::io::{Write, stdout};

use anyhow::Context;
use clap::Args;

use super::reach;
use crate::app;
use crate::config::Config;
use crate::http::admin::DU_ROUTE;
use crate::http::admin::client::AdminClient;
use crate::registry::du::{Holder, Scope, Share};

/// What is asked about, and how it is told.
#[derive(Args, Clone, Debug)]
pub struct DuArgs {
    /// A repository, or a tag as REPOSITORY:TAG; without it the whole store
    of: Option<String>,
    /// Tell everything in JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// Asks the running server, or looks into the store itself.
pub fn run(config: &Config, args: &DuArgs) -> anyhow::Result<()> {
    let scope = match &args.of {
        None => Scope::Store,
        Some(of) => of.parse().map_err(anyhow::Error::msg)?,
    };
    if !args.json {
        println!(
            "{:>15} {:>15} {:>15} {:>12}",
            "EXCLUSIVE", "SHARED", "FREES", "MANIFESTS"
        );
    }
    reach::block_on(async {
        match reach::running_server(config).await? {
            Some(server) => ask(server, args).await,
            None => look(config, &scope, args.json).await,
        }
    })
}

async fn look(config: &Config, scope: &Scope, json: bool) -> anyhow::Result<()> {
    let storage = app::open(config).await?;
    let registry = app::registry(config, storage.clone());
    let told = tokio::task::block_in_place(|| registry.du(scope, &mut |share| tell(&share, json)));
    storage.close().await;
    Ok(told?)
}

async fn ask(mut server: AdminClient, args: &DuArgs) -> anyhow::Result<()> {
    // Names and tags hold nothing that a query could not.
    let target = match &args.of {
        Some(of) => format!("{DU_ROUTE}?of={of}"),
        None => DU_ROUTE.to_owned(),
    };
    let mut answer = server.get(&target).await?;
    let mut rest = Vec::new();
    while let Some(piece) = answer.next().await? {
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let share =
                serde_json::from_slice(&line).context("the server's answer is not understood")?;
            if !tell(&share, args.json) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Tells it; whether anybody still listens.
fn tell(share: &Share, json: bool) -> bool {
    let text = match json {
        // Strings and numbers: this cannot fail to serialise.
        true => serde_json::to_string(share).unwrap_or_default(),
        false => format!(
            "{:>15} {:>15} {:>15} {:>12}  {}{}",
            share.exclusive_bytes,
            share.shared_bytes,
            share.frees_bytes,
            share.manifest_bytes,
            match share.holder {
                Holder::Repository => "repository ",
                Holder::Tag => "tag ",
                Holder::Blob | Holder::Store | Holder::Unheld => "",
            },
            share.name
        ),
    };
    writeln!(stdout(), "{text}").is_ok()
}
