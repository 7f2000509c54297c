//! `drift key`: the keys that tokens are signed with.

use clap::Subcommand;

use super::api::post;
use crate::config::Config;
use crate::management::tokens::KeyId;

/// `drift key ...`
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a new key, and print its id. Tokens that an older one signed hold until they expire
    Rotate,
}

pub fn run(config: &Config, asked: KeyCommand) -> anyhow::Result<()> {
    let KeyCommand::Rotate = asked;
    let KeyId { id } = post(config, "/keys/rotate", &())?;
    println!("{id}");
    Ok(())
}
