//! The ports: free, taken by the server of this data directory, or by somebody else.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpSocket;

use super::finding::Findings;
use super::holder::{self, Holder};
use crate::cli::health;
use crate::config::Config;

const CHECK: &str = "ports";

/// How long a running server may take to say that it serves.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// Looks at each; `server` is the process that runs on this data directory, if one does.
pub async fn check(config: &Config, server: Option<u32>, findings: &mut Findings) {
    let Some(ip) = config.server.ip() else {
        return;
    };
    let ui = config.server.ui_enabled.then_some(config.server.ui_port);
    let s3 = config.s3.enabled.then_some(config.s3.port);
    let ports = [
        (
            "registry",
            "[server] api_port",
            Some(config.server.api_port),
        ),
        ("page", "[server] ui_port", ui),
        ("S3", "[s3] port", s3),
    ];
    for (what, key, port) in ports {
        let Some(port) = port else { continue };
        if port == 0 {
            findings.note(
                CHECK,
                format!("{what}: any free one ({key} = 0); the log says which"),
            );
            continue;
        }
        let address = SocketAddr::new(ip, port);
        match bind(address) {
            Ok(()) => findings.ok(CHECK, format!("{what}: {address} is free")),
            Err(error) => taken(what, key, address, &error, server, findings),
        }
    }
    if server.is_some() {
        match health::ask(config, ANSWER_TIMEOUT).await {
            Ok(whom) => findings.ok(CHECK, format!("the server that runs serves at {whom}")),
            Err(error) => findings.fail(CHECK, format!("{error:#}"), "see its log"),
        }
    }
}

/// Takes the port and lets it go. Nobody can connect meanwhile.
fn bind(address: SocketAddr) -> io::Result<()> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As the listener does.
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

fn taken(
    what: &str,
    key: &str,
    address: SocketAddr,
    error: &io::Error,
    server: Option<u32>,
    findings: &mut Findings,
) {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => match (holder::of(port), server) {
            (Some(Holder { process, .. }), Some(server)) if process == server => {
                findings.ok(
                    CHECK,
                    format!("{what}: {address} is taken by the server that runs, process {server}"),
                );
            }
            (None, Some(server)) => findings.note(
                CHECK,
                format!(
                    "{what}: {address} is taken, by the server that runs (process {server}) or somebody else: \
                     the system shows whose it is to root and to the server's user"
                ),
            ),
            (holder, _) => {
                let whom = holder.map_or_else(
                    || "another program (root sees which: ss -ltnp)".to_owned(),
                    |holder| holder.to_string(),
                );
                findings.fail(
                    CHECK,
                    format!("{what}: {address} is taken by {whom}"),
                    format!("end that, or set {key} to a free port"),
                );
            }
        },
        io::ErrorKind::PermissionDenied => findings.fail(
            CHECK,
            format!("{what}: port {port} is reserved for the system, and this user may not take it"),
            format!(
                "set {key} to 1024 or above, or allow it (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE)"
            ),
        ),
        io::ErrorKind::AddrNotAvailable => findings.fail(
            CHECK,
            format!("{what}: {} is no address of this machine", address.ip()),
            "set [server] host to one that `ip address` lists, or to 0.0.0.0 or :: for all",
        ),
        _ => findings.fail(
            CHECK,
            format!("{what}: {address} cannot be listened on: {error}"),
            "see [server] host (variable DRIFT_SERVER_HOST)",
        ),
    }
}
