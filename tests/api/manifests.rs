//! Pushing, pulling and deleting manifests.

use futures::StreamExt;
use serde_json::json;

use crate::client::{IMAGE, INDEX, Registry, descriptor, digest_of, image};

/// The most that a manifest may have, in bytes.
const LIMIT: usize = 4 * 1024 * 1024;

#[tokio::test]
async fn a_manifest_comes_back_byte_for_byte() {
    let registry = Registry::start();
    registry.push_blob("a/b", b"{}").await;
    registry.push_blob("a/b", b"layer").await;
    // Spaces and order that no serialiser would give.
    let manifest = format!(
        " {}\n",
        serde_json::to_string_pretty(&image(b"{}", &[b"layer"])).unwrap()
    );
    let digest = digest_of(manifest.as_bytes());
    let headers = [("content-type", IMAGE)];
    let answer = registry
        .send(
            "PUT",
            "/v2/a/b/manifests/latest",
            &headers,
            manifest.clone(),
        )
        .await
        .expect(201);
    assert_eq!(
        answer.header("location"),
        format!("/v2/a/b/manifests/{digest}")
    );
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    for path in [
        "/v2/a/b/manifests/latest".to_owned(),
        format!("/v2/a/b/manifests/{digest}"),
    ] {
        let got = registry.get(&path).await.expect(200);
        let head = registry.head(&path).await.expect(200);
        assert_eq!(got.body, manifest.as_bytes());
        assert!(head.body.is_empty());
        for answer in [&got, &head] {
            assert_eq!(answer.header("content-length"), manifest.len().to_string());
            assert_eq!(answer.header("content-type"), IMAGE);
            assert_eq!(answer.header("docker-content-digest"), digest.to_string());
            assert_eq!(answer.header("etag"), format!("\"{digest}\""));
        }
        let known = format!("W/\"{digest}\"");
        let answer = registry
            .send("GET", &path, &[("if-none-match", &known)], "")
            .await
            .expect(304);
        assert!(answer.body.is_empty());
    }
}

#[tokio::test]
async fn a_push_by_digest_may_set_tags() {
    let registry = Registry::start();
    registry.push_blob("a", b"{}").await;
    let manifest = image(b"{}", &[]);
    let digest = digest_of(&serde_json::to_vec(&manifest).unwrap());
    let reference = format!("{digest}?tag=1&tag=1.2&tag=latest");
    let answer = registry
        .put_manifest("a", &reference, &manifest)
        .await
        .expect(201);
    let tags: Vec<_> = answer.headers.get_all("oci-tag").iter().collect();
    assert_eq!(tags, ["1", "1.2", "latest"]);
    for tag in ["1", "1.2", "latest"] {
        let answer = registry
            .head(&format!("/v2/a/manifests/{tag}"))
            .await
            .expect(200);
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    }
    for reference in [format!("{digest}?tag=-x"), "one?tag=two".to_owned()] {
        registry
            .put_manifest("a", &reference, &manifest)
            .await
            .expect(400);
    }
    let wrong = digest_of(b"something else");
    registry
        .put_manifest("a", &wrong.to_string(), &manifest)
        .await
        .expect_error(400, "DIGEST_INVALID");
    registry
        .get("/v2/a/manifests/one")
        .await
        .expect_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn what_a_manifest_refers_to_must_be_there() {
    let registry = Registry::start();
    let manifest = image(b"{}", &[b"layer"]);
    let answer = registry
        .put_manifest("a", "latest", &manifest)
        .await
        .expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    let error = &answer.json()["errors"][0];
    let (config, layer) = (
        digest_of(b"{}").to_string(),
        digest_of(b"layer").to_string(),
    );
    assert!(error["detail"].to_string().contains(&layer), "{error}");
    // Clients print the message and leave out the detail.
    assert!(error["message"].to_string().contains(&config), "{error}");
    registry.get("/v2/a/manifests/latest").await.expect(404);

    let registry = Registry::with(&[("DRIFT_REGISTRY_MISSING_REFERENCES", "allow")]);
    registry
        .put_manifest("a", "latest", &manifest)
        .await
        .expect(201);

    let registry = Registry::with(&[("DRIFT_REGISTRY_MISSING_REFERENCES", "allow-children")]);
    registry
        .put_manifest("a", "latest", &manifest)
        .await
        .expect(400);
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(IMAGE, b"absent")],
    });
    registry
        .put_manifest("a", "sparse", &index)
        .await
        .expect(201);
}

