//! Where a server runs: a directory and a port that stay the same over restarts.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::support::{Server, ServerBuilder};

pub struct Place {
    directory: tempfile::TempDir,
    port: String,
    /// Where the store lies, if not in the directory.
    store: Option<String>,
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
            store: None,
        }
    }

    /// With the store somewhere else than the server's log.
    pub fn storing_at(store: &Path) -> Self {
        Place {
            store: Some(store.to_str().unwrap().to_owned()),
            ..Place::new()
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the server will listen.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn server(&self) -> ServerBuilder {
        let mut variables = vec![("DRIFT_SERVER_API_PORT", self.port.as_str())];
        variables.extend(
            self.store
                .as_deref()
                .map(|store| ("DRIFT_STORAGE_PATH", store)),
        );
        Server::builder()
            .directory(self.path())
            .variables(&variables)
    }

    /// Starts the server and waits until it is ready.
    pub fn start(&self) -> Server {
        self.server().start()
    }

    /// Starts the server and waits until it listens, ready or not.
    pub fn start_unready(&self) -> Server {
        self.server().start_unready()
    }

    /// What starts the server, for whoever wants to do it.
    pub fn command(&self) -> Command {
        self.server().command(self.path())
    }
}
