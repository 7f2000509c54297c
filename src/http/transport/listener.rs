//! The port: binding it, and accepting until a stop is asked for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::TransportOptions;
use super::activity::Activity;
use super::connection::{self, House, Stop};
use super::guests::Guests;
use super::refusal;

/// Newcomers that wait for a place or are told that there is none, at once. Beyond them the door
/// is just closed.
const REFUSALS_MAX: usize = 256;

/// How long a newcomer waits for the place of a connection that was asked to leave.
const ROOM_TIME: Duration = Duration::from_millis(250);

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
        let mut stop = std::pin::pin!(stop);
        let doorman = Arc::new(Doorman {
            house: Arc::new(House {
                router,
                protocol: connection::protocol(),
                timeouts: options.timeouts,
                stop: Stop::default(),
            }),
            places: Arc::new(Semaphore::new(options.connections_max as usize)),
            guests: Arc::default(),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            refusal: refusal::answer(options.connections_max),
            connections: TaskTracker::new(),
        });
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
        let connections = &doorman.connections;
        connections.close();
        doorman.house.stop.gently.cancel();
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
            doorman.house.stop.now.cancel();
            connections.wait().await;
        }
    }
}

/// Who lets connections in.
struct Doorman {
    house: Arc<House>,
    places: Arc<Semaphore>,
    guests: Arc<Guests>,
    refusals: Arc<Semaphore>,
    refusal: String,
    connections: TaskTracker,
}

impl Doorman {
    fn admit(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        // Small answers must not wait for an acknowledgement of the one before.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return self.serve(socket, peer, place);
        }
        let Ok(waiting) = self.refusals.clone().try_acquire_owned() else {
            return;
        };
        let room = self.guests.make_room();
        let doorman = self.clone();
        tokio::spawn(async move {
            if room {
                let place = doorman.places.clone().acquire_owned();
                if let Ok(Ok(place)) = tokio::time::timeout(ROOM_TIME, place).await {
                    return doorman.serve(socket, peer, place);
                }
            }
            tracing::debug!(%peer, "refused: too many connections");
            refusal::refuse(socket, &doorman.refusal).await;
            drop(waiting);
        });
    }

    fn serve(&self, socket: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let activity = Activity::new(self.house.timeouts);
        let stay = self.guests.enter(activity.clone());
        let leave = stay.leave.clone();
        let served = connection::serve(socket, peer, activity, self.house.clone(), leave);
        self.connections.spawn(async move {
            served.await;
            drop((stay, place));
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
