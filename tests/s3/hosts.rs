//! Buckets that are named by the host that is asked.

use std::process::Command;

use crate::client::Answer;
use crate::s3_client::{Ask, Key, Place, ask, elements, presign, sign};

fn place() -> Place {
    Place::new(&[("DRIFT_S3_HOSTS", "s3.test, eu.s3.test")], &[])
}

/// Sends a request to a host whose name leads nowhere else.
async fn send(place: &Place, host: &str, ask: &Ask) -> Answer {
    place.send(&ask.clone().unsigned("host", host)).await
}

async fn call(place: &Place, host: &str, key: &Key, ask: Ask) -> Answer {
    let (signed, _) = sign(host, key, &ask);
    send(place, host, &signed).await
}

#[tokio::test]
async fn a_bucket_is_named_by_the_host_or_by_the_path() {
    let place = place();
    let admin = place.admin();
    let host = "bucket.s3.test";
    call(&place, host, &admin, ask("PUT", "/"))
        .await
        .expect(200);
    let put = ask("PUT", "/a/b").body("content");
    call(&place, host, &admin, put).await.expect(200);
    for (host, path) in [
        ("bucket.s3.test", "/a/b"),
        ("bucket.s3.test:5002", "/a/b"),
        ("Bucket.S3.test", "/a/b"),
        ("bucket.eu.s3.test", "/a/b"),
        ("s3.test", "/bucket/a/b"),
        ("eu.s3.test", "/bucket/a/b"),
        ("elsewhere.test", "/bucket/a/b"),
        ("localhost", "/bucket/a/b"),
    ] {
        let got = call(&place, host, &admin, ask("GET", path)).await;
        assert_eq!(got.expect(200).text(), "content", "{host}");
    }
    assert_eq!(
        place.get(&admin, "/bucket/a/b").await.expect(200).text(),
        "content"
    );
    let list = ask("GET", "/").query("list-type", "2");
    let listed = call(&place, host, &admin, list).await.expect(200).text();
    assert_eq!(elements(&listed, "Key"), ["a/b"]);
    let all = call(&place, "s3.test", &admin, ask("GET", "/")).await;
    assert!(all.expect(200).text().contains("<Name>bucket</Name>"));
    let delete = ask("POST", "/")
        .query("delete", "")
        .body("<Delete><Object><Key>a/b</Key></Object></Delete>");
    call(&place, host, &admin, delete).await.expect(200);
    // The host is part of what is signed.
    let (signed, _) = sign(host, &admin, &ask("GET", "/"));
    send(&place, "other.s3.test", &signed)
        .await
        .refused(403, "SignatureDoesNotMatch");
    let audited = place.command(&["audit", "--json"]);
    assert!(audited.contains("\"s3:bucket/a/b\""), "{audited}");
}

#[tokio::test]
async fn rules_hold_by_whichever_name_a_bucket_is_asked_for() {
    let place = Place::new(
        &[("DRIFT_S3_HOSTS", "s3.test")],
        &["allow user:reader pull s3:open/**"],
    );
    let admin = place.admin();
    place.command(&["user", "add", "reader"]);
    let reader = place.key(&["--user", "reader"]);
    for bucket in ["open", "shut"] {
        place
            .put(&admin, &format!("/{bucket}"), "")
            .await
            .expect(200);
        place
            .put(&admin, &format!("/{bucket}/x"), bucket)
            .await
            .expect(200);
    }
    let get = || ask("GET", "/x");
    call(&place, "open.s3.test", &reader, get())
        .await
        .expect(200);
    call(&place, "shut.s3.test", &reader, get())
        .await
        .refused(403, "AccessDenied");
    call(&place, "open.s3.test", &reader, ask("PUT", "/x").body("y"))
        .await
        .refused(403, "AccessDenied");
    // What the registry owns is written by nobody by this name either.
    call(
        &place,
        "drift-registry.s3.test",
        &admin,
        ask("PUT", "/x").body("y"),
    )
    .await
    .refused(403, "AccessDenied");
    let url = presign("open.s3.test", &reader, &get(), "60");
    send(&place, "open.s3.test", &url).await.expect(200);
    send(&place, "shut.s3.test", &url)
        .await
        .refused(403, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn curl_signs_for_the_host_that_names_the_bucket() {
    let place = place();
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let port = place.address.port();
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--fail",
            "--aws-sigv4",
            "aws:amz:us-east-1:s3",
        ])
        .args(["--user", &format!("{}:{}", admin.id, admin.secret)])
        .args(["--resolve", &format!("bucket.s3.test:{port}:127.0.0.1")])
        .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
        .args(arguments)
        .arg(format!("http://bucket.s3.test:{port}/a%20b"));
        let done = curl.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    curl(&["--request", "PUT", "--data-binary", "content"]);
    assert_eq!(curl(&[]), "content");
}

#[tokio::test]
async fn no_host_names_a_bucket_unless_the_configuration_says_so() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    place.put(&admin, "/bucket/x", "content").await.expect(200);
    let get = call(&place, "bucket.s3.test", &admin, ask("GET", "/bucket/x")).await;
    assert_eq!(get.expect(200).text(), "content");
    let none = call(&place, "bucket.s3.test", &admin, ask("GET", "/none")).await;
    none.refused(404, "NoSuchBucket");
}
