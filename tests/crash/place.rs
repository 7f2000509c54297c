//! Where a server runs: a directory and a port that stay the same over restarts.

use std::net::TcpListener;
use std::path::Path;

use crate::support::Server;

pub struct Place {
    directory: tempfile::TempDir,
    port: String,
}

impl Place {
    pub fn new() -> Self {
        // The port is free now, and loopback ports are not given out again at once.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        Place {
            directory: tempfile::tempdir().unwrap(),
            port: port.to_string(),
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the server and waits until it is ready.
    pub fn start(&self) -> Server {
        Server::builder()
            .directory(self.path())
            .variables(&[("DRIFT_SERVER_API_PORT", &self.port)])
            .start()
    }
}
