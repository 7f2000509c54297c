//! The command line: one file for each command.

mod logging;
mod migrate;
mod moment;
mod reach;
mod rebuild;
mod serve;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::http::error::causes;

/// What was asked for on the command line.
#[derive(Debug, Parser)]
#[command(name = "drift", version, about = "An OCI container registry")]
pub struct Cli {
    /// The configuration file; without it ./drift.toml, if there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do; to serve, if nothing is said.
#[derive(Debug, Default, Subcommand)]
enum Command {
    /// Serve the registry until SIGTERM or SIGINT (what drift does without a command)
    #[default]
    Serve,
    /// Make a new index of the change log, for a stopped store whose own is lost or damaged
    Rebuild,
    /// Bring the index of a stopped store to this version's schema, as a start does as well
    Migrate {
        /// Only list the steps
        #[arg(long)]
        dry_run: bool,
    },
    /// Say which server holds the data directory; exit status 1 if none runs
    Status,
}

impl Cli {
    /// Does it. What goes wrong is printed to standard error, and the exit code is then 1; a
    /// command line without meaning ends in 2 before this.
    pub fn run(self) -> ExitCode {
        match self.execute() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("drift: {}", causes(error.as_ref()));
                ExitCode::FAILURE
            }
        }
    }

    fn execute(self) -> anyhow::Result<()> {
        let config = Config::load(self.config.as_deref())?;
        logging::begin(config.logging.format)?;
        match self.command.unwrap_or_default() {
            Command::Serve => serve::run(config),
            Command::Rebuild => rebuild::run(&config),
            Command::Migrate { dry_run } => migrate::run(&config, dry_run),
            Command::Status => status::run(&config),
        }
    }
}
