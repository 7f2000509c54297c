//! What an operator's rules refuse: quotas, immutable tags, a server that only reads.

use bytes::Bytes;
use drift::digest::Digest;
use futures::stream;

use crate::client::{Answer, Registry, bytes, digest_of, image};
use crate::support::{Server, drift};

const QUOTA: &str = r#"[{ repositories = "small/*", bytes = "1MiB", tags = 2 }]"#;

/// Asserts a refusal by quota, and its figures.
#[track_caller]
fn expect_quota(answer: Answer, what: &str, used: usize, adding: usize, limit: usize) {
    let answer = answer.expect_error(403, "DENIED");
    let error = &answer.json()["errors"][0];
    let detail = &error["detail"];
    assert_eq!(detail["quota"], what);
    assert_eq!(detail["used"], used);
    assert_eq!(detail["limit"], limit);
    assert!(
        detail["adding"].as_u64().unwrap() >= adding as u64,
        "{detail}"
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&limit.to_string()), "{message}");
}

/// A body whose length nobody announces.
fn chunked(content: &[u8]) -> reqwest::Body {
    let pieces: Vec<_> = content
        .chunks(64 * 1024)
        .map(|piece| anyhow::Ok(Bytes::copy_from_slice(piece)))
        .collect();
    reqwest::Body::wrap_stream(stream::iter(pieces))
}

