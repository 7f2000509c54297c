//! Our own listener, asked as a client would ask it.

use std::fmt;
use std::net::SocketAddr;

use axum::http::StatusCode;

use super::{OutboundError, client, trust};

/// The listener of a server on this machine.
#[derive(Clone, Copy, Debug)]
pub struct OwnListener {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub is_tls: bool,
}

impl OwnListener {
    /// The status that a path is answered with.
    ///
    /// Its certificate is not looked at: it is for the names that clients use, and the address was not
    /// looked up. Nothing is told to it that anybody could not hear.
    pub async fn get(&self, path: &str) -> Result<StatusCode, OutboundError> {
        let client = client::builder(trust::of_anybody()?).build()?;
        Ok(client.get(format!("{self}{path}")).send().await?.status())
    }
}

impl fmt::Display for OwnListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.address)
    }
}
