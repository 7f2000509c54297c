//! The command line: one file for each command.

mod logging;
mod migrate;
mod moment;
mod reach;
mod rebuild;
mod serve;
mod status;
mod verify;

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
    /// Check that the store is whole: the running server's, or one that is stopped
    ///
    /// Exit status: 0 nothing is damaged; 1 something is damaged, and still is; 2 all that was
    /// damaged is repaired (a blob that is lost answers 404 from then on, until it is pushed
    /// again); 3 the check failed. A command line without meaning ends in 64.
    Verify(verify::VerifyArgs),
}

/// Exit status for a command line without meaning (EX_USAGE); clap's own, 2, says something else
/// here.
const USAGE: u8 = 64;

impl Cli {
    /// Reads the command line and does what it asks for. What goes wrong is printed to standard
    /// error, and the exit status is then 1, but for `verify`, which has its own.
    pub fn main() -> ExitCode {
        match Cli::try_parse() {
            Ok(cli) => cli.run(),
            Err(error) => {
                // Whether it was printed changes nothing.
                let _ = error.print();
                match error.use_stderr() {
                    true => ExitCode::from(USAGE),
                    false => ExitCode::SUCCESS,
                }
            }
        }
    }

    fn run(self) -> ExitCode {
        let verifies = matches!(self.command, Some(Command::Verify(_)));
        match self.execute() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("drift: {}", causes(error.as_ref()));
                match verifies {
                    true => ExitCode::from(verify::FAILED),
                    false => ExitCode::FAILURE,
                }
            }
        }
    }

    fn execute(self) -> anyhow::Result<ExitCode> {
        let config = Config::load(self.config.as_deref())?;
        logging::begin(config.logging.format)?;
        match self.command.unwrap_or_default() {
            Command::Serve => serve::run(config)?,
            Command::Rebuild => rebuild::run(&config)?,
            Command::Migrate { dry_run } => migrate::run(&config, dry_run)?,
            Command::Status => status::run(&config)?,
            Command::Verify(args) => return Ok(verify::run(&config, args)),
        }
        Ok(ExitCode::SUCCESS)
    }
}
