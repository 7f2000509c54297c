//! Pulling and deleting blobs.

use crate::client::{Registry, bytes, digest_of, image};

#[tokio::test]
async fn a_blob_comes_back_with_its_headers() {
    let registry = Registry::start();
    let content = bytes(300_000);
    let digest = registry.push_blob("a/b", &content).await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let got = registry.get(&path).await.expect(200);
    let head = registry.head(&path).await.expect(200);
    assert_eq!(got.body, content);
    assert!(head.body.is_empty());
    for answer in [&got, &head] {
        assert_eq!(answer.header("content-length"), "300000");
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        assert_eq!(answer.header("etag"), format!("\"{digest}\""));
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("content-disposition"), "attachment");
        assert_eq!(
            answer.header("docker-distribution-api-version"),
            "registry/2.0"
        );
        assert_eq!(answer.header("x-request-id").len(), 36);
    }
}

#[tokio::test]
async fn a_range_is_answered_with_its_bytes_alone() {
    let registry = Registry::start();
    let content = bytes(2_000_000);
    let digest = registry.push_blob("a", &content).await;
    let path = format!("/v2/a/blobs/{digest}");
    for (range, first, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=500-1499", 500, 1500),
        ("bytes=1048570-1048590", 1_048_570, 1_048_591),
        ("bytes=1999999-", 1_999_999, 2_000_000),
        ("bytes=-500", 1_999_500, 2_000_000),
        ("bytes=1999000-9999999", 1_999_000, 2_000_000),
        ("bytes=-9999999", 0, 2_000_000),
    ] {
        let answer = registry
            .send("GET", &path, &[("range", range)], "")
            .await
            .expect(206);
        assert_eq!(answer.body, content[first..end], "{range}");
        assert_eq!(answer.header("content-length"), (end - first).to_string());
        let described = format!("bytes {first}-{}/2000000", end - 1);
        assert_eq!(answer.header("content-range"), described);
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    }
    for range in ["bytes=2000000-", "bytes=500-0", "bytes=-0"] {
        let answer = registry
            .send("GET", &path, &[("range", range)], "")
            .await
            .expect_error(416, "SIZE_INVALID");
        assert_eq!(answer.header("content-range"), "bytes */2000000", "{range}");
    }
    // A header that cannot be understood, or asks for several, is passed over.
    for range in ["bytes=0-1,5-6", "lines=1-2", "bytes=x-y"] {
        let answer = registry
            .send("GET", &path, &[("range", range)], "")
            .await
            .expect(200);
        assert_eq!(answer.body.len(), 2_000_000, "{range}");
    }
    let stale = [("range", "bytes=0-1"), ("if-range", "\"another\"")];
    registry.send("GET", &path, &stale, "").await.expect(200);
    registry
        .send("HEAD", &path, &[("range", "bytes=0-1")], "")
        .await
        .expect(200);
}

#[tokio::test]
async fn a_known_blob_is_not_sent_again() {
    let registry = Registry::start();
    let digest = registry.push_blob("a", b"content").await;
    let path = format!("/v2/a/blobs/{digest}");
    let known = format!("\"{digest}\"");
    let answer = registry
        .send("GET", &path, &[("if-none-match", &known)], "")
        .await
        .expect(304);
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("etag"), known);
    let answer = registry
        .send("HEAD", &path, &[("if-none-match", &known)], "")
        .await
        .expect(304);
    // A length would be that of the blob: 0 would tell a cache that the blob is empty.
    assert_eq!(answer.header("content-length"), "");
    registry
        .send("GET", &path, &[("if-none-match", "\"other\"")], "")
        .await
        .expect(200);
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let registry = Registry::start();
    let digest = registry.push_blob("a", b"").await;
    let path = format!("/v2/a/blobs/{digest}");
    let answer = registry.get(&path).await.expect(200);
    assert_eq!(
        (answer.body.len(), answer.header("content-length")),
        (0, "0")
    );
    registry
        .send("GET", &path, &[("range", "bytes=0-")], "")
        .await
        .expect(416);
}

