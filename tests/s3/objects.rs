//! Objects and buckets, one by one.

use crate::s3_client::{Place, ask, encode, object};

/// Keys of any UTF-8, and those that a path would make something else of.
fn hostile_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "x",
        "x/y",
        "x/",
        "/x",
        "//x//y",
        "..",
        "../x",
        "./x",
        "a b+c%20d&e=f?g#h",
        "ü/日本語/🦀",
        "\u{1}\t\u{7f}",
        "quote\"'<>&amp;",
        "manifests/a/b",
        "blobs/no digest",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push("k".repeat(1024));
    keys
}

#[tokio::test]
async fn objects_of_any_key_come_back_byte_for_byte_and_are_listed() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    place
        .put(&admin, "/bucket", "")
        .await
        .refused(409, "BucketAlreadyOwnedByYou");
    for key in hostile_keys() {
        let path = object("bucket", &key);
        let content = format!("the content of {key}");
        let stored = place.put(&admin, &path, content.clone()).await.expect(200);
        let got = place.get(&admin, &path).await.expect(200);
        assert_eq!(got.text(), content, "{key:?}");
        assert_eq!(got.header("etag"), stored.header("etag"), "{key:?}");
    }
    let listing = ask("GET", "/bucket")
        .query("list-type", "2")
        .query("encoding-type", "url");
    let listed = place.call(&admin, listing).await.expect(200).text();
    for key in hostile_keys() {
        let shown = encode(&key).replace("%2F", "/");
        assert!(listed.contains(&format!("<Key>{shown}</Key>")), "{key:?}");
    }
    let long = object("bucket", &"k".repeat(1025));
    place
        .put(&admin, &long, "x")
        .await
        .refused(400, "KeyTooLongError");
    place
        .delete(&admin, "/bucket")
        .await
        .refused(409, "BucketNotEmpty");
    for key in hostile_keys() {
        let path = object("bucket", &key);
        place.delete(&admin, &path).await.expect(204);
        place.get(&admin, &path).await.refused(404, "NoSuchKey");
    }
    place.delete(&admin, "/bucket").await.expect(204);
    place
        .put(&admin, "/bucket/x", "y")
        .await
        .refused(404, "NoSuchBucket");
}

#[tokio::test]
async fn what_is_said_of_an_object_comes_back() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let said = [
        ("content-type", "text/x-test"),
        ("cache-control", "max-age=7"),
        ("content-disposition", "attachment"),
        ("content-language", "de"),
        ("content-encoding", "gzip"),
        ("x-amz-meta-color", "blue"),
    ];
    let mut put = ask("PUT", "/bucket/x").body("content");
    for (name, value) in said {
        put = put.header(name, value);
    }
    put = put.header("x-amz-tagging", "a=b");
    place.call(&admin, put).await.expect(200);
    for method in ["GET", "HEAD"] {
        let got = place
            .call(&admin, ask(method, "/bucket/x"))
            .await
            .expect(200);
        for (name, value) in said {
            assert_eq!(got.header(name), value, "{method}");
        }
        assert_eq!(got.header("content-length"), "7");
    }
    // A copy keeps it, unless it is told something else.
    let copy = |path: &str| ask("PUT", path).header("x-amz-copy-source", "/bucket/x");
    place.call(&admin, copy("/bucket/y")).await.expect(200);
    let got = place.get(&admin, "/bucket/y").await.expect(200);
    assert_eq!(got.header("x-amz-meta-color"), "blue");
    assert_eq!(got.text(), "content");
    let replaced = copy("/bucket/x")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-meta-color", "red");
    place.call(&admin, replaced).await.expect(200);
    let got = place.get(&admin, "/bucket/x").await.expect(200);
    assert_eq!(got.header("x-amz-meta-color"), "red");
    assert_eq!(got.header("cache-control"), "");
    let tags = place.call(&admin, ask("GET", "/bucket/x").query("tagging", ""));
    let tags = tags.await.expect(200).text();
    assert!(tags.contains("<Key>a</Key><Value>b</Value>"), "{tags}");
    place
        .call(&admin, copy("/bucket/x"))
        .await
        .refused(400, "InvalidRequest");
}

