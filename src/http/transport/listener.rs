//! The port: binding it, and accepting until a stop is asked for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::TransportOptions;
use super::activity::Activity;
use super::connection::{self, House, Stop};
use super::guests::Guests;
use super::refusal;
use super::sites::{SiteStay, Sites};
use crate::http::metrics::{Limit, Metrics};

/// Connections that the system holds until they are accepted; it may allow fewer. At the 128
/// that is usual, the 129th client of a burst waits a whole second for its next try.
const BACKLOG: u32 = 4096;

/// Newcomers that wait for a place, or are told at leisure that there is none, at once. Others
/// are told in passing.
pub(super) const WAITING_MAX: u32 = 1024;

/// How often a newcomer's place is looked for before it is refused.
const ROOM_LOOKS: u32 = 4;

/// How long is waited for a place after each look.
const ROOM_LOOK_TIME: Duration = Duration::from_millis(250);

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
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        bind(address).map_err(|source| ListenError { address, source })
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
                tls: options.tls,
                metrics: options.metrics.clone(),
                stop: Stop::default(),
            }),
            places: Arc::new(Semaphore::new(options.connections_max as usize)),
            guests: Arc::default(),
            waiting: Arc::new(Semaphore::new(
                WAITING_MAX.min(options.connections_max) as usize
            )),
            house_full: refusal::house_full(options.connections_max),
            share_taken: refusal::share_taken(options.connections_by_address.most),
            sites: Arc::new(Sites::new(options.connections_by_address)),
            metrics: options.metrics,
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

fn bind(address: SocketAddr) -> io::Result<Listener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // What connections of the process before this one left behind must not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let inner = socket.listen(BACKLOG)?;
    let address = inner.local_addr()?;
    Ok(Listener { inner, address })
}

/// Who lets connections in.
struct Doorman {
    house: Arc<House>,
    places: Arc<Semaphore>,
    guests: Arc<Guests>,
    waiting: Arc<Semaphore>,
    house_full: String,
    share_taken: String,
    sites: Arc<Sites>,
    metrics: Arc<Metrics>,
    connections: TaskTracker,
}

impl Doorman {
    fn admit(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        // Small answers must not wait for an acknowledgement of the one before.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let Some(site) = self.sites.enter(peer.ip()) else {
            return self.have_wait(Newcomer {
                socket,
                peer,
                site: None,
            });
        };
        match self.places.clone().try_acquire_owned() {
            Ok(place) => self.serve(socket, peer, (site, place)),
            Err(_) => self.have_wait(Newcomer {
                socket,
                peer,
                site: Some(site),
            }),
        }
    }

    /// Sees to a newcomer who has no place: at leisure, or in passing if too many wait already.
    fn have_wait(self: &Arc<Self>, newcomer: Newcomer) {
        match self.waiting.clone().try_acquire_owned() {
            Ok(waiting) => {
                let doorman = self.clone();
                tokio::spawn(async move {
                    doorman.find_room(newcomer).await;
                    drop(waiting);
                });
            }
            Err(_) => refusal::refuse_at_once(newcomer.socket, self.refusal(&newcomer.site)),
        }
    }

    /// Serves a newcomer for whom a place is found within [`ROOM_LOOKS`] looks, and refuses
    /// another, or one whose address has its share.
    async fn find_room(&self, newcomer: Newcomer) {
        let Newcomer {
            socket,
            peer,
            mut site,
        } = newcomer;
        if let Some(counted) = site.take() {
            for _ in 0..ROOM_LOOKS {
                self.guests.make_room();
                let place = self.places.clone().acquire_owned();
                if let Ok(Ok(place)) = tokio::time::timeout(ROOM_LOOK_TIME, place).await {
                    return self.serve(socket, peer, (counted, place));
                }
            }
            site = Some(counted);
        }
        tracing::debug!(%peer, "refused: too many connections");
        refusal::refuse(socket, self.refusal(&site)).await;
    }

    /// What a newcomer is told who is refused, by whether its address has room; counts it.
    fn refusal(&self, site: &Option<SiteStay>) -> &str {
        let (limit, answer) = match site {
            Some(_) => (Limit::connections, &self.house_full),
            None => (Limit::connections_by_address, &self.share_taken),
        };
        self.metrics.refused(limit);
        answer
    }

    fn serve(&self, socket: TcpStream, peer: SocketAddr, place: (SiteStay, OwnedSemaphorePermit)) {
        let activity = Activity::new(self.house.timeouts);
        let stay = self.guests.enter(activity.clone());
        let leave = stay.leave.clone();
        let connected = self.metrics.connected();
        let served = connection::serve(socket, peer, activity, self.house.clone(), leave);
        self.connections.spawn(async move {
            served.await;
            drop((stay, place, connected));
        });
    }
}

/// A connection without a place.
struct Newcomer {
    socket: TcpStream,
    peer: SocketAddr,
    /// `None` if its address has its share already.
    site: Option<SiteStay>,
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
