//! `drift retention`: goes by the rules of `[retention]`, or tells what that would delete and keep.

use std::io::{Write, stdout};

use clap::Args;

use super::api::{self, Api};
use super::server::Server;
use crate::http::exchange::http::Method;
use crate::registry::retention::{Fate, Retained, Verdict};

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

/// Has it done, by the rules that the server was started with where one runs.
pub fn run(server: &Server<'_>, args: RetentionArgs) -> anyhow::Result<()> {
    if !server.is_elsewhere() && server.config.retention.rules.is_empty() {
        println!("no rule: [[retention.rules]] of the configuration says what is kept");
        return Ok(());
    }
    let mut teller = Teller {
        args,
        retained: Retained::default(),
    };
    let method = match args.dry_run {
        true => Method::GET,
        false => Method::POST,
    };
    let tell = |verdict| teller.tell(&verdict);
    api::ask(server, async |api: &Api| {
        api.lines(method, "/retention", &[], tell).await
    })?;
    teller.sum_up();
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
