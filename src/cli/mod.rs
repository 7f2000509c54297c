//! The command line: one file for each command.

mod api;
mod audit;
mod backup;
mod compact;
mod completions;
mod doctor;
mod du;
mod health;
mod key;
mod logging;
mod man;
mod migrate;
mod moment;
mod policy;
mod progress;
mod reach;
mod rebuild;
mod registry;
mod restore;
mod retention;
mod serve;
mod server;
mod status;
mod token;
mod transfer;
mod user;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app;
use crate::config::Config;
use crate::http::error::causes;

use server::{Server, ServerArgs};

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
    Rebuild {
        /// Where the log is gone as well: keep the blobs that the packs prove. Manifests, tags and
        /// repositories are lost; a push of the same images finds its blobs and makes them again
        #[arg(long)]
        salvage: bool,
    },
    /// Copy the index to one file, or the whole store to a directory, while it serves or is stopped
    #[command(group(clap::ArgGroup::new("target").required(true).multiple(true)))]
    Backup {
        /// The file, which is replaced when the new one is whole
        #[arg(group = "target")]
        file: Option<PathBuf>,
        /// The directory of a whole copy: packs, index and keys; an older copy is brought up to date
        #[arg(long, value_name = "DIR", group = "target")]
        full: Option<PathBuf>,
    },
    /// Put a stopped store back to a backup, saying what that undoes
    Restore {
        /// The backup, or a checkpoint of the change log
        file: PathBuf,
        /// A later moment to go on to by the change log, such as 2030-01-31T12:30:00Z
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Say what it would do, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring the index of a stopped store to this version's schema, as a start does as well
    Migrate {
        /// Only list the steps
        #[arg(long)]
        dry_run: bool,
    },
    /// Rewrite packs of which little is left alive: the running server's, or those of a stopped store
    Compact(compact::CompactArgs),
    /// Go by the rules of [retention] now, in the running server or in a store that is stopped
    Retention {
        #[command(flatten)]
        args: retention::RetentionArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Tell what takes up room, and what deleting it would free, in bytes
    ///
    /// EXCLUSIVE are bytes of blobs that nothing else holds, SHARED those that something else holds as
    /// well. FREES is what deleting it, purging and collecting would free in the packs: the exclusive
    /// blobs with the headers, trailers and alignment of their records. MANIFESTS lie in the index.
    /// A store is followed by its repositories, a repository by its tags, a tag by its blobs.
    Du {
        #[command(flatten)]
        args: du::DuArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Who can log in: accounts and their passwords
    User {
        #[command(subcommand)]
        asked: user::UserCommand,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Tokens for machines: for some actions in some repositories, until they expire
    Token {
        #[command(subcommand)]
        asked: token::TokenCommand,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// The keys that short-lived tokens are signed with
    Key {
        #[command(subcommand)]
        asked: key::KeyCommand,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Who may do what: rules, of which the first that fits decides
    ///
    /// WHO is user:NAME, group:NAME, token:NAME, anonymous, authenticated or everybody. ACTIONS are
    /// pull, push-new, overwrite, delete and admin, with commas between them; push is
    /// push-new,overwrite, and all is all of them. REPOSITORIES is a name or a pattern: * within a
    /// path part, ** over parts, {a,b} for either. What no rule allows is denied, but to accounts of
    /// the group admins.
    Policy {
        #[command(subcommand)]
        asked: policy::PolicyCommand,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// See who did what, from where, and what decided: logins, refusals and changes, newest last
    Audit {
        #[command(flatten)]
        args: audit::AuditArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Bring images in: from an OCI layout in a directory or a tar, from a running registry, or from the data
    /// directory of a registry:2
    ///
    /// Exit status: 0 all of it is here; 1 something is not, and is named on standard error. What is here
    /// already is passed over, so that the same command goes on where it was interrupted.
    Import(transfer::ImportArgs),
    /// Write images out: to an OCI layout in a directory or a tar, or to a running registry
    Export(transfer::ExportArgs),
    /// Ask the server of this configuration whether it can serve; exit status 1 if it cannot
    ///
    /// It is asked at the address and port of the configuration, over HTTP or HTTPS, for /readyz; by the socket in
    /// the data directory where clients have to show a certificate or the port is 0.
    Health(health::HealthArgs),
    /// Say which server holds the data directory; exit status 1 if none runs
    Status,
    /// Say what stands in a server's way on this machine, or in a client's way to a URL; exit status 1 if something
    /// does
    ///
    /// Looks at the configuration, ports, data directory and disk, limits, clock and TLS files, before the first start
    /// or while the server runs, and prints what docker, podman and containerd are to be told. With --url it
    /// asks the registry as a client would: certificate, login, limits of a proxy for bodies, an upload that is given up
    /// again, a part of a layer. It changes nothing. Exit status: 0 nothing failed, warnings or not; 1 something did.
    Doctor(Box<doctor::DoctorArgs>),
    /// See where a tag pointed, and put it back
    Tag {
        #[command(subcommand)]
        asked: registry::TagCommand,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete a manifest, or bring it back
    Manifest {
        #[command(subcommand)]
        asked: registry::ManifestCommand,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete a repository, or bring it back
    Repository {
        #[command(subcommand)]
        asked: registry::RepositoryCommand,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Collect what is due now, which a server does by itself: deleted manifests whose time is over,
    /// and blobs that nothing refers to
    Gc {
        #[command(flatten)]
        asked: registry::GcArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Say why a tag, manifest or blob is kept, or when it goes
    Why {
        /// REPOSITORY:TAG or REPOSITORY@DIGEST
        reference: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Check that the store is whole: the running server's, or one that is stopped
    ///
    /// Exit status: 0 nothing is damaged; 1 something is damaged, and still is; 2 all that was
    /// damaged is repaired (a blob that is lost answers 404 from then on, until it is pushed
    /// again); 3 the check failed. A command line without meaning ends in 64.
    Verify(verify::VerifyArgs),
    /// Write what a shell completes command lines of drift by
    Completions(completions::CompletionsArgs),
    /// Write the manual page of drift, of a command, or with --dir of all
    Man(man::ManArgs),
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
        match &self.command {
            Some(Command::Completions(args)) => {
                return completions::run(args).map(|()| ExitCode::SUCCESS);
            }
            Some(Command::Man(args)) => return man::run(args).map(|()| ExitCode::SUCCESS),
            // A configuration that does not load is one of its findings.
            Some(Command::Doctor(args)) => return doctor::run(self.config.as_deref(), args),
            _ => {}
        }
        let config = Config::load(self.config.as_deref())?;
        let command = self.command.unwrap_or_default();
        // Commands are asked by people, who see what they take.
        let traces = match command {
            Command::Serve => app::traces(&config),
            _ => None,
        };
        logging::begin(config.logging.format, traces.as_ref())?;
        let at = |args| Server {
            config: &config,
            args,
        };
        match command {
            Command::Serve => return serve::run(config, traces).map(|()| ExitCode::SUCCESS),
            Command::Rebuild { salvage: false } => rebuild::run(&config)?,
            Command::Rebuild { salvage: true } => rebuild::run_salvage(&config)?,
            Command::Migrate { dry_run } => migrate::run(&config, dry_run)?,
            Command::Backup { file, full } => {
                backup::run(&config, file.as_deref(), full.as_deref())?;
            }
            Command::Restore { file, to, dry_run } => {
                restore::run(&config, &file, to.as_deref(), dry_run)?;
            }
            Command::Compact(args) => compact::run(&config, &args)?,
            Command::Retention { args, server } => retention::run(&at(server), args)?,
            Command::Du { args, server } => du::run(&at(server), &args)?,
            Command::User { asked, server } => user::run(&at(server), asked)?,
            Command::Token { asked, server } => token::run(&at(server), asked)?,
            Command::Key { asked, server } => key::run(&at(server), asked)?,
            Command::Audit { args, server } => audit::run(&at(server), &args)?,
            Command::Policy { asked, server } => return policy::run(&at(server), asked),
            Command::Import(args) => return transfer::import(&config, &args),
            Command::Export(args) => return transfer::export(&config, &args),
            Command::Health(args) => return health::run(&config, &args),
            Command::Status => status::run(&config)?,
            Command::Tag { asked, server } => registry::tag(&at(server), asked)?,
            Command::Manifest { asked, server } => registry::manifest(&at(server), asked)?,
            Command::Repository { asked, server } => registry::repository(&at(server), asked)?,
            Command::Gc { asked, server } => registry::gc(&at(server), asked)?,
            Command::Why { reference, server } => registry::why(&at(server), &reference)?,
            // Answered above, without a configuration.
            Command::Completions(_) | Command::Man(_) | Command::Doctor(_) => {}
            Command::Verify(args) => return Ok(verify::run(&config, args)),
        }
        Ok(ExitCode::SUCCESS)
    }
}
