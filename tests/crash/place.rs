//! Where a server runs: a directory and a port that stay the same over restarts.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::support::{Server, ServerBuilder, log_of};

/// A port for a server that comes and goes. It lies below those that the kernel gives to clients:
/// one of theirs can hold a port of that range at the moment when the server is to start.
fn free_port() -> u16 {
    (0..1000)
        .map(|_| rand::random_range(10_000..32_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port in 10000..32000")
}

pub struct Place {
    directory: tempfile::TempDir,
    port: String,
    /// Where the store lies, if not in the directory.
    store: Option<String>,
    /// Variables of the server.
    settings: &'static [(&'static str, &'static str)],
}

/// Kills meet purges of what was deleted, what that puts into the queue, and space that is given back as
/// soon as it can be.
const SETTINGS: &[(&str, &str)] = &[
    ("DRIFT_BACKUP_KEEP_HOURS", "0"),
    ("DRIFT_GC_INTERVAL", "20ms"),
    ("DRIFT_GC_KEEP_DELETED", "0s"),
];

impl Place {
    pub fn new() -> Self {
        Place {
            directory: tempfile::tempdir().unwrap(),
            port: free_port().to_string(),
            store: None,
            settings: SETTINGS,
        }
    }

    /// With a server that is set up in another way.
    pub fn with(settings: &'static [(&'static str, &'static str)]) -> Self {
        Place {
            settings,
            ..Place::new()
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

    /// What the last server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_of(self.path())).unwrap_or_default()
    }

    /// Where the server will listen.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn server(&self) -> ServerBuilder {
        let mut variables = vec![
            ("DRIFT_SERVER_API_PORT", self.port.as_str()),
            ("DRIFT_SERVER_UI_ENABLED", "false"),
        ];
        variables.extend(self.settings);
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
