//! Retention and `drift du`, as an operator meets them.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::client::Registry;
use crate::support::{Server, drift, said, wait_for};

const RULES: &str =
    r#"[{ repositories = "a", keep_tags = ["keep*"], delete_untagged_after = "1h" }]"#;

fn run(directory: &Path, rules: &str, arguments: &[&str]) -> Output {
    drift()
        .args(arguments)
        .current_dir(directory)
        .env("DRIFT_RETENTION_RULES", rules)
        .output()
        .unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What is judged, and what becomes of it.
fn fates(verdicts: &[Value]) -> Vec<(&str, &str)> {
    verdicts
        .iter()
        .map(|it| {
            (
                it["reference"].as_str().unwrap(),
                it["fate"].as_str().unwrap(),
            )
        })
        .collect()
}

/// A server whose rules are not gone by within the time of a test.
fn serve(directory: &Path) -> Registry {
    let rules = ("DRIFT_RETENTION_RULES", RULES);
    let server = Server::builder().directory(directory).variables(&[rules]);
    Registry::on(server.start())
}

async fn tags(registry: &Registry) -> Vec<String> {
    let answer = registry.get("/v2/a/tags/list").await.expect(200);
    serde_json::from_value(answer.json()["tags"].clone()).unwrap()
}

#[tokio::test]
async fn a_dry_run_tells_what_the_command_then_does() {
    for stopped in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let registry = serve(directory.path());
        for name in ["keep-1", "old-1", "old-2"] {
            registry.push_image("a", name, b"layer").await;
            registry.push_image("b", name, b"layer").await;
        }
        let plan = run(directory.path(), RULES, &["retention", "--dry-run"]);
        assert!(
            said(&plan).contains("2 would be deleted, 1 kept"),
            "{plan:?}"
        );
        assert_eq!(tags(&registry).await.len(), 3);
        let running = Some(registry).filter(|_| !stopped);
        let arguments = ["retention", "--dry-run", "--json"];
        let plan = lines(&said(&run(directory.path(), RULES, &arguments)));
        let expected = [("keep-1", "keep"), ("old-1", "delete"), ("old-2", "delete")];
        assert_eq!(fates(&plan), expected);
        let reason = plan[0]["reason"].as_str().unwrap();
        assert!(reason.contains("keep*"), "{reason}");
        let done = run(directory.path(), RULES, &["retention", "--json"]);
        assert_eq!(fates(&lines(&said(&done))), expected);
        let registry = running.unwrap_or_else(|| serve(directory.path()));
        assert_eq!(tags(&registry).await, ["keep-1"]);
        registry.head("/v2/b/manifests/old-1").await.expect(200);
    }
}

#[tokio::test]
async fn the_server_goes_by_the_rules_by_itself() {
    let variables = [
        ("DRIFT_RETENTION_RULES", RULES),
        ("DRIFT_RETENTION_INTERVAL", "1s"),
    ];
    let registry = Registry::with(&variables);
    registry.push_image("a", "keep", b"layer").await;
    registry.push_image("a", "old", b"layer").await;
    registry.server.wait_for_log("delete a:old");
    registry.head("/v2/a/manifests/old").await.expect(404);
    registry.head("/v2/a/manifests/keep").await.expect(200);
}

#[tokio::test]
async fn a_server_that_only_reads_does_not_go_by_the_rules() {
    let directory = tempfile::tempdir().unwrap();
    let registry = serve(directory.path());
    registry.push_image("a", "old", b"layer").await;
    drop(registry);
    let server = Server::builder().directory(directory.path()).variables(&[
        ("DRIFT_RETENTION_RULES", RULES),
        ("DRIFT_RETENTION_INTERVAL", "100ms"),
        ("DRIFT_SERVER_READ_ONLY", "true"),
    ]);
    let registry = Registry::on(server.start());
    let done = run(directory.path(), RULES, &["retention"]);
    assert!(!done.status.success());
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(error.contains("read_only"), "{error}");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(tags(&registry).await, ["old"]);
    let plan = run(directory.path(), RULES, &["retention", "--dry-run"]);
    assert!(said(&plan).contains("1 would be deleted"));
}

#[tokio::test]
async fn pulls_are_written_down_at_the_latest_when_the_server_stops() {
    let directory = tempfile::tempdir().unwrap();
    let rules = r#"[{ repositories = "a", keep_pulled_within = "1h" }]"#;
    let registry = serve(directory.path());
    registry.push_image("a", "v1", b"layer").await;
    registry.push_image("a", "v2", b"layer two").await;
    registry.get("/v2/a/manifests/v1").await.expect(200);
    registry.head("/v2/a/manifests/v2").await.expect(200);
    let mut server = registry.server;
    server.signal("TERM");
    assert!(server.wait().success());
    let plan = said(&run(directory.path(), rules, &["retention", "--dry-run"]));
    assert!(plan.contains("keep a:v1: pulled "), "{plan}");
    assert!(plan.contains("keep a:v2: pushed "), "{plan}");
}

#[tokio::test]
async fn du_tells_the_same_of_a_running_and_of_a_stopped_store() {
    let directory = tempfile::tempdir().unwrap();
    let registry = serve(directory.path());
    registry.push_image("a", "v1", b"a layer").await;
    registry.push_image("a/b", "v1", b"another layer").await;
    let ask = |of: &str| {
        let arguments = ["du", "--json", of];
        let arguments = &arguments[..if of.is_empty() { 2 } else { 3 }];
        said(&run(directory.path(), RULES, arguments))
    };
    let scopes = ["", "a", "a:v1", "a/b:v1"];
    let running = scopes.map(ask);
    let tag = &lines(&running[2])[0];
    assert_eq!(tag["name"], "a:v1");
    assert_eq!(
        (&tag["exclusive_bytes"], &tag["shared_bytes"]),
        (&7.into(), &2.into())
    );
    for of in ["a:none", "none"] {
        let output = run(directory.path(), RULES, &["du", of]);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("none"));
    }
    let text = said(&run(directory.path(), RULES, &["du", "a"]));
    assert!(
        text.contains("FREES") && text.contains("tag a:v1"),
        "{text}"
    );
    let mut server = registry.server;
    server.signal("TERM");
    assert!(wait_for("the end of the server", || server
        .has_ended()
        .then_some(true)));
    assert_eq!(scopes.map(ask), running);
}
