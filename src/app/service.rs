//! What whoever started the server is told of it (systemd's `sd_notify(3)`, for `Type=notify`). Without the
//! variable NOTIFY_SOCKET that is nobody.

use std::net::SocketAddr;

use sd_notify::NotifyState;

/// Clients are served from here on.
pub fn ready(address: SocketAddr) {
    let status = format!("serving on {address}");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// No new ones are, and what goes on is given its time.
pub fn stopping() {
    let status = NotifyState::Status("stopping, once transfers have ended");
    tell(&[NotifyState::Stopping, status]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager (NOTIFY_SOCKET) was not told");
    }
}
