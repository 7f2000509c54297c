//! Where a command does its work: in the server that runs, or in the store itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::app::stopped::StoppedRegistry;
use crate::config::Config;
use crate::ghostbay::admin::ADMIN_SOCKET;
use crate::http::admin::HOLD_ROUTE;
use crate::http::admin::client::{AdminClient, Answer, ClientError};
use crate::http::admin::exchange::SocketExchange;
use crate::http::exchange::Exchange;
use crate::transfer::registry::RegistryEnd;

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

/// Who answers what a client would ask: the server that runs, or the registry on the store, which is then to
/// be closed.
pub async fn exchange(
    config: &Config,
) -> anyhow::Result<(Arc<dyn Exchange>, Option<StoppedRegistry>)> {
    if running_server(config).await?.is_some() {
        let path = config.storage.path.join(ADMIN_SOCKET);
        return Ok((Arc::new(SocketExchange { path }), None));
    }
    let stopped = StoppedRegistry::open(config).await?;
    Ok((stopped.exchange.clone(), Some(stopped)))
}

/// The same as an end of a transfer.
pub async fn registry(
    config: &Config,
) -> anyhow::Result<(Arc<RegistryEnd>, Option<StoppedRegistry>)> {
    let (exchange, stopped) = exchange(config).await?;
    Ok((Arc::new(RegistryEnd::own(exchange)?), stopped))
}

/// Refuses what would change what a stopped store's registry holds, as its server would.
pub fn check_writes(config: &Config) -> anyhow::Result<()> {
    anyhow::ensure!(
        !config.server.read_only,
        "this registry takes no writes at present ([server] read_only)"
    );
    Ok(())
}

/// The packs of a store, none of whose bytes is given back meanwhile.
pub struct Held {
    runtime: tokio::runtime::Runtime,
    answer: Option<(AdminClient, Answer)>,
}

impl Held {
    /// Has the running server hold them. Where none runs, there is nobody who would give them back.
    pub fn begin(config: &Config) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start threads")?;
        let answer = runtime.block_on(async {
            let Some(mut server) = running_server(config).await? else {
                return Ok(None);
            };
            let mut answer = server.get(HOLD_ROUTE).await?;
            // It is held when the first line comes.
            answer.next().await?;
            anyhow::Ok(Some((server, answer)))
        })?;
        Ok(Held { runtime, answer })
    }

    /// Lets them go; an error if the server has done so before.
    pub fn end(self) -> anyhow::Result<()> {
        let Some((_server, mut answer)) = self.answer else {
            return Ok(());
        };
        let ended = self
            .runtime
            .block_on(async { tokio::time::timeout(Duration::ZERO, answer.next()).await });
        anyhow::ensure!(
            ended.is_err(),
            "the server stopped while its packs were copied, and may have given back some of what \
             was copied: take the copy again"
        );
        Ok(())
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