#[tokio::test]
async fn a_push_beyond_the_quota_is_denied_with_the_figures() {
    let registry = Registry::with(&[("DRIFT_QUOTA_RULES", QUOTA)]);
    let limit = 1 << 20;
    let (held, more) = (bytes(600_000), bytes(500_000));
    registry.push_blob("small/a", &held).await;
    let digest = digest_of(&more);

    let whole = format!("/v2/small/a/blobs/uploads/?digest={digest}");
    let answer = registry.send("POST", &whole, &[], more.clone()).await;
    expect_quota(answer, "bytes", 600_000, 500_000, limit);
    let answer = registry.send("POST", &whole, &[], chunked(&more)).await;
    expect_quota(answer, "bytes", 600_000, limit - 600_000, limit);

    for body in [reqwest::Body::from(more.clone()), chunked(&more)] {
        let location = registry.begin("small/a").await;
        let answer = registry.send("PATCH", &location, &[], body).await;
        expect_quota(answer, "bytes", 600_000, limit - 600_000, limit);
        // Nothing of it takes up room.
        registry
            .get(&location)
            .await
            .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    let location = registry.begin("small/a").await;
    let close = format!("{location}?digest={digest}");
    let answer = registry.send("PUT", &close, &[], more.clone()).await;
    expect_quota(answer, "bytes", 600_000, 500_000, limit);

    // The same blob again is no more, and other repositories have no quota.
    registry.push_blob("small/a", &held).await;
    registry.push_blob("large", &more).await;
    let mount = format!("/v2/small/a/blobs/uploads/?mount={digest}&from=large");
    let answer = registry.send("POST", &mount, &[], "").await;
    expect_quota(answer, "bytes", 600_000, 500_000, limit);
    registry
        .head(&format!("/v2/small/a/blobs/{digest}"))
        .await
        .expect(404);
}

#[tokio::test]
async fn pushes_at_once_do_not_go_over_a_quota_together() {
    let registry = Registry::with(&[("DRIFT_QUOTA_RULES", QUOTA)]);
    let push = async |number: u8| {
        let content = vec![number; 300_000];
        let path = format!("/v2/small/b/blobs/uploads/?digest={}", digest_of(&content));
        registry.send("POST", &path, &[], content).await.status
    };
    let pushes = futures::future::join_all((0..8).map(push)).await;
    let taken = pushes.iter().filter(|status| **status == 201).count();
    let denied = pushes.iter().filter(|status| **status == 403).count();
    assert_eq!((taken, denied), (3, 5), "{pushes:?}");
}

#[tokio::test]
async fn a_tag_beyond_the_quota_is_denied() {
    let registry = Registry::with(&[("DRIFT_QUOTA_RULES", QUOTA)]);
    for name in ["one", "two", "two"] {
        registry.push_image("small/c", name, b"layer").await;
    }
    let manifest = image(b"{}", &[b"layer"]);
    let answer = registry.put_manifest("small/c", "three", &manifest).await;
    expect_quota(answer, "tags", 2, 1, 2);
    registry
        .delete("/v2/small/c/manifests/one")
        .await
        .expect(202);
    registry
        .put_manifest("small/c", "three", &manifest)
        .await
        .expect(201);
}

#[tokio::test]
async fn an_immutable_tag_is_neither_moved_nor_deleted() {
    let rules = r#"[{ repositories = "**", tags = "v*" }]"#;
    let registry = Registry::with(&[("DRIFT_IMMUTABLE_RULES", rules)]);
    let first = registry.push_image("a", "v1", b"first").await;
    registry.push_image("a", "v1", b"first").await;
    registry.push_blob("a", b"second").await;
    let second = image(b"{}", &[b"second"]);
    let answer = registry.put_manifest("a", "v1", &second).await;
    answer.expect_error(403, "DENIED");
    for reference in ["v1".to_owned(), first.to_string()] {
        registry
            .delete(&format!("/v2/a/manifests/{reference}"))
            .await
            .expect_error(403, "DENIED");
    }
    let answer = registry.head("/v2/a/manifests/v1").await.expect(200);
    assert_eq!(answer.header("docker-content-digest"), first.to_string());
    registry
        .put_manifest("a", "latest", &second)
        .await
        .expect(201);
    registry.push_image("a", "latest", b"first").await;
}

#[tokio::test]
async fn a_server_that_only_reads_serves_pulls_and_refuses_every_write() {
    let directory = tempfile::tempdir().unwrap();
    let start = |variables: &[(&str, &str)]| {
        let server = Server::builder().directory(directory.path());
        Registry::on(server.variables(variables).start())
    };
    let registry = start(&[]);
    let digest: Digest = registry.push_image("a", "v1", b"layer").await;
    let upload = registry.begin("a").await;
    drop(registry);

    let registry = start(&[("DRIFT_SERVER_READ_ONLY", "true")]);
    let layer = format!("/v2/a/blobs/{}", digest_of(b"layer"));
    for path in [
        "/v2/",
        "/v2/_catalog",
        "/v2/a/tags/list",
        "/v2/a/manifests/v1",
        &layer,
    ] {
        registry.get(path).await.expect(200);
    }
    for (method, path) in [
        ("POST", "/v2/a/blobs/uploads/"),
        ("PATCH", &*upload),
        ("PUT", &*upload),
        ("DELETE", &*upload),
        ("PUT", "/v2/a/manifests/v1"),
        ("DELETE", "/v2/a/manifests/v1"),
        ("DELETE", &*format!("/v2/a/manifests/{digest}")),
        ("DELETE", &*layer),
    ] {
        let answer = registry.send(method, path, &[], "").await;
        let answer = answer.expect_error(405, "UNSUPPORTED");
        let allow = answer.header("allow");
        assert!(
            !allow.contains("PUT") && !allow.contains("DELETE"),
            "{allow}"
        );
    }
    drop(registry);

    let registry = start(&[]);
    registry.get(&upload).await.expect(204);
    registry.get("/v2/a/manifests/v1").await.expect(200);
}

#[tokio::test]
async fn a_server_that_only_reads_refuses_an_operator_what_changes_what_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::on(Server::builder().directory(directory.path()).start());
    let digest = registry.push_image("a", "v1", b"layer").await;
    registry.push_image("a", "v2", b"other").await;
    let path = "/v2/a/manifests/v2";
    registry.send("DELETE", path, &[], "").await.expect(202);
    drop(registry);

    let variables = [
        ("DRIFT_SERVER_READ_ONLY", "true"),
        (
            "DRIFT_RETENTION_RULES",
            r#"[{ repositories = "a", keep_last = 0 }]"#,
        ),
    ];
    let run = |line: &str| {
        let mut command = drift();
        command.current_dir(directory.path()).envs(variables);
        command.args(line.split(' ')).output().unwrap()
    };
    let manifest = format!("a@{digest}");
    let check = |place: &str| {
        for line in [
            "tag delete a:v1",
            "tag undelete a:v2",
            "tag rollback a:v1",
            &format!("manifest delete {manifest} --now"),
            &format!("manifest undelete {manifest}"),
            "repository delete a",
            "repository undelete a",
            "gc",
            "retention",
            "verify --repair",
        ] {
            let output = run(line);
            assert!(!output.status.success(), "{line} of a {place} store");
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(error.contains("[server] read_only"), "{line}: {error}");
        }
        for line in [
            "tag history a:v2",
            "gc --dry-run",
            "retention --dry-run",
            "verify",
            "why a:v1",
            "compact",
        ] {
            let output = run(line);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success(),
                "{line} of a {place} store: {error}"
            );
        }
    };
    let server = Server::builder().directory(directory.path());
    let registry = Registry::on(server.variables(&variables).start());
    check("running");
    registry.head("/v2/a/manifests/v1").await.expect(200);
    registry.head(path).await.expect(404);
    drop(registry);
    check("stopped");
}
