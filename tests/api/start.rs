//! The command line, and what it says when it cannot start.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use crate::support::{Server, drift, wait_for_exit};

/// Runs the program to its end, which must be a failure, and gives what it said.
pub fn failure(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut child = drift()
        .current_dir(directory)
        .args(arguments)
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = wait_for_exit(&mut child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!status.success(), "it started: {said}");
    said
}

#[track_caller]
fn assert_names(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{said:?} does not name {word:?}");
    }
}

#[test]
fn version_and_help_are_said() {
    for (argument, word) in [
        ("--version", env!("CARGO_PKG_VERSION")),
        ("--help", "--config"),
    ] {
        let output = drift().arg(argument).output().unwrap();
        assert!(output.status.success());
        assert_names(&String::from_utf8(output.stdout).unwrap(), &["drift", word]);
    }
    let directory = tempfile::tempdir().unwrap();
    assert_names(
        &failure(directory.path(), &["brew"], &[]),
        &["brew", "Usage"],
    );
}

#[test]
fn a_port_that_is_taken_is_named_with_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = failure(directory.path(), &[], &[("DRIFT_SERVER_API_PORT", &port)]);
    assert_names(
        &said,
        &[&port, "[server] api_port", "DRIFT_SERVER_API_PORT"],
    );
}

#[test]
fn a_second_server_is_told_who_holds_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = Server::builder().directory(directory.path()).start();
    let said = failure(
        directory.path(),
        &["serve"],
        &[("DRIFT_SERVER_API_PORT", "0")],
    );
    assert_names(
        &said,
        &[
            "drift-data",
            &first.process_id().to_string(),
            "DRIFT_STORAGE_PATH",
        ],
    );
}

#[test]
fn an_address_that_others_reach_needs_a_word_about_login() {
    let directory = tempfile::tempdir().unwrap();
    let host = ("DRIFT_SERVER_HOST", "0.0.0.0");
    let said = failure(directory.path(), &[], &[host]);
    assert_names(&said, &["[auth] enabled", "DRIFT_AUTH_ENABLED", "0.0.0.0"]);
    Server::with(&[host, ("DRIFT_AUTH_ENABLED", "false")]);
    Server::with(&[host, ("DRIFT_AUTH_ENABLED", "true")]);
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let said = failure(directory.path(), &["--config", "absent.toml"], &[]);
    assert_names(&said, &["absent.toml"]);
    std::fs::write(
        directory.path().join("drift.toml"),
        "[server]\napi_prot = 1\n",
    )
    .unwrap();
    assert_names(
        &failure(directory.path(), &[], &[]),
        &["drift.toml", "[server] api_prot"],
    );
    std::fs::remove_file(directory.path().join("drift.toml")).unwrap();
    let said = failure(directory.path(), &[], &[("DRIFT_SERVER_API_PROT", "1")]);
    assert_names(&said, &["DRIFT_SERVER_API_PROT"]);
    let said = failure(directory.path(), &[], &[("RUST_LOG", "drift=loud")]);
    assert_names(&said, &["RUST_LOG"]);
    std::fs::write(directory.path().join("file"), "").unwrap();
    let said = failure(
        directory.path(),
        &[],
        &[("DRIFT_STORAGE_PATH", "file/below")],
    );
    assert_names(&said, &["file/below", "DRIFT_STORAGE_PATH"]);
    assert!(
        !directory.path().join("drift-data").exists(),
        "a refused start left a store behind"
    );
}

#[test]
fn the_file_in_the_directory_is_read_and_one_that_is_named_goes_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let say = |name: &str, path: &str| {
        let text = format!("[storage]\npath = {path:?}\n");
        std::fs::write(directory.path().join(name), text).unwrap();
    };
    say("drift.toml", "found");
    drop(Server::builder().directory(directory.path()).start());
    assert!(directory.path().join("found").is_dir());
    let server = Server::builder()
        .directory(directory.path())
        .variables(&[("DRIFT_STORAGE_PATH", "over")])
        .start();
    drop(server);
    assert!(directory.path().join("over").is_dir());
}
