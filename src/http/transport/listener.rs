//! The port: binding it, and accepting until a stop is asked for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::TransportOptions;
use super::connection::{self, Stop};
use super::refusal;

/// Clients that are told "too many connections" at once. Beyond them the door is just closed.
const REFUSALS_MAX: usize = 256;

/// The pause after an accept that failed for want of something (file descriptors, memory),
/// which would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A bound port.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 takes any free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, source };
        let inner = TcpListener::bind(address).await.map_err(failed)?;
        let address = inner.local_addr().map_err(failed)?;
        Ok(Listener { inner, address })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `stop` is done, then lets what is under way go on for
    /// [`TransportOptions::shutdown`] and cuts off the rest.
    pub async fn serve(
        self,
        router: Router,
        options: TransportOptions,
        stop: impl Future<Output = ()>,
    ) {
        let connections = TaskTracker::new();
        let stop_connections = Stop::default();
        let mut stop = std::pin::pin!(stop);
        let doorman = Doorman {
            router,
            protocol: Arc::new(connection::protocol()),
            places: Arc::new(Semaphore::new(options.connections_max as usize)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            refusal: Arc::from(refusal::answer(options.connections_max)),
            options: options.clone(),
            connections: connections.clone(),
            stop: stop_connections.clone(),
        };
        loop {
            tokio::select! {
                accepted = self.inner.accept() => match accepted {
                    Ok((socket, peer)) => doorman.admit(socket, peer),
                    Err(error) => pause(&error).await,
                },
                () = stop.as_mut() => break,
            }
        }
        // From here on a client is refused by the system, and a balancer sees it at once.
        drop(self.inner);
        connections.close();
        stop_connections.gently.cancel();
        tracing::info!(
            connections = connections.len(),
            "stopping: transfers may go on for {} s",
            options.shutdown.as_secs_f64()
        );
        if tokio::time::timeout(options.shutdown, connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = connections.len(),
                "cutting off transfers that did not end within [server] shutdown_timeout"
            );
            stop_connections.now.cancel();
            connections.wait().await;
        }
    }
}

/// Who lets connections in.
struct Doorman {
    router: Router,
    protocol: Arc<hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>>,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    refusal: Arc<str>,
    options: TransportOptions,
    connections: TaskTracker,
    stop: Stop,
}

impl Doorman {
    fn admit(&self, socket: TcpStream, peer: SocketAddr) {
        // Small answers must not wait for an acknowledgement of the one before.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return self.refuse(socket, peer);
        };
        let served = connection::serve(
            socket,
            peer,
            self.router.clone(),
            self.protocol.clone(),
            self.options.timeouts,
            self.stop.clone(),
        );
        self.connections.spawn(async move {
            served.await;
            drop(place);
        });
    }

    fn refuse(&self, socket: TcpStream, peer: SocketAddr) {
        tracing::debug!(%peer, "refused: too many connections");
        let Ok(place) = self.refusals.clone().try_acquire_owned() else {
            return;
        };
        let answer = self.refusal.clone();
        tokio::spawn(async move {
            refusal::refuse(socket, &answer).await;
            drop(place);
        });
    }
}

/// Waits out an accept that failed, unless it failed for the one client alone.
async fn pause(error: &io::Error) {
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    ) {
        return;
    }
    tracing::error!(%error, "cannot accept connections");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
