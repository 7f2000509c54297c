//! `drift verify` beside pushes and deletes: what changes meanwhile is not taken for damage.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::json;

use crate::image::sha256;
use crate::server::{NO_SCRUB, expect};
use crate::support::Server;

/// For how long the store is checked again and again.
const CHECKED: Duration = Duration::from_secs(8);

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Pushes images that share layers with those of others, moves tags, and deletes what it has pushed,
/// until told to stop.
async fn churn(server: &Server, number: usize, stop: &AtomicBool, pushed: &AtomicUsize) {
    let client = Client::new();
    let repository = format!("load/{number}");
    let url = |path: String| server.url(&format!("/v2/{repository}/{path}"));
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        // One small, one that has a pack for itself while it comes, and both in other repositories
        // as well.
        let layers = [
            format!("shared {} ", n % 3).repeat(500),
            format!("large {} ", n % 7).repeat(60_000),
        ];
        let mut descriptors = Vec::new();
        for layer in layers {
            let digest = sha256(layer.as_bytes());
            descriptors.push(json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digest,
                "size": layer.len(),
            }));
            let post = client.post(url(format!("blobs/uploads/?digest={digest}")));
            let posted = post.body(layer).send().await.unwrap();
            assert_eq!(posted.status(), StatusCode::CREATED);
        }
        // An upload that is given up.
        let begun = client.post(url("blobs/uploads/".to_owned())).send().await;
        let location = begun.unwrap().headers()["location"].clone();
        let location = server.url(location.to_str().unwrap());
        let piece = client.patch(&location).body("x".repeat(400_000));
        let given = piece.send().await.unwrap();
        assert_eq!(given.status(), StatusCode::ACCEPTED);
        let given_up = client.delete(&location).send().await.unwrap();
        assert_eq!(given_up.status(), StatusCode::NO_CONTENT);

        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptors[0],
            "layers": descriptors,
            "annotations": { "n": format!("{number} {n}") },
        })
        .to_string();
        let digest = sha256(manifest.as_bytes());
        let tag = url(format!("manifests/t{}", n % 5));
        let put = client.put(&tag).header("content-type", MANIFEST);
        let put = put.body(manifest).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::CREATED);
        let deleted = match n % 4 {
            0 => client.delete(&tag),
            1 => client.delete(url(format!("manifests/{digest}"))),
            // One that a manifest is made of is refused.
            _ => client.delete(url(format!(
                "blobs/{}",
                descriptors[1]["digest"].as_str().unwrap()
            ))),
        };
        let status = deleted.send().await.unwrap().status();
        assert!(!status.is_server_error(), "{status}");
        pushed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Checks the store until the time is over; how often.
async fn check(directory: &Path, stop: &AtomicBool) -> usize {
    let began = Instant::now();
    let mut checks = 0;
    while began.elapsed() < CHECKED {
        let directory = directory.to_owned();
        let arguments: &[&str] = match checks % 2 {
            0 => &[],
            _ => &["--full"],
        };
        let checked = tokio::task::spawn_blocking(move || expect(&directory, arguments, 0));
        if let Err(error) = checked.await {
            stop.store(true, Ordering::Relaxed);
            std::panic::resume_unwind(error.into_panic());
        }
        checks += 1;
    }
    stop.store(true, Ordering::Relaxed);
    checks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_and_deletes_beside_a_check_are_not_taken_for_damage() {
    let server = Server::with(NO_SCRUB);
    let (stop, pushed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (checks, ..) = tokio::join!(
        check(server.directory(), &stop),
        churn(&server, 0, &stop, &pushed),
        churn(&server, 1, &stop, &pushed),
        churn(&server, 2, &stop, &pushed),
    );
    let pushed = pushed.into_inner();
    println!("{checks} checks beside {pushed} pushes");
    assert!(checks >= 4 && pushed >= 20, "{checks} and {pushed}");
}
