//! Requests of the S3 endpoint that are signed wrongly, or not as a whole (cases 33 and 35).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::s3_client::{Key, Place, ask, presign, sign};

/// The account of the examples in the documentation of SigV4.
fn example() -> (Key, SystemTime) {
    let key = Key {
        id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
    };
    // 2013-05-24 00:00:00 UTC
    (key, UNIX_EPOCH + Duration::from_secs(1_369_353_600))
}

/// The signatures that the API reference of S3 publishes, so that what these tests sign is what any client
/// signs.
#[test]
fn the_published_examples_are_signed_alike() {
    let (key, at) = example();
    let host = "examplebucket.s3.amazonaws.com";
    let mut get = ask("GET", "/test.txt").header("range", "bytes=0-9");
    get.at = at;
    assert_eq!(
        sign(host, &key, &get).1.signature,
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
    let mut put = ask("PUT", "/test%24file.text")
        .header("date", "Fri, 24 May 2013 00:00:00 GMT")
        .header("x-amz-storage-class", "REDUCED_REDUNDANCY")
        .body("Welcome to Amazon S3.");
    put.at = at;
    assert_eq!(
        sign(host, &key, &put).1.signature,
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    );
    let mut list = ask("GET", "/").query("max-keys", "2").query("prefix", "J");
    list.at = at;
    assert_eq!(
        sign(host, &key, &list).1.signature,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    );
    let mut url = ask("GET", "/test.txt");
    url.at = at;
    let (_, signature) = presign(host, &key, &url, "86400").query.pop().unwrap();
    assert_eq!(
        signature,
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    );
    let mut pieces = ask("PUT", "/examplebucket/chunkObject.txt")
        .header("x-amz-storage-class", "REDUCED_REDUNDANCY")
        .header("content-encoding", "aws-chunked")
        .header("content-length", "66824")
        .header("x-amz-decoded-content-length", "66560")
        .sha256("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    pieces.at = at;
    let (_, mut signing) = sign("s3.amazonaws.com", &key, &pieces);
    let mut signatures = vec![signing.signature.clone()];
    for piece in [&[b'a'; 65536][..], &[b'a'; 1024], b""] {
        signatures.push(signing.piece(piece));
    }
    assert_eq!(
        signatures,
        [
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ]
    );
}

async fn place() -> (Place, Key) {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    place
        .put(&admin, "/bucket/secret", "secret")
        .await
        .expect(200);
    (place, admin)
}

/// Case 33 (GHSA-xm99-m3gq-83g8, CVE-2026-54330).
#[tokio::test]
async fn a_header_that_nobody_signed_does_nothing() {
    let (place, admin) = place().await;
    for (name, value) in [
        ("x-amz-copy-source", "/bucket/secret"),
        ("x-amz-meta-a", "b"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-acl", "public-read"),
        (
            "X-Amz-Checksum-Sha256",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ),
    ] {
        let (signed, _) = place.signed(&admin, &ask("PUT", "/bucket/new"));
        let with = signed.unsigned(name, value);
        place.send(&with).await.refused(403, "AccessDenied");
        let url = place.presigned(&admin, &ask("PUT", "/bucket/new"), "60");
        let with = url.unsigned(name, value);
        place.send(&with).await.refused(403, "AccessDenied");
    }
    // Nor by a name in another spelling, nor one that is signed and not there.
    for names in ["host;X-Amz-Copy-Source", "host;x-amz-meta-a"] {
        let mut url = place.presigned(&admin, &ask("PUT", "/bucket/new"), "60");
        for (name, value) in &mut url.query {
            if name == "X-Amz-SignedHeaders" {
                *value = names.into();
            }
        }
        let url = url.unsigned("x-amz-copy-source", "/bucket/secret");
        place.send(&url).await.expect(403);
    }
    place
        .get(&admin, "/bucket/new")
        .await
        .refused(404, "NoSuchKey");
    // Signed, it does what it says.
    let copy = ask("PUT", "/bucket/new").header("x-amz-copy-source", "/bucket/secret");
    place.call(&admin, copy).await.expect(200);
    // Twice, nothing is to be read off it.
    let twice = ask("PUT", "/bucket/new").header("x-amz-copy-source", "/bucket/secret");
    let (signed, _) = place.signed(&admin, &twice);
    let twice = signed.unsigned("x-amz-copy-source", "/bucket/new");
    place.send(&twice).await.refused(400, "InvalidRequest");
}

/// Case 35.
#[tokio::test]
async fn dates_regions_expiries_and_old_signatures_are_refused() {
    let (place, admin) = place().await;
    let get = || ask("GET", "/bucket/secret");
    place.call(&admin, get().ago(60)).await.expect(200);
    place
        .call(&admin, get().ago(901))
        .await
        .refused(403, "RequestTimeTooSkewed");
    let mut later = get();
    later.at = SystemTime::now() + Duration::from_secs(960);
    place
        .call(&admin, later.clone())
        .await
        .refused(403, "RequestTimeTooSkewed");
    let mut other_day = get();
    other_day.scope_date = Some("20200101".into());
    place
        .call(&admin, other_day.clone())
        .await
        .refused(400, "AuthorizationHeaderMalformed");
    let mut elsewhere = get();
    elsewhere.region = "eu-west-1".into();
    place
        .call(&admin, elsewhere.clone())
        .await
        .refused(400, "AuthorizationHeaderMalformed");
    for asked in [other_day, elsewhere, later] {
        let answer = place.send(&place.presigned(&admin, &asked, "60")).await;
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
    let url = |seconds: &str| place.presigned(&admin, &get(), seconds);
    place.send(&url("604800")).await.expect(200);
    for seconds in ["604801", "0", "-1", "4294967296", "x", ""] {
        place
            .send(&url(seconds))
            .await
            .refused(400, "AuthorizationQueryParametersError");
    }
    let expired = place.presigned(&admin, &get().ago(70), "60");
    place.send(&expired).await.refused(403, "AccessDenied");
    // Version 2, in the header and in the query.
    let header = get().header("authorization", &format!("AWS {}:c2lnbmF0dXJl", admin.id));
    place.send(&header).await.refused(400, "InvalidRequest");
    let query = get()
        .query("AWSAccessKeyId", &admin.id)
        .query("Expires", "4102444800")
        .query("Signature", "c2lnbmF0dXJl");
    place.send(&query).await.refused(400, "InvalidRequest");
    // Both at once, and two of one kind.
    let (signed, _) = place.signed(&admin, &get());
    let mut both = signed.clone();
    both.query = url("60").query;
    place.send(&both).await.refused(400, "InvalidRequest");
    let twice = signed
        .clone()
        .unsigned("authorization", "AWS4-HMAC-SHA256 x");
    place.send(&twice).await.refused(400, "InvalidRequest");
    let mut algorithm = signed;
    for (name, value) in &mut algorithm.headers {
        if name == "authorization" {
            *value = value.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256");
        }
    }
    place
        .send(&algorithm)
        .await
        .refused(400, "AuthorizationHeaderMalformed");
}

#[tokio::test]
async fn a_signature_is_over_all_of_the_request() {
    let (place, admin) = place().await;
    let (signed, _) = place.signed(
        &admin,
        &ask("GET", "/bucket/secret").query("versionId", "null"),
    );
    place.send(&signed).await.expect(200);
    let mut other = signed.clone();
    other.path = "/bucket/Secret".into();
    place
        .send(&other)
        .await
        .refused(403, "SignatureDoesNotMatch");
    let mut other = signed.clone();
    other.method = "DELETE".into();
    place
        .send(&other)
        .await
        .refused(403, "SignatureDoesNotMatch");
    let mut other = signed.clone();
    other.query.clear();
    place
        .send(&other)
        .await
        .refused(403, "SignatureDoesNotMatch");
    let wrong = Key {
        secret: format!("{}x", admin.secret),
        ..admin.clone()
    };
    place
        .get(&wrong, "/bucket/secret")
        .await
        .refused(403, "SignatureDoesNotMatch");
    let unknown = Key {
        id: "DRIFTAAAAAAAAAAAAAAA".into(),
        ..admin.clone()
    };
    place
        .get(&unknown, "/bucket/secret")
        .await
        .refused(403, "InvalidAccessKeyId");
    place
        .send(&ask("GET", "/bucket/secret"))
        .await
        .refused(403, "AccessDenied");
    place
        .send(&ask("GET", "/"))
        .await
        .refused(403, "AccessDenied");
}

#[tokio::test]
async fn an_access_key_is_worth_nothing_once_it_or_its_account_is_gone() {
    let (place, admin) = place().await;
    let input = ["user", "add", "alice"];
    place.command(&input);
    place.command(&["policy", "add", "user:alice", "pull", "s3:bucket/**"]);
    let key = place.key(&["alice-1", "--user", "alice"]);
    place.get(&key, "/bucket/secret").await.expect(200);
    place
        .put(&key, "/bucket/x", "y")
        .await
        .refused(403, "AccessDenied");
    place
        .delete(&key, "/bucket/secret")
        .await
        .refused(403, "AccessDenied");
    // A rule for repositories is none for objects.
    place.command(&["policy", "add", "user:alice", "all", "**"]);
    place
        .put(&key, "/bucket/x", "y")
        .await
        .refused(403, "AccessDenied");
    place.command(&["user", "disable", "alice"]);
    place
        .get(&key, "/bucket/secret")
        .await
        .refused(403, "InvalidAccessKeyId");
    place.command(&["user", "enable", "alice"]);
    place.get(&key, "/bucket/secret").await.expect(200);
    place.command(&["token", "revoke", "alice-1"]);
    place
        .get(&key, "/bucket/secret")
        .await
        .refused(403, "InvalidAccessKeyId");
    // What is listed, logged and kept holds no secret.
    let listed = place.command(&["token", "list"]);
    assert!(
        listed.contains(&admin.id) && !listed.contains(&admin.secret),
        "{listed}"
    );
    assert!(!place.log().contains(&admin.secret));
    let index = place.directory().join("drift-data/index.redb");
    let bytes = std::fs::read(index).unwrap();
    let secret = admin.secret.as_bytes();
    assert!(!bytes.windows(secret.len()).any(|it| it == secret));
    let tested = place.run(&["policy", "test", "user:alice", "pull", "s3:bucket/secret"]);
    assert!(tested.status.success());
    let tested = place.run(&["policy", "test", "user:alice", "pull", "s3:other/secret"]);
    assert!(!tested.status.success());
}

#[tokio::test]
async fn strangers_read_what_a_rule_lets_them_and_nothing_else() {
    let place = Place::new(&[], &["allow anonymous pull s3:public/**"]);
    let admin = place.admin();
    for bucket in ["/public", "/private"] {
        place.put(&admin, bucket, "").await.expect(200);
        place
            .put(&admin, &format!("{bucket}/x"), "y")
            .await
            .expect(200);
    }
    let got = place.send(&ask("GET", "/public/x")).await.expect(200);
    assert_eq!(got.text(), "y");
    place
        .send(&ask("GET", "/public").query("list-type", "2"))
        .await
        .expect(200);
    for (method, path) in [
        ("GET", "/private/x"),
        ("GET", "/private"),
        ("PUT", "/public/y"),
        ("DELETE", "/public/x"),
        ("GET", "/none/x"),
    ] {
        place
            .send(&ask(method, path))
            .await
            .refused(403, "AccessDenied");
    }
}

#[tokio::test]
async fn bad_signatures_are_throttled_and_written_down() {
    let place = Place::new(&[("DRIFT_AUTH_BAD_LOGINS_BY_ADDRESS", "3")], &[]);
    let admin = place.admin();
    let wrong = Key {
        secret: "wrong".into(),
        ..admin.clone()
    };
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(place.get(&wrong, "/bucket").await.status.as_u16());
    }
    assert_eq!(statuses.first(), Some(&403));
    assert_eq!(statuses.last(), Some(&503), "{statuses:?}");
    // Whoever holds the key is not kept waiting for what others tried with its name.
    place.get(&admin, "/").await.expect(200);
    let events = place.command(&["audit"]);
    assert!(events.contains("SignatureDoesNotMatch"), "{events}");
}

/// The decoder of `s3s` cuts this word where it has no place to be cut.
#[tokio::test]
async fn a_header_that_looks_like_an_encoded_word_breaks_nothing() {
    let (place, admin) = place().await;
    for value in ["=?=", "a =?= b"] {
        let put = ask("PUT", "/bucket/new").header("x-amz-meta-a", value);
        place
            .call(&admin, put)
            .await
            .refused(400, "InvalidArgument");
    }
    place
        .get(&admin, "/bucket/new")
        .await
        .refused(404, "NoSuchKey");
}

/// A body in XML is read whole before anything of it is decided.
#[tokio::test]
async fn strangers_send_no_keys_to_be_deleted_and_nobody_sends_endless_ones() {
    let (place, admin) = place().await;
    let keys = "<Delete><Object><Key>secret</Key></Object></Delete>";
    let stranger = ask("POST", "/bucket").query("delete", "").body(keys);
    place.send(&stranger).await.refused(403, "AccessDenied");
    let endless = "x".repeat(9 << 20);
    let endless = ask("POST", "/bucket").query("delete", "").body(endless);
    let refused = place.call(&admin, endless).await;
    refused.refused(400, "MaxMessageLengthExceeded");
    place.get(&admin, "/bucket/secret").await.expect(200);
}
