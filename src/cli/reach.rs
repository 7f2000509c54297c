//! Where a command does its work: in the server that runs, or in the store itself.

use anyhow::Context;

use crate::config::Config;
use crate::ghostbay::admin::ADMIN_SOCKET;
use crate::http::admin::client::{AdminClient, ClientError};

/// The running server, if there is one. Without one the command opens the store itself, and is
/// told by the directory's lock if somebody holds it who does not listen.
pub async fn running_server(config: &Config) -> anyhow::Result<Option<AdminClient>> {
    let path = config.storage.path.join(ADMIN_SOCKET);
    match AdminClient::connect(&path).await {
        Ok(client) => Ok(client),
        // No server can listen there; whether one runs is for the lock to say.
        Err(ClientError::Socket(error)) => {
            tracing::warn!("{error}");
            Ok(None)
        }
        Err(error) => Err(error).context("commands are for the server's own user, or root"),
    }
}

/// Runs a command on a runtime of its own.
pub fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("drift")
        .build()
        .context("cannot start threads")?
        .block_on(command)
}
