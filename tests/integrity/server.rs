//! Damage under the program itself: what clients are answered, what `drift verify` says and how it
//! ends, running and stopped, and the scrub.

use std::path::Path;
use std::process::Output;

use bytes::Bytes;
use reqwest::{Client, Response};
use serde_json::Value;

use crate::image::{Image, images, sha256};
use crate::support::{Server, drift, wait_for};

/// The scrub is off, so that only what is asked for finds anything.
pub const NO_SCRUB: &[(&str, &str)] = &[("DRIFT_STORAGE_SCRUB_RATE", "0")];

async fn push(server: &Server, image: &Image) {
    let client = Client::new();
    for blob in &image.blobs {
        let url = format!(
            "/v2/{}/blobs/uploads/?digest={}",
            image.repository,
            sha256(blob)
        );
        let post = client.post(server.url(&url)).body(blob.clone());
        assert_eq!(post.send().await.unwrap().status(), 201);
    }
    let url = format!("/v2/{}/manifests/{}", image.repository, image.tag);
    let put = client
        .put(server.url(&url))
        .header("content-type", "application/vnd.oci.image.manifest.v1+json")
        .body(image.manifest.clone());
    assert_eq!(put.send().await.unwrap().status(), 201);
}

fn path(image: &Image, blob: &Bytes) -> String {
    format!("/v2/{}/blobs/{}", image.repository, sha256(blob))
}

async fn get(server: &Server, path: &str) -> Response {
    reqwest::get(server.url(path)).await.unwrap()
}

/// Flips a bit in the middle of what is stored of `content`.
fn damage(data: &Path, content: &[u8]) {
    let mut found = false;
    for pack in std::fs::read_dir(data.join("packs")).unwrap() {
        let pack = pack.unwrap().path();
        let mut stored = std::fs::read(&pack).unwrap();
        let place = stored
            .windows(content.len())
            .position(|window| window == content);
        if let Some(at) = place {
            stored[at + content.len() / 2] ^= 1;
            std::fs::write(&pack, stored).unwrap();
            found = true;
        }
    }
    assert!(found, "the content is in no pack");
}

fn verify(directory: &Path, arguments: &[&str]) -> Output {
    drift()
        .arg("verify")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

#[track_caller]
pub fn expect(directory: &Path, arguments: &[&str], code: i32) -> String {
    let output = verify(directory, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}{complained}");
    said
}

/// The damages of a report in JSON.
fn damages(report: &str) -> Vec<Value> {
    report
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["event"] == "damage")
        .collect()
}

#[tokio::test]
async fn a_damaged_blob_is_found_named_and_missing_until_it_is_pushed_again() {
    let server = Server::with(NO_SCRUB);
    let directory = server.directory();
    let images = images();
    for image in &images {
        push(&server, image).await;
    }
    let image = &images[0];
    let layer = &image.blobs[1];
    expect(directory, &["--full"], 0);
    damage(&directory.join("drift-data"), layer);

    // The quick check does not read it; the full one names both images that are made of it, and
    // changes nothing.
    expect(directory, &[], 0);
    let report = expect(directory, &["--full", "--json"], 1);
    let found = damages(&report);
    assert_eq!(found.len(), 1, "{report}");
    let what = found[0]["what"].as_str().unwrap();
    assert!(what.contains(&sha256(layer).hex()), "{what}");
    let hits = found[0]["hits"].as_array().unwrap();
    let named: Vec<_> = hits
        .iter()
        .map(|hit| (hit["repository"].clone(), hit["tags"].clone()))
        .collect();
    assert_eq!(
        named,
        [
            ("a".into(), vec!["one"].into()),
            ("b".into(), vec!["one"].into())
        ]
    );
    assert_eq!(found[0]["repaired"], false);

    let report = expect(directory, &["--full", "--repair"], 2);
    assert!(report.contains("tags one"), "{report}");
    let client = Client::new();
    for image in [image, &images[2]] {
        let path = path(image, layer);
        assert_eq!(get(&server, &path).await.status(), 404);
        let head = client.head(server.url(&path)).send().await.unwrap();
        assert_eq!(head.status(), 404);
    }
    let mount = format!("/v2/c/blobs/uploads/?mount={}&from=a", sha256(layer));
    let mounted = client.post(server.url(&mount)).send().await.unwrap();
    assert_eq!(mounted.status(), 202, "damaged bytes were mounted");
    // It is not forgotten that it waits for a push.
    expect(directory, &[], 1);

    push(&server, image).await;
    for image in [image, &images[2]] {
        let pulled = get(&server, &path(image, layer)).await;
        assert_eq!(pulled.status(), 200);
        assert_eq!(pulled.bytes().await.unwrap(), layer);
    }
    expect(directory, &["--full"], 0);
}