#[tokio::test]
async fn a_blob_that_is_not_there_is_404_and_a_bad_digest_400() {
    let registry = Registry::start();
    let digest = digest_of(b"nobody pushed this");
    let path = format!("/v2/a/blobs/{digest}");
    registry.get(&path).await.expect_error(404, "BLOB_UNKNOWN");
    registry.head(&path).await.expect(404);
    registry
        .delete(&path)
        .await
        .expect_error(404, "BLOB_UNKNOWN");
    let long = format!("sha512:{}", "a".repeat(64));
    let upper = digest
        .to_string()
        .to_uppercase()
        .replace("SHA256", "sha256");
    for bad in [
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256:x",
        "x",
        &long,
        &upper,
    ] {
        let path = format!("/v2/a/blobs/{bad}");
        registry
            .get(&path)
            .await
            .expect_error(400, "DIGEST_INVALID");
    }
}

#[tokio::test]
async fn a_blob_belongs_to_the_repositories_that_hold_it() {
    let registry = Registry::start();
    let digest = registry.push_blob("a", b"shared").await;
    registry
        .get(&format!("/v2/b/blobs/{digest}"))
        .await
        .expect_error(404, "BLOB_UNKNOWN");
    registry.push_blob("b", b"shared").await;
    registry
        .delete(&format!("/v2/a/blobs/{digest}"))
        .await
        .expect(202);
    registry
        .get(&format!("/v2/a/blobs/{digest}"))
        .await
        .expect(404);
    registry
        .get(&format!("/v2/b/blobs/{digest}"))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_blob_in_use_is_not_deleted_and_the_user_is_named() {
    let registry = Registry::start();
    let manifest = registry.push_image("a", "latest", b"layer").await;
    let path = format!("/v2/a/blobs/{}", digest_of(b"layer"));
    let answer = registry
        .delete(&path)
        .await
        .expect_error(405, "UNSUPPORTED");
    assert_eq!(answer.header("allow"), "GET, HEAD");
    assert!(answer.json().to_string().contains(&manifest.to_string()));
    registry
        .delete(&format!("/v2/a/manifests/{manifest}"))
        .await
        .expect(202);
    registry.delete(&path).await.expect(202);
    registry.head(&path).await.expect(404);
}

#[tokio::test]
async fn deletes_that_are_switched_off_are_405_for_all_three() {
    let registry = Registry::with(&[("DRIFT_STORAGE_DELETE", "false")]);
    let manifest = registry.push_image("a", "latest", b"layer").await;
    let spare = registry.push_blob("a", b"spare").await;
    for path in [
        "/v2/a/manifests/latest".to_owned(),
        format!("/v2/a/manifests/{manifest}"),
        format!("/v2/a/blobs/{spare}"),
    ] {
        let answer = registry
            .delete(&path)
            .await
            .expect_error(405, "UNSUPPORTED");
        assert!(!answer.header("allow").contains("DELETE"));
        registry.head(&path).await.expect(200);
    }
    let unfinished = registry.begin("a").await;
    registry.delete(&unfinished).await.expect(204);
    let manifest = image(b"{}", &[b"layer"]);
    registry
        .put_manifest("a", "more", &manifest)
        .await
        .expect(201);
}

#[tokio::test]
async fn a_damaged_blob_is_never_sent_whole_and_a_push_heals_it() {
    let registry = Registry::start();
    let content = bytes(3_000_000);
    let digest = registry.push_blob("test/damage", &content).await;
    let path = format!("/v2/test/damage/blobs/{digest}");
    // A byte of the last window, on the disk.
    let packs = registry.server.directory().join("drift-data/packs");
    for pack in std::fs::read_dir(packs).unwrap() {
        let pack = pack.unwrap().path();
        let mut stored = std::fs::read(&pack).unwrap();
        let part = &content[2_900_000..2_900_100];
        if let Some(at) = stored.windows(100).position(|window| window == part) {
            stored[at] ^= 1;
            std::fs::write(&pack, stored).unwrap();
        }
    }
    let broken = reqwest::get(registry.server.url(&path)).await.unwrap();
    assert_eq!(broken.status(), 200, "the damage lies behind the head");
    assert!(
        broken.bytes().await.is_err(),
        "wrong bytes in a whole answer"
    );
    let begun = std::time::Instant::now();
    while registry.head(&path).await.status != 404 {
        assert!(begun.elapsed() < crate::support::PATIENCE, "still there");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    registry.get(&path).await.expect_error(404, "BLOB_UNKNOWN");
    registry.push_blob("test/damage", &content).await;
    assert_eq!(registry.get(&path).await.expect(200).body, content);
}
