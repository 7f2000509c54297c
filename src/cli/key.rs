//! `drift key`: the keys that tokens are signed with.

use anyhow::bail;
use clap::Subcommand;

use super::user::ask;
use crate::auth::command::{Answer, Command};
use crate::config::Config;

/// `drift key ...`
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a new key, and print its id. Tokens that an older one signed hold until they expire
    Rotate,
}

pub fn run(config: &Config, asked: KeyCommand) -> anyhow::Result<()> {
    let KeyCommand::Rotate = asked;
    match ask(config, Command::RotateKey)? {
        Answer::Key(id) => println!("{id}"),
        _ => bail!("the server's answer is not understood"),
    }
    Ok(())
}