#[tokio::test]
async fn a_stopped_store_is_checked_in_place_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        Server::builder()
            .directory(directory.path())
            .variables(NO_SCRUB)
            .start()
    };
    let mut server = start();
    let images = images();
    for image in &images {
        push(&server, image).await;
    }
    // Killed, so that a start would have something to mend.
    server.kill();
    drop(server);
    let data = directory.path().join("drift-data");
    let contents = || {
        let mut contents = Vec::new();
        for place in ["", "packs", "log"] {
            for entry in std::fs::read_dir(data.join(place)).unwrap() {
                let path = entry.unwrap().path();
                let own = path.file_name().unwrap();
                // The lock's holder notes itself there.
                if path.is_file() && own != "drift.lock" {
                    contents.push((path.clone(), std::fs::read(&path).unwrap()));
                }
            }
        }
        contents.sort();
        contents
    };
    let before = contents();
    expect(directory.path(), &["--full"], 0);
    assert!(contents() == before, "a check changed the store");

    damage(&data, &images[1].blobs[1]);
    let report = expect(directory.path(), &["--full"], 1);
    assert!(report.contains("hits repository a, tags two"), "{report}");
    assert!(report.contains("--repair would"), "{report}");
    expect(directory.path(), &["--full", "--repair"], 2);
    let server = start();
    let pulled = get(&server, &path(&images[1], &images[1].blobs[1])).await;
    assert_eq!(pulled.status(), 404);
    push(&server, &images[1]).await;
    drop(server);
    expect(directory.path(), &["--full"], 0);
}

#[tokio::test]
async fn a_missing_pack_is_named_with_all_that_lay_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::builder().directory(directory.path()).start();
    for image in images() {
        push(&server, &image).await;
    }
    server.signal("TERM");
    server.wait();
    let packs = directory.path().join("drift-data/packs");
    for pack in std::fs::read_dir(&packs).unwrap() {
        std::fs::remove_file(pack.unwrap().path()).unwrap();
    }
    let report = expect(directory.path(), &["--json"], 1);
    let hit: std::collections::BTreeSet<_> = damages(&report)
        .iter()
        .flat_map(|damage| damage["hits"].as_array().unwrap().clone())
        .flat_map(|hit| {
            let tags = hit["tags"].as_array().unwrap().clone();
            tags.into_iter()
                .map(move |tag| format!("{}:{tag}", hit["repository"]))
        })
        .collect();
    assert_eq!(hit.len(), 3, "{report}");
}

#[test]
fn a_check_that_cannot_be_made_has_a_status_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let output = verify(directory.path(), &[]);
    assert_eq!(output.status.code(), Some(3));
    let output = verify(directory.path(), &["--fulll"]);
    assert_eq!(output.status.code(), Some(64));
    let output = verify(directory.path(), &["--help"]);
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn the_scrub_finds_damage_while_serving() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::builder()
        .directory(directory.path())
        .variables(NO_SCRUB)
        .start();
    let image = &images()[1];
    push(&server, image).await;
    server.signal("TERM");
    server.wait();
    drop(server);
    damage(&directory.path().join("drift-data"), &image.blobs[1]);
    let mut server = Server::builder()
        .directory(directory.path())
        .variables(&[
            ("DRIFT_STORAGE_SCRUB_RATE", "1MiB"),
            ("DRIFT_STORAGE_SCRUB_INTERVAL", "200ms"),
        ])
        .start();
    server.wait_for_log("a:two");
    assert_eq!(
        get(&server, &path(image, &image.blobs[1])).await.status(),
        404
    );
    push(&server, image).await;
    wait_for("a scrub that finds nothing", || {
        server.log().contains("damages=0").then_some(())
    });
    server.signal("TERM");
    assert!(server.wait().success());
}
