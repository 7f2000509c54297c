//! The data directory of a `registry:2`.

use std::path::Path;

use drift::digest::Digest;
use serde_json::{Value, json};

use crate::client::{IMAGE, INDEX, Registry, descriptor, digest_of, image};
use crate::place::{CONFIG, at, failed, ran, run, text};

const ROOT: &str = "docker/registry/v2";

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn blob_path(directory: &Path, digest: &Digest) -> std::path::PathBuf {
    let hex = digest.hex();
    directory.join(format!("{ROOT}/blobs/sha256/{}/{hex}/data", &hex[..2]))
}

fn blob(directory: &Path, repository: &str, content: &[u8]) -> Digest {
    let digest = digest_of(content);
    write(&blob_path(directory, &digest), content);
    let link = format!(
        "{ROOT}/repositories/{repository}/_layers/sha256/{}/link",
        digest.hex()
    );
    write(&directory.join(link), digest.to_string().as_bytes());
    digest
}

/// A manifest, with the tags that lead to it.
fn manifest(directory: &Path, repository: &str, manifest: &Value, tags: &[&str]) -> Digest {
    let content = serde_json::to_vec(manifest).unwrap();
    let digest = digest_of(&content);
    write(&blob_path(directory, &digest), &content);
    let manifests = directory.join(format!("{ROOT}/repositories/{repository}/_manifests"));
    let text = digest.to_string();
    let link = manifests.join(format!("revisions/sha256/{}/link", digest.hex()));
    write(&link, text.as_bytes());
    for tag in tags {
        write(
            &manifests.join(format!("tags/{tag}/current/link")),
            text.as_bytes(),
        );
    }
    digest
}

#[tokio::test]
async fn all_of_a_registry2_comes_but_what_is_damaged_which_is_named() {
    let to = Registry::start();
    let here = to.server.directory();
    let theirs = at(here, "theirs");
    for repository in ["app", "team/tool", "team/tool/deep", "lost", "rotten"] {
        blob(&theirs, repository, CONFIG);
        let layer = format!("layer of {repository}");
        blob(&theirs, repository, layer.as_bytes());
        manifest(
            &theirs,
            repository,
            &image(CONFIG, &[layer.as_bytes()]),
            &["v1", "latest"],
        );
    }
    let child = image(CONFIG, &[b"layer of app"]);
    let content = serde_json::to_vec(&child).unwrap();
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(IMAGE, &content)]});
    let index = manifest(&theirs, "app", &index, &["multi"]);
    let mut signature = image(CONFIG, &[]);
    signature["subject"] = json!({"mediaType": INDEX, "digest": index, "size": 1});
    let signature = manifest(&theirs, "app", &signature, &[]);
    std::fs::remove_file(blob_path(&theirs, &digest_of(b"layer of lost"))).unwrap();
    std::fs::write(
        blob_path(&theirs, &digest_of(b"layer of rotten")),
        b"layer of r0tten",
    )
    .unwrap();
    let broken = theirs
        .join(ROOT)
        .join("repositories/app/_manifests/tags/broken/current/link");
    write(&broken, b"no digest");
    let import = ["import", "--from-registry2", text(&theirs)];
    let output = run(here, &[&import[..], &["--dry-run"]].concat());
    failed(&output, 1, "app:broken");
    failed(&output, 1, "lost:v1: ");
    to.get("/v2/app/tags/list").await.expect(404);
    let output = run(here, &import);
    failed(&output, 1, "app:broken");
    for why in ["lost:v1: ", "is not in", "rotten:latest: ", "its digest is"] {
        failed(&output, 1, why);
    }
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("FAILED: 5"), "{told}");
    for found in [
        "app/manifests/v1",
        "app/manifests/multi",
        "team/tool/manifests/latest",
        "team/tool/deep/manifests/v1",
    ] {
        to.get(&format!("/v2/{found}")).await.expect(200);
    }
    let referrers = to.get(&format!("/v2/app/referrers/{index}")).await.json();
    assert_eq!(referrers["manifests"][0]["digest"], signature.to_string());
    to.get("/v2/lost/manifests/v1").await.expect(404);
    // What is asked for by name comes alone.
    ran(
        here,
        &[&import[..], &["app:v1", "--repository", "alone"]].concat(),
    );
    let tags = to.get("/v2/alone/tags/list").await.json();
    assert_eq!(tags["tags"], json!(["v1"]));
    let output = run(
        here,
        &["import", "--from-registry2", text(&at(here, "drift-data"))],
    );
    failed(&output, 1, "is no data directory");
}
