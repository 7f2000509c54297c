//! `drift verify`: whether the store is whole, and what it is that is not.

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::progress::{Progress, Unit};
use super::reach;
use crate::app;
use crate::config::Config;
use crate::ghostbay::check::CheckedStore;
use crate::ghostbay::check::store::Stopped;
use crate::http::admin::client::AdminClient;
use crate::registry::check::{Damage, Depth, Repairs, Report, Totals, verify};

/// Everything that is wrong was repaired.
const REPAIRED: u8 = 2;
/// Something is damaged, and still is.
const DAMAGED: u8 = 1;
/// The check itself failed.
pub(super) const FAILED: u8 = 3;

/// What is checked, and how it is told.
#[derive(Args, Clone, Copy, Debug)]
pub struct VerifyArgs {
    /// Read every byte of every blob as well
    #[arg(long)]
    full: bool,
    /// Repair what can be repaired
    #[arg(long)]
    repair: bool,
    /// Tell everything in JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// Checks the store, in the server that runs or in place.
pub fn run(config: &Config, args: VerifyArgs) -> ExitCode {
    let mut teller = Teller::new(args.json);
    match reach::block_on(check(config, args, &mut teller)) {
        Ok(()) => teller.verdict(),
        Err(error) => {
            drop(teller);
            eprintln!("drift: the check failed: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

async fn check(config: &Config, args: VerifyArgs, teller: &mut Teller) -> anyhow::Result<()> {
    if let Some(server) = reach::running_server(config).await? {
        return ask(server, args, teller).await;
    }
    if args.repair {
        reach::check_writes(config)?;
    }
    let depth = match args.full {
        true => Depth::Full,
        false => Depth::Quick,
    };
    let stopped = CheckedStore::open_stopped(&config.storage.path, &app::engine_options(config));
    let (store, pages) = match stopped.context("cannot check the store in place")? {
        Stopped::Open(store, pages) => (*store, pages),
        Stopped::Unreadable(error) => {
            teller.tell(index_damage(&error.to_string()));
            return Ok(());
        }
    };
    // Nothing more is written to an index whose pages are damaged: it is made again.
    let repair = args.repair && pages.is_none();
    if let Some(reason) = pages {
        teller.tell(index_damage(&reason));
    }
    let repairs = match repair {
        true => Repairs::All,
        false => Repairs::Nothing,
    };
    let options = app::verify_options(config, depth, repairs);
    let mut tell = |report| teller.tell(report);
    if !repair {
        tokio::task::block_in_place(|| verify(store, &options, &mut tell))?;
        return Ok(());
    }
    // To be repaired it must run, and it is held by one at a time.
    drop(store);
    let engine = app::open(config).await?;
    let store = engine.to_check()?;
    let checked = tokio::task::block_in_place(|| verify(store, &options, &mut tell));
    engine.close().await;
    checked?;
    Ok(())
}

fn index_damage(reason: &str) -> Report {
    Report::Damage(Damage {
        what: "the index".to_owned(),
        reason: format!(
            "{reason}; with the server stopped, drift rebuild makes it again of the change log"
        ),
        hits: Vec::new(),
        repair: None,
        repaired: false,
    })
}

/// Has the running server check itself.
async fn ask(mut server: AdminClient, args: VerifyArgs, teller: &mut Teller) -> anyhow::Result<()> {
    let target = format!("/verify?full={}", args.full);
    let mut answer = match args.repair {
        true => server.post(&target).await?,
        false => server.get(&target).await?,
    };
    let mut rest = Vec::new();
    while let Some(piece) = answer.next().await? {
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let report =
                serde_json::from_slice(&line).context("the server's answer is not understood")?;
            teller.tell(report);
        }
    }
    anyhow::ensure!(
        teller.done,
        "the server's check broke off; its log says why"
    );
    Ok(())
}

/// Who tells the operator.
struct Teller {
    json: bool,
    progress: Progress,
    totals: Totals,
    done: bool,
}

impl Teller {
    fn new(json: bool) -> Self {
        let progress = match json {
            true => Progress::silent(),
            false => Progress::begin(),
        };
        Teller {
            json,
            progress,
            totals: Totals::default(),
            done: false,
        }
    }

    /// Tells it; whether anybody still listens.
    fn tell(&mut self, report: Report) -> bool {
        let report = match report {
            Report::Done(_) => {
                self.done = true;
                // With what was found before the check itself began.
                Report::Done(self.totals)
            }
            Report::Damage(damage) => {
                self.totals.damages += 1;
                self.totals.repaired += u64::from(damage.repaired);
                Report::Damage(damage)
            }
            Report::Progress { phase, done, total } => {
                let unit = match total {
                    Some(_) => Unit::Bytes,
                    None => Unit::Items,
                };
                self.progress.show(&phase, unit, done, total);
                Report::Progress { phase, done, total }
            }
        };
        let text = match &report {
            // Strings and numbers: this cannot fail to serialise.
            report if self.json => serde_json::to_string(report).unwrap_or_default(),
            Report::Damage(damage) => describe(damage),
            _ => return true,
        };
        self.progress
            .suspend(|| writeln!(stdout(), "{text}"))
            .and_then(|()| stdout().flush())
            .is_ok()
    }

    fn verdict(self) -> ExitCode {
        let Totals { damages, repaired } = self.totals;
        drop(self.progress);
        if !self.json {
            match damages {
                0 => println!("nothing is damaged"),
                1 => println!(
                    "1 damage, {}",
                    if repaired == 1 {
                        "repaired"
                    } else {
                        "not repaired"
                    }
                ),
                _ => println!("{damages} damages, {repaired} of them repaired"),
            }
        }
        match damages {
            0 => ExitCode::SUCCESS,
            _ if repaired == damages => ExitCode::from(REPAIRED),
            _ => ExitCode::from(DAMAGED),
        }
    }
}

fn describe(damage: &Damage) -> String {
    let mut text = format!("{}: {}", damage.what, damage.reason);
    for hit in &damage.hits {
        text.push_str(&format!("\n  hits repository {}", hit.repository));
        if !hit.tags.is_empty() {
            text.push_str(&format!(", tags {}", hit.tags.join(", ")));
        }
        for manifest in &hit.manifests {
            text.push_str(&format!("\n    manifest {manifest}"));
        }
    }
    if let Some(repair) = &damage.repair {
        let done = match damage.repaired {
            true => "repaired",
            false => "--repair would",
        };
        text.push_str(&format!("\n  {done}: {repair}"));
    }
    text
}
