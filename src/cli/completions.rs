//! `drift completions`: what a shell needs to complete command lines of drift.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate, generate_to};

use super::Cli;

/// For which shell, and where to.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
    /// Write a file of the name that the shell looks for to this directory, and not to standard output
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes the script. No configuration is read: packages that bring the script have none.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut command = Cli::command();
    let Some(directory) = &args.dir else {
        let mut script = Vec::new();
        generate(args.shell, &mut command, "drift", &mut script);
        return stdout()
            .write_all(&script)
            .context("cannot write the script");
    };
    let file = generate_to(args.shell, &mut command, "drift", directory)
        .with_context(|| format!("cannot write the script to {}", directory.display()))?;
    println!("{}", file.display());
    Ok(())
}
