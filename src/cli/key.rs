//! `drift key`: the keys that tokens are signed with.

use clap::Subcommand;

use super::api::post;
use super::server::Server;
use crate::management::tokens::KeyId;

/// `drift key ...`
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a new key, and print its id. Tokens that an older one signed hold until they expire
    Rotate,
}

pub fn run(server: &Server<'_>, asked: KeyCommand) -> anyhow::Result<()> {
    let KeyCommand::Rotate = asked;
    let KeyId { id } = post(server, "/keys/rotate", &())?;
    println!("{id}");
    Ok(())
}
