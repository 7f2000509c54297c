//! Paths, methods, and who is let in.

use crate::client::{Registry, digest_of};

#[tokio::test]
async fn the_base_says_that_there_is_a_registry() {
    let registry = Registry::start();
    for path in ["/v2/", "/v2"] {
        let answer = registry.get(path).await.expect(200);
        assert_eq!(
            answer.header("docker-distribution-api-version"),
            "registry/2.0"
        );
        assert_eq!(answer.body, b"{}");
    }
    assert_eq!(
        registry
            .head("/v2/")
            .await
            .expect(200)
            .header("content-length"),
        "2"
    );
    registry.get("/healthz").await.expect(200);
    registry.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn what_is_nowhere_is_404_in_the_form_of_the_specification() {
    let registry = Registry::start();
    for path in [
        "/",
        "/v1/",
        "/v2a",
        "/v2/a",
        "/v2/_catalog/",
        "/index.html",
        "/v2//",
        "/metrics/",
    ] {
        registry.get(path).await.expect_error(404, "UNSUPPORTED");
    }
}

#[tokio::test]
async fn a_method_that_is_not_served_is_405_with_those_that_are() {
    let registry = Registry::start();
    let digest = digest_of(b"");
    let blob = format!("/v2/a/blobs/{digest}");
    for (method, path, allow) in [
        ("POST", "/v2/", "GET, HEAD"),
        ("DELETE", "/v2/_catalog", "GET, HEAD"),
        ("PUT", blob.as_str(), "GET, HEAD, DELETE"),
        ("GET", "/v2/a/blobs/uploads/", "POST"),
        ("PATCH", "/v2/a/manifests/t", "GET, HEAD, PUT, DELETE"),
        ("OPTIONS", "/v2/a/tags/list", "GET, HEAD"),
        ("TRACE", "/v2/", "GET, HEAD"),
        ("BREW", "/v2/", "GET, HEAD"),
    ] {
        let answer = registry
            .send(method, path, &[], "")
            .await
            .expect_error(405, "UNSUPPORTED");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
}

/// CVE-2020-29662 and its kind: a spelling that one layer reads in another way than the next.
#[test]
fn every_spelling_of_a_path_is_the_plain_one_or_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let registry = runtime.block_on(async {
        let registry = Registry::start();
        registry.push_blob("a/b", b"content").await;
        registry
    });
    let digest = digest_of(b"content");
    // Raw, because a client library would tidy these up.
    let status = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = registry.server.raw(request);
        answer.split(' ').nth(1).unwrap_or("none").to_owned()
    };
    let same = digest.to_string().replace(':', "%3a");
    assert_eq!(status(&format!("/v2/a/b/blobs/{digest}")), "200");
    assert_eq!(status(&format!("/v2/a/b/blobs/{same}")), "200");
    assert_eq!(status(&format!("/v2/%61/b/blobs/{digest}")), "200");
    for path in [
        format!("/v2/a%2fb/blobs/{digest}"),
        format!("/v2//a/b/blobs/{digest}"),
        format!("//v2/a/b/blobs/{digest}"),
        format!("/v2/x/../a/b/blobs/{digest}"),
        format!("/v2/x/%2e%2e/a/b/blobs/{digest}"),
        format!("/v2/a/b;/blobs/{digest}"),
        format!("/v2/a/b/blobs/{digest}/"),
        format!("/v2/a/b/blobs/{digest}%00"),
        "/v2/%5fcatalog/".to_owned(),
        "/v2/..%2f..%2fetc/passwd".to_owned(),
        "/v2/a/blobs/uploads/..%2fx".to_owned(),
        format!("/v2/{}/tags/list", "a".repeat(10_000)),
        format!("/v2/a/manifests/{}", "a".repeat(10_000)),
        "/v2/a/manifests/%00".to_owned(),
    ] {
        let status = status(&path);
        assert!(
            ["400", "404"].contains(&status.as_str()),
            "{path} gave {status}"
        );
    }
}

#[tokio::test]
async fn bad_names_and_tags_are_refused_by_their_code() {
    let registry = Registry::start();
    let digest = digest_of(b"");
    for name in ["UPPER", "a/-b", "a..b", "a/_", &"a".repeat(256)] {
        registry
            .get(&format!("/v2/{name}/tags/list"))
            .await
            .expect_error(400, "NAME_INVALID");
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        registry
            .send("POST", &path, &[], "")
            .await
            .expect_error(400, "NAME_INVALID");
    }
    for tag in ["-x", ".x", &"a".repeat(129)] {
        let path = format!("/v2/a/manifests/{tag}");
        registry
            .send("PUT", &path, &[], "{}")
            .await
            .expect_error(400, "MANIFEST_INVALID");
        // Nothing can be there, so that whoever looks is told that nothing is.
        registry
            .get(&path)
            .await
            .expect_error(404, "MANIFEST_UNKNOWN");
        registry.head(&path).await.expect(404);
    }
    let longest = "a".repeat(255);
    registry.push_blob(&longest, b"").await;
    registry
        .head(&format!("/v2/{longest}/blobs/{digest}"))
        .await
        .expect(200);
}

#[tokio::test]
async fn with_login_switched_on_everything_is_401() {
    let registry = Registry::with(&[("DRIFT_AUTH_ENABLED", "true")]);
    let digest = digest_of(b"");
    for (method, path) in [
        ("GET", "/v2/".to_owned()),
        ("GET", "/v2/_catalog".to_owned()),
        ("GET", "/v2/a/tags/list".to_owned()),
        ("HEAD", format!("/v2/a/blobs/{digest}")),
        ("PUT", "/v2/a/manifests/t".to_owned()),
        ("DELETE", "/v2/a/manifests/t".to_owned()),
        ("POST", "/v2/a/blobs/uploads/".to_owned()),
        ("GET", format!("/v2/a/referrers/{digest}")),
        // What does not exist, or not so, is no exception.
        ("GET", "/v2/UPPER/tags/list".to_owned()),
        ("POST", "/v2/".to_owned()),
        ("GET", "/nowhere".to_owned()),
        ("GET", "/v2/_catalog?n=x".to_owned()),
    ] {
        for authorization in [
            None,
            Some("Basic YWRtaW46YWRtaW4="),
            Some("Bearer x"),
            Some(""),
        ] {
            let headers: Vec<_> = authorization
                .map(|it| ("authorization", it))
                .into_iter()
                .collect();
            let answer = registry.send(method, &path, &headers, "").await.expect(401);
            let challenge = format!("Bearer realm=\"{}\"", registry.server.url("/token"));
            let asked = answer.header("www-authenticate");
            assert!(asked.starts_with(&challenge), "{asked}");
            assert_eq!(
                answer.header("docker-distribution-api-version"),
                "registry/2.0"
            );
            if method != "HEAD" {
                answer.expect_error(401, "UNAUTHORIZED");
            }
        }
    }
    registry.get("/healthz").await.expect(200);
    registry.get("/readyz").await.expect(200);
}
