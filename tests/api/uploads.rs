//! Pushing blobs.

use drift::digest::{Algorithm, Digest};
use futures::StreamExt;

use crate::client::{Registry, bytes, digest_of};

fn finish(location: &str, digest: &Digest) -> String {
    format!("{location}?digest={digest}")
}

#[tokio::test]
async fn post_then_put_stores_a_blob() {
    let registry = Registry::start();
    let content = bytes(1_000_000);
    let digest = digest_of(&content);
    let answer = registry
        .send("POST", "/v2/a/b/blobs/uploads/", &[], "")
        .await
        .expect(202);
    let location = answer.header("location");
    assert!(
        location.starts_with("/v2/a/b/blobs/uploads/"),
        "not relative: {location}"
    );
    assert!(location.ends_with(answer.header("docker-upload-uuid")));
    assert_eq!(answer.header("range"), "0-0");
    assert_eq!(answer.header("content-length"), "0");
    let path = finish(location, &digest);
    let answer = registry
        .send("PUT", &path, &[], content.clone())
        .await
        .expect(201);
    assert_eq!(answer.header("location"), format!("/v2/a/b/blobs/{digest}"));
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    let got = registry.get(answer.header("location")).await.expect(200);
    assert_eq!(got.body, content);
}

#[tokio::test]
async fn chunks_are_put_together_in_order() {
    let registry = Registry::start();
    let content = bytes(3000);
    let digest = digest_of(&content);
    let location = registry.begin("a").await;
    let patch = |first: usize, end: usize| {
        let range = format!("{first}-{}", end - 1);
        let (registry, location, piece) = (&registry, &location, content[first..end].to_vec());
        async move {
            registry
                .send("PATCH", location, &[("content-range", &range)], piece)
                .await
        }
    };
    let answer = patch(0, 1000).await.expect(202);
    assert_eq!(answer.header("range"), "0-999");
    assert_eq!(answer.header("location"), location);

    // Out of order, ahead and behind: the true range, and where to go on.
    for (first, end) in [(2000, 3000), (0, 1000)] {
        let answer = patch(first, end)
            .await
            .expect_error(416, "BLOB_UPLOAD_INVALID");
        assert_eq!(answer.header("range"), "0-999");
        assert_eq!(answer.header("location"), location);
    }
    let status = registry.get(&location).await.expect(204);
    assert_eq!(status.header("range"), "0-999");
    assert_eq!(status.header("location"), location);
    let head = registry.head(&location).await.expect(204);
    assert_eq!(head.header("content-length"), "");

    patch(1000, 2000).await.expect(202);
    let path = finish(&location, &digest);
    let range = [("content-range", "1000-1999")];
    let again = registry
        .send("PUT", &path, &range, content[1000..2000].to_vec())
        .await;
    assert_eq!(again.expect(416).header("range"), "0-1999");
    let range = [("content-range", "2000-2999")];
    registry
        .send("PUT", &path, &range, content[2000..].to_vec())
        .await
        .expect(201);
    assert_eq!(
        registry.get(&format!("/v2/a/blobs/{digest}")).await.body,
        content
    );

    // The answer to the closing PUT was lost: it can be asked for again.
    registry.send("PUT", &path, &[], "").await.expect(201);
    registry
        .send("PUT", &path, &range, content[2000..].to_vec())
        .await
        .expect(201);
    registry
        .get(&location)
        .await
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_stream_without_a_length_is_taken() {
    let registry = Registry::start();
    let content = bytes(700_000);
    let location = registry.begin("a").await;
    let pieces: Vec<_> = content
        .chunks(10_000)
        .map(|it| Ok::<_, std::io::Error>(it.to_vec()))
        .collect();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let answer = registry
        .send("PATCH", &location, &[], body)
        .await
        .expect(202);
    assert_eq!(answer.header("range"), "0-699999");
    let digest = digest_of(&content);
    registry
        .send("PUT", &finish(&location, &digest), &[], "")
        .await
        .expect(201);
    assert_eq!(
        registry.get(&format!("/v2/a/blobs/{digest}")).await.body,
        content
    );
}

#[tokio::test]
async fn lengths_that_do_not_agree_are_refused() {
    let registry = Registry::start();
    let location = registry.begin("a").await;
    for range in ["0-3", "0-5"] {
        let headers = [("content-range", range)];
        registry
            .send("PATCH", &location, &headers, "12345")
            .await
            .expect_error(400, "SIZE_INVALID");
    }
    for range in [
        "5-1",
        "x",
        "bytes",
        "-",
        "0-18446744073709551615",
        "0-4, 5-9",
    ] {
        let headers = [("content-range", range)];
        registry
            .send("PATCH", &location, &headers, "12345")
            .await
            .expect_error(400, "BLOB_UPLOAD_INVALID");
    }
    // The same without a Content-Length to compare with.
    let stream = futures::stream::iter([Ok::<_, std::io::Error>("12345")]);
    let body = reqwest::Body::wrap_stream(stream.boxed());
    let headers = [("content-range", "0-9")];
    registry
        .send("PATCH", &location, &headers, body)
        .await
        .expect_error(400, "SIZE_INVALID");
    assert_eq!(
        registry.get(&location).await.expect(204).header("location"),
        location
    );
}

#[tokio::test]
async fn a_whole_blob_in_one_post() {
    let registry = Registry::start();
    let digest = digest_of(b"content");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let answer = registry
        .send("POST", &path, &[], "content")
        .await
        .expect(201);
    assert_eq!(answer.header("location"), format!("/v2/a/blobs/{digest}"));
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    let path = format!("/v2/b/blobs/uploads/?digest={digest}");
    registry
        .send("POST", &path, &[], "other")
        .await
        .expect_error(400, "DIGEST_INVALID");
    registry
        .get(&format!("/v2/b/blobs/{digest}"))
        .await
        .expect(404);
    let misplaced = [("content-range", "7-13")];
    let answer = registry
        .send("POST", &path, &misplaced, "content")
        .await
        .expect_error(416, "BLOB_UPLOAD_INVALID");
    assert_eq!(answer.header("range"), "0-0");
    let escaped = path.replace("sha256:", "sha256%3A");
    registry
        .send("POST", &escaped, &[], "content")
        .await
        .expect(201);
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing_behind() {
    let registry = Registry::start();
    let wrong = digest_of(b"something else");
    for put_last in [false, true] {
        let location = registry.begin("a").await;
        let body = if put_last { "content" } else { "" };
        if !put_last {
            registry
                .send("PATCH", &location, &[], "content")
                .await
                .expect(202);
        }
        registry
            .send("PUT", &finish(&location, &wrong), &[], body)
            .await
            .expect_error(400, "DIGEST_INVALID");
        registry
            .get(&format!("/v2/a/blobs/{wrong}"))
            .await
            .expect(404);
    }
    let location = registry.begin("a").await;
    registry
        .send("PUT", &location, &[], "")
        .await
        .expect_error(400, "DIGEST_INVALID");
    for digest in ["", "sha256:x", "md5:00"] {
        let path = format!("{location}?digest={digest}");
        registry
            .send("PUT", &path, &[], "")
            .await
            .expect_error(400, "DIGEST_INVALID");
    }
    let twice = format!("{location}?digest={wrong}&digest={}", digest_of(b""));
    registry.send("PUT", &twice, &[], "").await.expect(400);
}

#[tokio::test]
async fn sha512_with_and_without_a_hint() {
    let registry = Registry::start();
    let content = bytes(100_000);
    let digest = Digest::of(Algorithm::Sha512, &content);
    for (name, query) in [("hinted", "?digest-algorithm=sha512"), ("unhinted", "")] {
        let path = format!("/v2/{name}/blobs/uploads/{query}");
        let answer = registry.send("POST", &path, &[], "").await.expect(202);
        let location = answer.header("location").to_owned();
        registry
            .send("PATCH", &location, &[], content[..50_000].to_vec())
            .await
            .expect(202);
        let rest = content[50_000..].to_vec();
        registry
            .send("PUT", &finish(&location, &digest), &[], rest)
            .await
            .expect(201);
        let got = registry
            .get(&format!("/v2/{name}/blobs/{digest}"))
            .await
            .expect(200);
        assert_eq!(got.body, content);
    }
    let path = "/v2/a/blobs/uploads/?digest-algorithm=md5";
    registry
        .send("POST", path, &[], "")
        .await
        .expect_error(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn a_mount_makes_a_blob_without_its_bytes() {
    let registry = Registry::start();
    let digest = registry.push_blob("from/here", b"mounted").await;
    let mount = |name: &str, rest: &str| format!("/v2/{name}/blobs/uploads/?mount={digest}{rest}");
    for (name, rest) in [
        ("x", "&from=from/here"),
        ("y", "&from=from%2Fhere"),
        ("z", ""),
    ] {
        let answer = registry
            .send("POST", &mount(name, rest), &[], "")
            .await
            .expect(201);
        assert_eq!(
            answer.header("location"),
            format!("/v2/{name}/blobs/{digest}")
        );
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        registry
            .get(&format!("/v2/{name}/blobs/{digest}"))
            .await
            .expect(200);
    }
    // Whatever stands in the way, an ordinary upload begins.
    for rest in [
        "&from=no/such",
        "&from=..",
        "&from=",
        "&from=UPPER",
        "&from=%2e%2e/x",
    ] {
        let answer = registry
            .send("POST", &mount("w", rest), &[], "")
            .await
            .expect(202);
        let location = answer.header("location").to_owned();
        registry.get(&location).await.expect(204);
        registry
            .get(&format!("/v2/w/blobs/{digest}"))
            .await
            .expect(404);
    }
    let unknown = digest_of(b"nobody pushed this");
    let path = format!("/v2/x/blobs/uploads/?mount={unknown}&from=from/here");
    registry.send("POST", &path, &[], "").await.expect(202);
    let path = "/v2/x/blobs/uploads/?mount=sha256:x&from=from/here";
    registry
        .send("POST", path, &[], "")
        .await
        .expect_error(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn an_upload_can_be_given_up() {
    let registry = Registry::start();
    let location = registry.begin("a").await;
    registry
        .send("PATCH", &location, &[], "content")
        .await
        .expect(202);
    registry.delete(&location).await.expect(204);
    for method in ["GET", "PATCH", "DELETE"] {
        registry
            .send(method, &location, &[], "")
            .await
            .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    let path = finish(&location, &digest_of(b"content"));
    registry
        .send("PUT", &path, &[], "")
        .await
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let registry = Registry::start();
    let location = registry.begin("mine").await;
    let theirs = location.replace("/v2/mine/", "/v2/theirs/");
    for method in ["GET", "PATCH", "DELETE"] {
        registry
            .send(method, &theirs, &[], "x")
            .await
            .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    let path = finish(&theirs, &digest_of(b""));
    registry
        .send("PUT", &path, &[], "")
        .await
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.get(&location).await.expect(204);
    let upper = location
        .to_uppercase()
        .replace("/V2/MINE/BLOBS/UPLOADS/", "/v2/mine/blobs/uploads/");
    if upper != location {
        registry
            .get(&upper)
            .await
            .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
}

#[tokio::test]
async fn what_came_of_a_piece_is_kept_when_its_connection_is_reset() {
    use std::io::Write;

    let registry = Registry::start();
    // One length that is gathered in memory, and one that is streamed.
    for (announced, sent) in [(5_000, 1_000), (5_000_000, 1_000_000)] {
        let location = registry.begin("test/reset").await;
        let mut stream = registry.server.connect();
        write!(
            stream,
            "PATCH {location} HTTP/1.1\r\nHost: drift\r\nContent-Length: {announced}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(&bytes(sent)).unwrap();
        stream.flush().unwrap();
        // The bytes must have been read before the reset throws away what was not.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).unwrap();
        drop(stream);
        let expected = format!("0-{}", sent - 1);
        let begun = std::time::Instant::now();
        loop {
            let status = registry.get(&location).await.expect(204);
            if status.header("range") == expected {
                break;
            }
            assert!(
                begun.elapsed() < std::time::Duration::from_secs(10),
                "the upload stands at {}, not at {expected}",
                status.header("range")
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}
