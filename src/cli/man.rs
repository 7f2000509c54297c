//! `drift man`: manual pages, made of what `--help` says.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::Cli;

/// Which pages, and where to.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// The command whose page is wanted, such as: tag history
    #[arg(conflicts_with = "dir")]
    command: Vec<String>,
    /// Write a page for each command to this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes the pages. No configuration is read: packages that bring them have none.
pub fn run(args: &ManArgs) -> anyhow::Result<()> {
    if let Some(directory) = &args.dir {
        return clap_mangen::generate_to(Cli::command(), directory)
            .with_context(|| format!("cannot write pages to {}", directory.display()));
    }
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut asked = &command;
    for name in &args.command {
        let found = asked.find_subcommand(name);
        asked = found.with_context(|| format!("{} has no command {name:?}", asked.get_name()))?;
    }
    let mut page = Vec::new();
    Man::new(asked.clone()).render(&mut page)?;
    stdout().write_all(&page).context("cannot write the page")
}
