//! `drift du`: what takes up room, and what deleting it would free.

use std::io::{Write, stdout};

use clap::Args;

use super::api::{self, Api};
use super::server::Server;
use crate::http::exchange::http::Method;
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

pub fn run(server: &Server<'_>, args: &DuArgs) -> anyhow::Result<()> {
    // What is no name is said before the columns are.
    if let Some(of) = &args.of {
        of.parse::<Scope>().map_err(anyhow::Error::msg)?;
    }
    if !args.json {
        println!(
            "{:>15} {:>15} {:>15} {:>12}",
            "EXCLUSIVE", "SHARED", "FREES", "MANIFESTS"
        );
    }
    let query = [("of", args.of.as_deref().unwrap_or_default())];
    let tell = |share: Share| tell(&share, args.json);
    api::ask(server, async |api: &Api| {
        api.lines(Method::GET, "/usage", &query, tell).await
    })
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
