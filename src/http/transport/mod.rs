//! The listener: connections, their limits, and their end.
//!
//! hyper speaks HTTP/1.1 and, to clients that begin with it, HTTP/2 in the clear. Everything
//! about time is decided here and not by hyper's own timer, because hyper counts the wait for a
//! request and the reading of its head as one, and does not count the wait for the very first
//! byte at all:
//!
//! * a head must be complete `header` after its first byte, a new connection's first head
//!   `header` after the connection;
//! * a connection without a request is closed after `idle`;
//! * a body, either way, must move by at least a byte within `body`.
//!
//! Over TLS the time for the first head includes the handshake (`handshake`, with the certificate of
//! `tls`; what the client's own says, `client_certificate`).
//!
//! `activity` keeps the times of one connection, `stream` and `body` tell it what happens,
//! and `connection` ends what is late. `send_file` has the kernel send what lies in packs. `guests` closes connections without a request when
//! every place is taken, and `sites` counts those of each address.

mod activity;
mod body;
mod client_certificate;
mod connection;
mod file_limit;
mod guests;
mod handshake;
mod listener;
mod refusal;
mod send_file;
mod shutdown;
mod sites;
mod stream;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use super::metrics::Metrics;

pub use body::{RequestBody, RequestBodyError};
pub use file_limit::{connections_possible, connections_within, files_needed};
pub use listener::{ListenError, Listener};
pub use shutdown::stop_signal;
pub use sites::SiteLimit;
pub use tls::{Clients, Tls, TlsError, TlsFiles};

/// What the listener allows.
#[derive(Clone)]
pub struct TransportOptions {
    /// Connections served at once. A further one takes the place of one that has no request, and
    /// is answered 503 if there is none.
    pub connections_max: u32,
    /// How many one address may have of them.
    pub connections_by_address: SiteLimit,
    /// How long a client may take.
    pub timeouts: Timeouts,
    /// How long transfers may go on once a stop was asked for.
    pub shutdown: Duration,
    /// What TLS is spoken with; `None` serves in the clear.
    pub tls: Option<Arc<Tls>>,
    /// What counts connections.
    pub metrics: Arc<Metrics>,
}

/// How long a client may take over each thing.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its head.
    pub header: Duration,
    /// Between two requests of a connection.
    pub idle: Duration,
    /// Between two bytes of a body.
    pub body: Duration,
}

impl Timeouts {
    /// The shortest of them.
    fn shortest(&self) -> Duration {
        self.header.min(self.idle).min(self.body)
    }
}

/// Who is at the other end of the connection, as an extension of each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub std::net::SocketAddr);