#[tokio::test]
async fn a_manifest_over_the_limit_is_413() {
    let registry = Registry::start();
    registry.push_blob("a", b"{}").await;
    let mut manifest = image(b"{}", &[]);
    manifest["annotations"] = json!({"padding": ""});
    let overhead = serde_json::to_vec(&manifest).unwrap().len();
    manifest["annotations"]["padding"] = "x".repeat(LIMIT - overhead).into();
    registry
        .put_manifest("a", "largest", &manifest)
        .await
        .expect(201);
    assert_eq!(
        registry
            .get("/v2/a/manifests/largest")
            .await
            .expect(200)
            .body
            .len(),
        LIMIT
    );

    manifest["annotations"]["padding"] = "x".repeat(LIMIT - overhead + 1).into();
    let answer = registry
        .put_manifest("a", "larger", &manifest)
        .await
        .expect_error(413, "SIZE_INVALID");
    assert!(answer.json().to_string().contains(&LIMIT.to_string()));

    // One that never ends: refused at the first byte beyond, long before the client stops.
    let endless = futures::stream::repeat(()).map(|()| Ok::<_, std::io::Error>(vec![b' '; 65536]));
    let body = reqwest::Body::wrap_stream(endless.take(1024).boxed());
    registry
        .send(
            "PUT",
            "/v2/a/manifests/endless",
            &[("content-type", IMAGE)],
            body,
        )
        .await
        .expect_error(413, "SIZE_INVALID");
    registry.get("/v2/a/manifests/endless").await.expect(404);
}

#[tokio::test]
async fn a_manifest_that_breaks_a_rule_is_400() {
    let registry = Registry::start();
    registry.push_blob("a", b"{}").await;
    let path = "/v2/a/manifests/bad";
    let good = image(b"{}", &[]);
    let mut both = good.clone();
    both["manifests"] = json!([]);
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (content_type, body) in [
        (IMAGE, "not JSON".to_owned()),
        (IMAGE, String::new()),
        (IMAGE, nested),
        (IMAGE, both.to_string()),
        (INDEX, good.to_string()),
        ("text/plain", good.to_string()),
    ] {
        registry
            .send("PUT", path, &[("content-type", content_type)], body)
            .await
            .expect_error(400, "MANIFEST_INVALID");
    }
    registry
        .send("PUT", path, &[("content-type", IMAGE)], good.to_string())
        .await
        .expect(201);
}

#[tokio::test]
async fn deleting_a_tag_keeps_the_manifest_and_deleting_the_manifest_takes_its_tags() {
    let registry = Registry::start();
    let digest = registry.push_image("a", "one", b"layer").await;
    registry.push_image("a", "two", b"layer").await;
    registry.delete("/v2/a/manifests/one").await.expect(202);
    registry.head("/v2/a/manifests/one").await.expect(404);
    registry.head("/v2/a/manifests/two").await.expect(200);
    registry
        .delete(&format!("/v2/a/manifests/{digest}"))
        .await
        .expect(202);
    registry.head("/v2/a/manifests/two").await.expect(404);
    registry
        .head(&format!("/v2/a/manifests/{digest}"))
        .await
        .expect(404);
    for path in [
        "/v2/a/manifests/two".to_owned(),
        format!("/v2/a/manifests/{digest}"),
    ] {
        registry
            .delete(&path)
            .await
            .expect_error(404, "MANIFEST_UNKNOWN");
    }
}

#[tokio::test]
async fn referrers_are_listed_filtered_and_never_404() {
    let registry = Registry::start();
    let subject = registry.push_image("a", "latest", b"layer").await;
    let size = registry.get("/v2/a/manifests/latest").await.body.len();
    let mut signature = image(b"{}", &[]);
    signature["artifactType"] = "application/vnd.example.signature+json".into();
    signature["subject"] = json!({"mediaType": IMAGE, "digest": subject, "size": size});
    let answer = registry
        .put_manifest("a", "signature", &signature)
        .await
        .expect(201);
    assert_eq!(answer.header("oci-subject"), subject.to_string());
    let digest = answer.header("docker-content-digest").to_owned();

    let path = format!("/v2/a/referrers/{subject}");
    let all = registry.get(&path).await.expect(200);
    assert_eq!(all.header("content-type"), INDEX);
    assert_eq!(all.header("oci-filters-applied"), "");
    assert_eq!(all.json()["manifests"][0]["digest"], digest);
    for (filter, found) in [
        ("application/vnd.example.signature+json", 1),
        ("application%2Fvnd.example.signature%2Bjson", 1),
        ("application/vnd.example.other", 0),
    ] {
        let answer = registry
            .get(&format!("{path}?artifactType={filter}"))
            .await
            .expect(200);
        assert_eq!(answer.header("oci-filters-applied"), "artifactType");
        assert_eq!(
            answer.json()["manifests"].as_array().unwrap().len(),
            found,
            "{filter}"
        );
    }
    let nobody = digest_of(b"nobody pushed this");
    for path in [
        format!("/v2/a/referrers/{nobody}"),
        format!("/v2/unknown/referrers/{nobody}"),
    ] {
        let answer = registry.get(&path).await.expect(200);
        assert_eq!(answer.header("content-type"), INDEX);
        assert_eq!(answer.json()["manifests"], json!([]));
    }
    registry
        .get("/v2/a/referrers/sha256:x")
        .await
        .expect_error(400, "DIGEST_INVALID");
}
