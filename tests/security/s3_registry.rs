//! What the registry owns, through S3 (case 37).

use crate::place;
use crate::s3_client::{Place, ask, elements};

#[tokio::test]
async fn what_the_registry_owns_is_read_by_who_may_pull_and_written_by_nobody() {
    let registry = place::Place::with(
        &[("DRIFT_S3_ENABLED", "true"), ("DRIFT_S3_PORT", "0")],
        &[
            "allow user:alice pull team/**",
            // Rules for objects say nothing of it.
            "allow user:alice all s3:**",
            "allow user:eve all s3:**",
        ],
    );
    let s3 = Place::beside(&registry.registry.server);
    for name in ["alice", "eve"] {
        s3.command(&["user", "add", name]);
    }
    let admin = registry.admin();
    registry
        .push_image(&admin, "team/a", "v1", b"a layer")
        .await;
    registry
        .push_image(&admin, "secret/b", "v1", b"another layer")
        .await;
    let (of_a, of_b) = (
        crate::client::digest_of(b"a layer"),
        crate::client::digest_of(b"another layer"),
    );
    let alice = s3.key(&["--user", "alice"]);
    let eve = s3.key(&["--user", "eve"]);
    let root = s3.admin();
    let blob =
        |digest: &drift::digest::Digest| format!("/drift-registry/blobs/sha256/{}", digest.hex());
    let got = s3.get(&alice, &blob(&of_a)).await.expect(200);
    assert_eq!(got.body, b"a layer");
    let part = ask("GET", &blob(&of_a)).header("range", "bytes=2-3");
    assert_eq!(s3.call(&alice, part).await.expect(206).body, b"la");
    let manifest = s3
        .get(&alice, "/drift-registry/manifests/team/a/v1")
        .await
        .expect(200);
    let digest = crate::client::digest_of(&manifest.body);
    let by_digest = format!("/drift-registry/manifests/team/a/{digest}");
    assert_eq!(
        s3.get(&alice, &by_digest).await.expect(200).body,
        manifest.body
    );

    // In the same words as what is not there.
    let none = s3
        .get(&alice, "/drift-registry/manifests/secret/none/v1")
        .await;
    let none = none.refused(404, "NoSuchKey");
    let hidden = s3
        .get(&alice, "/drift-registry/manifests/secret/b/v1")
        .await;
    let hidden = hidden.refused(404, "NoSuchKey");
    assert_eq!(
        none.text().replace("secret/none", ""),
        hidden.text().replace("secret/b", "")
    );
    s3.get(&alice, &blob(&of_b)).await.refused(404, "NoSuchKey");
    s3.get(&eve, &blob(&of_a)).await.refused(404, "NoSuchKey");
    let list = |prefix: &str| {
        ask("GET", "/drift-registry")
            .query("list-type", "2")
            .query("prefix", prefix)
    };
    let listed = s3.call(&alice, list("")).await.expect(200).text();
    assert!(
        listed.contains(&of_a.hex()) && listed.contains("manifests/team/a/v1"),
        "{listed}"
    );
    assert!(
        !listed.contains(&of_b.hex()) && !listed.contains("secret"),
        "{listed}"
    );
    let listed = s3.call(&eve, list("")).await.expect(200).text();
    assert!(!listed.contains("<Key>"), "{listed}");
    let all = s3
        .call(&root, list("manifests/").query("delimiter", "/"))
        .await
        .expect(200)
        .text();
    for prefix in ["manifests/secret/", "manifests/team/"] {
        assert!(all.contains(&format!("<Prefix>{prefix}</Prefix>")), "{all}");
    }
    // Page by page, each key once.
    let mut keys = Vec::new();
    for size in ["3", "2", "1"] {
        keys.clear();
        let mut token = None::<String>;
        loop {
            let mut page = list("").query("max-keys", size);
            if let Some(token) = &token {
                page = page.query("continuation-token", token);
            }
            let listed = s3.call(&alice, page).await.expect(200).text();
            let found = elements(&listed, "Key");
            assert!(found.len() <= size.parse().unwrap(), "{listed}");
            keys.extend(found);
            token = elements(&listed, "NextContinuationToken").pop();
            if token.is_none() {
                break;
            }
        }
        let mut sorted = keys.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(keys, sorted);
    }
    assert!(keys.len() >= 4, "{keys:?}");

    // To be written by nobody, not even who may do everything.
    for (method, path) in [
        ("PUT", blob(&of_a)),
        ("PUT", "/drift-registry/manifests/team/a/v2".to_owned()),
        ("PUT", "/drift-registry/free".to_owned()),
        ("DELETE", blob(&of_a)),
        ("DELETE", "/drift-registry/manifests/team/a/v1".to_owned()),
        ("DELETE", "/drift-registry".to_owned()),
        ("PUT", "/drift-registry".to_owned()),
    ] {
        let asked = ask(method, &path).body("x");
        let asked = if method == "DELETE" || path == "/drift-registry" {
            asked.body("")
        } else {
            asked
        };
        s3.call(&root, asked).await.refused(403, "AccessDenied");
    }
    for query in ["uploads", "delete"] {
        let body = "<Delete><Object><Key>manifests/team/a/v1</Key></Object></Delete>";
        let asked = match query {
            "uploads" => ask("POST", &blob(&of_a)).query(query, ""),
            _ => ask("POST", "/drift-registry").query(query, "").body(body),
        };
        s3.call(&root, asked).await.refused(403, "AccessDenied");
    }
    s3.put(&root, "/other", "").await.expect(200);
    for (to, from) in [
        ("/other/x".to_owned(), blob(&of_a)),
        (blob(&of_a), "/other/x".to_owned()),
    ] {
        let copy = ask("PUT", &to).header("x-amz-copy-source", &from);
        s3.call(&root, copy).await.refused(403, "AccessDenied");
    }
    let tags = ask("PUT", &blob(&of_a))
        .query("tagging", "")
        .body("<Tagging><TagSet></TagSet></Tagging>");
    s3.call(&root, tags).await.refused(403, "AccessDenied");
    // Nor by parts, whoever knows an upload; and nobody is told of any.
    let upload = "00000000-0000-4000-8000-000000000000";
    let of_upload = |method: &str| ask(method, &blob(&of_a)).query("uploadId", upload);
    let part = |method: &str| of_upload(method).query("partNumber", "1");
    let whole = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>";
    for asked in [
        part("PUT").body("x"),
        part("PUT").header("x-amz-copy-source", "/other/x"),
        of_upload("POST").body(whole),
        of_upload("DELETE"),
        of_upload("GET"),
        ask("DELETE", &blob(&of_a)).query("tagging", ""),
    ] {
        s3.send(&asked).await.refused(403, "AccessDenied");
        s3.call(&root, asked).await.refused(403, "AccessDenied");
    }
    let got = s3.get(&alice, &blob(&of_a)).await.expect(200);
    assert_eq!(got.body, b"a layer");
}
