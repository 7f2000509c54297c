//! The socket in the data directory, by which an operator's commands reach the server.

use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{Server, drift, wait_for};

fn socket_of(server: &Server) -> PathBuf {
    server.directory().join("drift-data/admin.sock")
}

fn status(directory: &Path) -> Output {
    drift()
        .arg("status")
        .current_dir(directory)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_command_reaches_the_server_that_runs() {
    let server = Server::start();
    let output = status(server.directory());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.contains(&format!("process {};", server.process_id())),
        "{said}"
    );
    let mode = std::fs::metadata(socket_of(&server)).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

#[test]
fn the_socket_goes_with_the_server_and_a_killed_ones_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let start = || Server::builder().directory(directory.path()).start();
    let mut server = start();
    let socket = socket_of(&server);
    server.kill();
    assert!(std::fs::metadata(&socket).unwrap().file_type().is_socket());
    let output = status(directory.path());
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("no server runs"));
    drop(server);

    let mut server = start();
    assert!(status(directory.path()).status.success());
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(!socket.exists());
}

#[test]
fn a_path_too_long_for_a_socket_is_said_and_the_server_serves() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("d".repeat(90)).join("e".repeat(20));
    let server = Server::with(&[("DRIFT_STORAGE_PATH", deep.to_str().unwrap())]);
    server.wait_for_log("at most 107");
    let output = drift()
        .arg("status")
        .env("DRIFT_STORAGE_PATH", &deep)
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("at most 107"));
}

#[test]
fn another_user_is_refused_whatever_the_sockets_mode() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can ask as somebody else");
        return;
    }
    let server = Server::start();
    let socket = socket_of(&server);
    let data = socket.parent().unwrap();
    for directory in [server.directory(), data] {
        std::fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    }
    let as_nobody = || {
        drift()
            .arg("status")
            .current_dir(server.directory())
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap()
    };
    let output = as_nobody();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("Permission denied"));
    std::fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    let output = as_nobody();
    assert!(!output.status.success());
    wait_for("the refusal in the log", || {
        server.log().contains("uid=65534").then_some(())
    });
}