#[tokio::test]
async fn ranges_are_parts_of_the_content() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    place
        .put(&admin, "/bucket/x", content.clone())
        .await
        .expect(200);
    let length = content.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=1048575-1048577", 1_048_575, 1_048_578),
        ("bytes=2999999-", length - 1, length),
        ("bytes=-5", length - 5, length),
        ("bytes=5-99999999", 5, length),
    ] {
        let get = ask("GET", "/bucket/x").header("range", range);
        let got = place.call(&admin, get).await.expect(206);
        assert_eq!(got.body, content[from..to], "{range}");
        let shown = format!("bytes {from}-{}/{length}", to - 1);
        assert_eq!(got.header("content-range"), shown);
        let head = ask("HEAD", "/bucket/x").header("range", range);
        let head = place.call(&admin, head).await.expect(206);
        assert_eq!(head.header("content-range"), shown);
    }
    let behind = ask("GET", "/bucket/x").header("range", "bytes=3000000-");
    place
        .call(&admin, behind)
        .await
        .refused(416, "InvalidRange");
}

#[tokio::test]
async fn many_are_deleted_at_once_and_each_is_decided_about() {
    let place = Place::new(
        &[],
        &[
            "deny token:narrow delete s3:bucket/keep/**",
            "allow user:admin all s3:**",
        ],
    );
    let admin = place.admin();
    let narrow = place.key(&["narrow", "--user", "admin"]);
    place.put(&admin, "/bucket", "").await.expect(200);
    for key in ["a", "b&c", "keep/d"] {
        place
            .put(&admin, &object("bucket", key), "x")
            .await
            .expect(200);
    }
    let body = "<Delete><Object><Key>a</Key></Object><Object><Key>b&amp;c</Key></Object>\
                <Object><Key>none</Key></Object><Object><Key>keep/d</Key></Object></Delete>";
    let delete = ask("POST", "/bucket").query("delete", "").body(body);
    let answer = place.call(&narrow, delete).await.expect(200).text();
    for deleted in ["a", "b&amp;c", "none"] {
        let expected = format!("<Deleted><Key>{deleted}</Key></Deleted>");
        assert!(answer.contains(&expected), "{answer}");
    }
    assert!(answer.contains("<Code>AccessDenied</Code>"), "{answer}");
    place.get(&admin, "/bucket/keep/d").await.expect(200);
    place
        .get(&admin, "/bucket/a")
        .await
        .refused(404, "NoSuchKey");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    for (method, path, query, name) in [
        ("GET", "/bucket", "versioning", "GetBucketVersioning"),
        ("PUT", "/bucket", "policy", "PutBucketPolicy"),
        ("GET", "/bucket/x", "acl", "GetObjectAcl"),
        (
            "GET",
            "/bucket",
            "lifecycle",
            "GetBucketLifecycleConfiguration",
        ),
    ] {
        let asked = ask(method, path).query(query, "");
        let answer = place
            .call(&admin, asked)
            .await
            .refused(501, "NotImplemented");
        assert!(answer.text().contains(name), "{}", answer.text());
    }
    let form = ask("POST", "/bucket").header("content-type", "multipart/form-data; boundary=x");
    place
        .call(&admin, form)
        .await
        .refused(501, "NotImplemented");
}

#[tokio::test]
async fn a_condition_on_one_of_many_keys_that_is_not_known_deletes_nothing() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    place.put(&admin, "/bucket/a", "content").await.expect(200);
    let body = "<Delete><Object><Key>a</Key><Size>1</Size></Object></Delete>";
    let delete = ask("POST", "/bucket").query("delete", "").body(body);
    let answer = place.call(&admin, delete).await.expect(200).text();
    assert!(answer.contains("<Code>NotImplemented</Code>"), "{answer}");
    place.get(&admin, "/bucket/a").await.expect(200);
}

#[tokio::test]
async fn a_signed_request_says_what_the_headers_of_its_answer_are() {
    let place = Place::new(&[], &["allow anonymous pull s3:bucket/**"]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    place.put(&admin, "/bucket/a", "content").await.expect(200);
    let named = ask("GET", "/bucket/a")
        .query("response-content-disposition", "attachment; filename=b")
        .query("response-content-type", "text/x-test");
    place.send(&named).await.refused(501, "NotImplemented");
    let url = place.presigned(&admin, &named, "60");
    let got = place.send(&url).await.expect(200);
    assert_eq!(got.header("content-disposition"), "attachment; filename=b");
    assert_eq!(got.header("content-type"), "text/x-test");
}
