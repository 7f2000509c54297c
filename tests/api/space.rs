//! Space: pushes on a disk with too little room, and the commands that give it back.

use std::path::Path;
use std::process::Output;

use crate::client::{Registry, bytes};
use crate::support::{Server, drift, said};

fn compact(directory: &Path, argument: &str) -> Output {
    let mut command = drift();
    command.arg("compact").current_dir(directory);
    if !argument.is_empty() {
        command.arg(argument);
    }
    command.output().unwrap()
}

#[tokio::test]
async fn with_too_little_room_pushes_are_507_with_the_figures_and_pulls_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::on(Server::builder().directory(directory.path()).start());
    let digest = registry.push_blob("a/b", &bytes(300_000)).await;
    let path = format!("/v2/a/b/blobs/{digest}");
    drop(registry);
    // No disk that tests run on is so empty.
    let server = Server::builder()
        .directory(directory.path())
        .variables(&[("DRIFT_STORAGE_MIN_FREE", "99%")])
        .start();
    let registry = Registry::on(server);
    let answer = registry
        .send("POST", "/v2/a/b/blobs/uploads/", &[], "")
        .await
        .expect(507);
    let said = answer.json()["errors"][0]["message"].to_string();
    assert!(said.contains("min_free leaves"), "{said}");
    registry
        .send("PUT", "/v2/a/b/manifests/tag", &[], "{}")
        .await
        .expect(507);
    assert_eq!(registry.get(&path).await.expect(200).body, bytes(300_000));
    registry.send("DELETE", &path, &[], "").await.expect(202);
}

#[tokio::test]
async fn an_operator_plans_pauses_and_runs_a_compaction() {
    let registry = Registry::start();
    registry.push_blob("a/b", &bytes(300_000)).await;
    let directory = registry.server.directory().to_owned();
    let plan = said(&compact(&directory, "--dry-run"));
    assert!(plan.contains("alive"), "{plan}");
    let paused = said(&compact(&directory, "--pause"));
    assert!(paused.contains("compaction: paused"), "{paused}");
    let status = said(
        &drift()
            .arg("status")
            .current_dir(&directory)
            .output()
            .unwrap(),
    );
    assert!(status.contains("compaction: paused"), "{status}");
    assert!(status.contains("1 packs take"), "{status}");
    let resumed = said(&compact(&directory, "--resume"));
    assert!(resumed.contains("compaction: nothing to do"), "{resumed}");
    let done = said(&compact(&directory, ""));
    assert!(done.contains("rewrote 0 packs"), "{done}");

    let index = compact(&directory, "--index");
    assert!(
        !index.status.success(),
        "the index of a running server was taken away"
    );
    registry.server.signal("TERM");
    let Registry { mut server, .. } = registry;
    assert!(server.wait().success());
    let index = said(&compact(&directory, "--index"));
    assert!(index.contains("bytes, and takes"), "{index}");
    let plan = said(&compact(&directory, "--dry-run"));
    assert!(plan.contains("alive"), "{plan}");
    // A pause lasts: over a restart, and until it is ended.
    let paused = said(&compact(&directory, "--pause"));
    assert!(paused.contains("compaction: paused"), "{paused}");
    let refused = |output: Output| {
        assert!(!output.status.success());
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(why.contains("--resume"), "{why}");
    };
    refused(compact(&directory, ""));
    let server = Server::builder().directory(&directory).start();
    refused(compact(&directory, ""));
    let resumed = said(&compact(&directory, "--resume"));
    assert!(resumed.contains("compaction: nothing to do"), "{resumed}");
    drop(server);
    said(&compact(&directory, ""));
}
