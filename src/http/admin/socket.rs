//! The socket in the data directory: making it, who may connect, and its end.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Operator;

/// Commands that are answered at once; further ones wait.
const CONNECTIONS_MAX: usize = 32;

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 64;

/// The pause after an accept that failed for want of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The longest path that the system takes for a socket, in bytes: `sun_path` without its NUL.
const PATH_BYTES_MAX: usize = 107;

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Its path is longer than a socket's can be.
    #[error(
        "{} has {} bytes and the path of a socket at most {PATH_BYTES_MAX}: name the data directory by a shorter path, such as a relative one or a symbolic link",
        path.display(),
        path.as_os_str().len()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot listen on {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Whether a path is short enough for a socket.
pub(super) fn check_path(path: &Path) -> Result<(), SocketError> {
    match path.as_os_str().len() > PATH_BYTES_MAX {
        true => Err(SocketError::PathTooLong {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

/// The socket, until it is dropped: its name goes with it.
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Makes the socket at `path`. The caller holds the data directory, so a socket that is
    /// there is one that a killed server left behind, and is replaced.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        check_path(path)?;
        let listener = bind(path).map_err(|source| SocketError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(AdminSocket {
            listener,
            path: path.to_owned(),
        })
    }

    /// Serves `router` until `stop` is cancelled. Answers that are under way may go on for
    /// `shutdown`; the rest is cut off.
    pub async fn serve(self, router: Router, stop: CancellationToken, shutdown: Duration) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let connections = TaskTracker::new();
        let now = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept(&self.listener, &places) => accepted,
            };
            let Some((stream, operator, place)) = accepted else {
                continue;
            };
            let router = router.clone().layer(Extension(operator));
            let served = serve_connection(stream, router, stop.clone());
            let now = now.clone();
            connections.spawn(async move {
                tokio::select! {
                    () = served => {}
                    () = now.cancelled() => {}
                }
                drop(place);
            });
        }
        // A command that comes from here on finds no server.
        drop(self);
        connections.close();
        let ended = tokio::time::timeout(shutdown, connections.wait()).await;
        if ended.is_err() {
            tracing::warn!("cutting off answers to an operator's commands");
            now.cancel();
            connections.wait().await;
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the admin socket was not removed");
        }
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other("something that is no socket lies there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    // Nobody can connect before it listens, so nobody can between the name and its mode.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)
}

type Place = tokio::sync::OwnedSemaphorePermit;

/// The next connection of somebody who may ask.
async fn accept(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> Option<(UnixStream, Operator, Place)> {
    let place = places.clone().acquire_owned().await.ok()?;
    let stream = match listener.accept().await {
        Ok((stream, _)) => stream,
        Err(error) => {
            tracing::error!(%error, "cannot accept an operator's connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            return None;
        }
    };
    // The mode keeps others out already; this also where the directory was copied with another.
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == own => {
            let uid = peer.uid();
            Some((stream, Operator { uid }, place))
        }
        Ok(peer) => {
            tracing::warn!(
                uid = peer.uid(),
                "refused a connection to the admin socket: its user is neither root nor the server's"
            );
            None
        }
        Err(error) => {
            tracing::warn!(%error, "refused a connection to the admin socket: its user is not known");
            None
        }
    }
}

async fn serve_connection(stream: UnixStream, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an operator's connection broke");
    }
}
