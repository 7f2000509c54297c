//! What the registry would refuse of a push it refuses of an import, and what is done is written down.

use std::path::Path;

use serde_json::Value;

use crate::client::{Registry, digest_of, image};
use crate::place::{CONFIG, at, failed, on, ran, run, text, write_layout};

fn layout(directory: &Path, layer: &[u8]) -> String {
    let path = at(directory, "layout");
    let manifest = image(CONFIG, &[layer]);
    write_layout(&path, &[CONFIG, layer], &[(Some("team/app:v1"), &manifest)]);
    text(&path).to_owned()
}

#[tokio::test]
async fn nothing_is_imported_while_no_writes_are_taken() {
    let variables = [("DRIFT_SERVER_READ_ONLY", "true")];
    let directory = tempfile::tempdir().unwrap();
    let path = layout(directory.path(), b"layer");
    {
        let to = Registry::on(on(directory.path(), &variables).start());
        // The command's own configuration says nothing of it.
        let output = run(directory.path(), &["import", &path]);
        failed(&output, 1, "takes no writes");
        to.get("/v2/team/app/tags/list").await.expect(404);
    }
    let mut command = crate::support::drift();
    command
        .args(["import", &path])
        .current_dir(directory.path());
    let output = command.envs(variables).output().unwrap();
    failed(&output, 1, "takes no writes");
}

#[tokio::test]
async fn a_quota_holds_for_imports() {
    let rules = r#"[{ repositories = "team/**", bytes = "1MiB" }]"#;
    let to = Registry::with(&[("DRIFT_QUOTA_RULES", rules)]);
    let here = to.server.directory();
    let path = layout(here, &crate::client::bytes(2 << 20));
    let output = run(here, &["import", &path]);
    failed(&output, 1, "team/app:v1: ");
    to.get("/v2/team/app/manifests/v1").await.expect(404);
    ran(here, &["import", &path, "--repository", "free"]);
    to.get("/v2/free/manifests/v1").await.expect(200);
}

#[tokio::test]
async fn limits_on_clients_are_not_for_the_operator_and_the_log_names_them() {
    let to = Registry::with(&[
        ("DRIFT_AUTH_ENABLED", "true"),
        ("DRIFT_SERVER_REQUESTS_BY_ADDRESS", "1"),
        ("DRIFT_SERVER_REQUESTS_BY_ACCOUNT", "1"),
    ]);
    let here = to.server.directory();
    let path = at(here, "layout");
    let layers: Vec<Vec<u8>> = (0..40).map(|at| vec![at; 10]).collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let manifest = image(CONFIG, &layers);
    let blobs: Vec<_> = layers.iter().copied().chain([CONFIG]).collect();
    write_layout(&path, &blobs, &[(Some("team/app:v1"), &manifest)]);
    ran(here, &["import", text(&path)]);
    let told = ran(here, &["audit", "--json", "--repository", "team/app"]);
    let events: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let tagged = events.iter().find(|event| event["reference"] == "v1");
    let tagged = tagged.unwrap_or_else(|| panic!("{told}"));
    assert_eq!(tagged["who"], "operator");
    assert_eq!(tagged["from"], "admin.sock");
    assert_eq!(tagged["action"], "push-new");
    assert!(tagged["uid"].is_u64(), "{tagged}");
    let history = ran(here, &["tag", "history", "team/app:v1"]);
    assert!(history.contains("operator"), "{history}");
}

#[tokio::test]
async fn content_that_is_not_what_it_is_called_does_not_come_in() {
    let to = Registry::start();
    let here = to.server.directory();
    let path = layout(here, b"the layer");
    let file = Path::new(&path)
        .join("blobs/sha256")
        .join(digest_of(b"the layer").hex());
    for (content, why) in [
        (&b"the liar!"[..], "its digest is"),
        (b"the lay", "it has 7 bytes"),
        (b"the layer and more", "it has 18 bytes"),
    ] {
        std::fs::write(&file, content).unwrap();
        let output = run(here, &["import", &path]);
        failed(&output, 1, why);
        to.get("/v2/team/app/manifests/v1").await.expect(404);
    }
    std::fs::remove_file(&file).unwrap();
    failed(&run(here, &["import", &path]), 1, "is not in");
    std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
    failed(&run(here, &["import", &path]), 1, "links are not followed");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, b"the layer").unwrap();
    ran(here, &["import", &path]);
    to.get("/v2/team/app/manifests/v1").await.expect(200);
}
