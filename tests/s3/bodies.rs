//! Bodies in XML that are not what is said of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use crate::multipart::{begin, completion, element, part};
use crate::s3_client::{Ask, Place, UNSIGNED, ask, sha256};

fn md5(body: &[u8]) -> String {
    STANDARD.encode(Md5::digest(body))
}

fn crc32(body: &[u8]) -> String {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, body);
    STANDARD.encode((sum as u32).to_be_bytes())
}

#[tokio::test]
async fn what_is_said_of_a_body_in_xml_is_held_against_it() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    place.put(&admin, "/bucket/x", "content").await.expect(200);
    let id = begin(&place, &admin, "/bucket/big").await;
    let one = part(&place, &admin, "/bucket/big", &id, 1, b"one".to_vec()).await;

    let delete = |key: &str| {
        let body = format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
        ask("POST", "/bucket").query("delete", "").body(body)
    };
    let tag = ask("PUT", "/bucket/x")
        .query("tagging", "")
        .body("<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>");
    let complete = ask("POST", "/bucket/big")
        .query("uploadId", &id)
        .body(completion(&[(1, &one)]));
    let location = "<CreateBucketConfiguration></CreateBucketConfiguration>";
    let bucket = ask("PUT", "/other").body(location);
    for asked in [delete("x"), tag.clone(), complete.clone(), bucket.clone()] {
        let of_object = asked.query.iter().any(|(name, _)| name == "uploadId");
        for unsigned in [false, true] {
            let asked: Ask = match unsigned {
                true => asked.clone().sha256(UNSIGNED),
                false => asked.clone(),
            };
            let wrong = asked.clone().header("content-md5", &md5(b"other"));
            place.call(&admin, wrong).await.refused(400, "BadDigest");
            let none = asked.clone().header("content-md5", "x");
            place.call(&admin, none).await.refused(400, "InvalidDigest");
            // That of a completion is of the object.
            if !of_object {
                let wrong = asked
                    .clone()
                    .header("x-amz-checksum-crc32", &crc32(b"other"))
                    .header("x-amz-sdk-checksum-algorithm", "CRC32");
                place.call(&admin, wrong).await.refused(400, "BadDigest");
            }
        }
        let wrong = asked.clone().sha256(&sha256(b"other"));
        place
            .call(&admin, wrong)
            .await
            .refused(400, "XAmzContentSHA256Mismatch");
        let pieces = asked.clone().sha256("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        place
            .call(&admin, pieces)
            .await
            .refused(501, "NotImplemented");
    }
    // None of it did anything.
    place.get(&admin, "/bucket/x").await.expect(200);
    let tags = ask("GET", "/bucket/x").query("tagging", "");
    let tags = place.call(&admin, tags).await.expect(200).text();
    assert!(!tags.contains("<Key>"), "{tags}");
    place
        .get(&admin, "/bucket/big")
        .await
        .refused(404, "NoSuchKey");
    place.call(&admin, ask("HEAD", "/other")).await.expect(404);
    // What is right passes, signed or not.
    for asked in [tag, complete, bucket, delete("x")] {
        let of_object = asked.query.iter().any(|(name, _)| name == "uploadId");
        let mut right = asked
            .clone()
            .header("content-md5", &md5(&asked.body))
            .sha256(UNSIGNED);
        if !of_object {
            right = right.header("x-amz-checksum-crc32", &crc32(&asked.body));
        }
        place.call(&admin, right).await.expect(200);
    }
    let done = place.get(&admin, "/bucket/big").await.expect(200);
    assert_eq!(done.text(), "one");
    place
        .get(&admin, "/bucket/x")
        .await
        .refused(404, "NoSuchKey");
}

/// As curl sends a request of which it has no body: without a length.
#[tokio::test]
async fn no_body_needs_no_length() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    for (method, path) in [("PUT", "/bucket"), ("POST", "/bucket/x?uploads=")] {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut asked = ask(method, path).sha256(UNSIGNED);
        if let Some((name, value)) = query.split_once('=') {
            asked = asked.query(name, value);
        }
        let (signed, _) = place.signed(&admin, &asked);
        let answer = place.send_without_length(&signed);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_signature_is_looked_at_before_a_body_is() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    let body = "<Delete><Object><Key>x</Key></Object></Delete>";
    let delete = ask("POST", "/bucket")
        .query("delete", "")
        .header("content-md5", &md5(b"other"))
        .body(body);
    let (mut signed, _) = place.signed(&admin, &delete);
    for (name, value) in &mut signed.headers {
        if name == "authorization" {
            let end = value.len() - 1;
            value.replace_range(end.., if value.ends_with('0') { "1" } else { "0" });
        }
    }
    let answer = place.send(&signed).await;
    let answer = answer.refused(403, "SignatureDoesNotMatch");
    assert!(!element(&answer.text(), "Message").is_empty());
}
