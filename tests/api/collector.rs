//! What goes by itself, and what an operator brings back.

use std::path::Path;
use std::time::Duration;

use crate::client::{IMAGE, Registry, digest_of, image};
use crate::support::drift;

/// Pushes an image of that configuration; its digest.
async fn push(registry: &Registry, config: &'static [u8], tag: &str) -> String {
    registry.push_blob("a/b", config).await;
    let manifest = image(config, &[]).to_string();
    let path = format!("/v2/a/b/manifests/{tag}");
    let headers = [("content-type", IMAGE)];
    let answer = registry.send("PUT", &path, &headers, manifest).await;
    answer
        .expect(201)
        .header("docker-content-digest")
        .to_owned()
}

/// Runs a command, and gives back what it printed.
fn run(directory: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = drift()
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

#[tokio::test]
async fn what_nothing_refers_to_goes_while_the_server_serves() {
    let registry = Registry::with(&[
        ("DRIFT_GC_INTERVAL", "50ms"),
        ("DRIFT_GC_GRACE", "1s"),
        ("DRIFT_GC_KEEP_DELETED", "0s"),
    ]);
    let gone = push(&registry, b"gone", "gone").await;
    push(&registry, b"kept", "kept").await;
    let path = |config: &[u8]| format!("/v2/a/b/blobs/{}", digest_of(config));
    registry
        .delete(&format!("/v2/a/b/manifests/{gone}"))
        .await
        .expect(202);
    // A GET leases nothing, so the waiting itself keeps nothing.
    for _ in 0..600 {
        if registry.get(&path(b"gone")).await.status == 404 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    registry.get(&path(b"gone")).await.expect(404);
    registry.get(&path(b"kept")).await.expect(200);
    let refused = run(
        registry.server.directory(),
        &["manifest", "undelete", &format!("a/b@{gone}")],
    );
    assert!(refused.unwrap_err().contains("purged"));
}

#[tokio::test]
async fn an_operator_sees_and_undoes_what_was_deleted() {
    let mut registry = Registry::start();
    let directory = registry.server.directory().to_owned();
    let one = push(&registry, b"one", "t").await;
    let two = push(&registry, b"two", "t").await;
    let run = |arguments: &[&str]| run(&directory, arguments);

    let history = run(&["tag", "history", "a/b:t"]).unwrap();
    let lines: Vec<_> = history.lines().collect();
    assert_eq!(lines.len(), 2, "{history}");
    assert!(lines[0].contains(&two) && lines[1].contains(&one));
    assert!(run(&["tag", "rollback", "a/b:t"]).unwrap().contains(&one));
    let tagged = registry.get("/v2/a/b/manifests/t").await.expect(200);
    assert_eq!(tagged.header("docker-content-digest"), one);
    let to = ["tag", "rollback", "a/b:t", "--to", &two];
    assert!(run(&to).unwrap().contains(&two));
    let history = run(&["tag", "history", "a/b:t"]).unwrap();
    assert!(history.contains("rolled back by operator"), "{history}");

    assert!(run(&["tag", "delete", "a/b:t"]).unwrap().contains("stays"));
    registry.get("/v2/a/b/manifests/t").await.expect(404);
    run(&["tag", "undelete", "a/b:t"]).unwrap();
    registry.get("/v2/a/b/manifests/t").await.expect(200);

    let why = run(&["why", "a/b:t"]).unwrap();
    assert!(why.contains("tag t points at it"), "{why}");
    let blob = format!("a/b@{}", digest_of(b"two"));
    let why = run(&["why", &blob]).unwrap();
    assert!(
        why.contains(&format!("manifest {two} is made of it")),
        "{why}"
    );
    let manifest = format!("a/b@{two}");
    run(&["manifest", "delete", &manifest]).unwrap();
    assert!(run(&["why", &blob]).unwrap().contains("goes behind"));
    let back = run(&["manifest", "undelete", &manifest]).unwrap();
    assert!(back.contains("tags t"), "{back}");

    let deleted = run(&["repository", "delete", "a/b"]).unwrap();
    assert!(deleted.contains("2 manifests"), "{deleted}");
    registry.get("/v2/a/b/tags/list").await.expect(404);
    let plan = run(&["gc", "--dry-run"]).unwrap();
    assert!(plan.contains("no blob goes for another"), "{plan}");

    // On a stopped store the same commands do the same.
    registry.server.signal("TERM");
    assert!(registry.server.wait().success());
    let back = run(&["repository", "undelete", "a/b"]).unwrap();
    assert!(back.contains("2 manifests are back"), "{back}");
    let history = run(&["tag", "history", "a/b:t"]).unwrap();
    assert!(history.lines().count() > 5, "{history}");
    let gone = run(&["tag", "delete", "a/b:t", "--now"]).unwrap();
    assert!(gone.contains(&two) && gone.contains("for good"), "{gone}");
    let refused = run(&["tag", "undelete", "a/b:t"]).unwrap_err();
    assert!(refused.contains("purged"), "{refused}");
    assert!(run(&["tag", "history", "a/b"]).is_err());
}
