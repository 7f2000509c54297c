//! Bodies that are not what was said of them (cases 34 and 36).

use crate::s3_client::{Ask, Key, Place, ask};

const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
/// CRC-32 of "hello world".
const CRC32: &str = "DUoRhQ==";

async fn place() -> (Place, Key) {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    (place, admin)
}

/// A request whose body comes in two signed pieces, with trailers or without.
fn in_pieces(place: &Place, key: &Key, with_trailer: bool) -> Ask {
    let mut put = ask("PUT", "/bucket/x").header("x-amz-decoded-content-length", "11");
    put = match with_trailer {
        true => put
            .sha256(SIGNED_TRAILER)
            .header("x-amz-trailer", "x-amz-checksum-crc32"),
        false => put.sha256(SIGNED),
    };
    let (mut signed, mut signing) = place.signed(key, &put);
    let mut body = String::new();
    for piece in ["hello ", "world", ""] {
        let signature = signing.piece(piece.as_bytes());
        body += &format!("{:x};chunk-signature={signature}\r\n{piece}", piece.len());
        if !(piece.is_empty() && with_trailer) {
            body += "\r\n";
        }
    }
    if with_trailer {
        let trailer = format!("x-amz-checksum-crc32:{CRC32}\n");
        let signature = signing.trailer(&trailer);
        body +=
            &format!("x-amz-checksum-crc32:{CRC32}\r\nx-amz-trailer-signature:{signature}\r\n\r\n");
    }
    signed.body = body.into_bytes();
    signed
}

#[tokio::test]
async fn a_signed_body_with_a_byte_flipped_anywhere_never_becomes_an_object() {
    let (place, admin) = place().await;
    for with_trailer in [false, true] {
        let good = in_pieces(&place, &admin, with_trailer);
        place.send(&good).await.expect(200);
        let got = place.get(&admin, "/bucket/x").await.expect(200);
        assert_eq!(got.text(), "hello world");
        place.delete(&admin, "/bucket/x").await.expect(204);
        let harmless = |at: usize| {
            // The last line ends hold nothing.
            at + 4 >= good.body.len()
        };
        for at in (0..good.body.len()).filter(|at| !harmless(*at)) {
            let mut flipped = good.clone();
            flipped.body[at] ^= 0x10;
            let answer = place.send(&flipped).await;
            if answer.status.is_success() {
                // What is not content may be read as the same: a letter's case of hex digits.
                let got = place.get(&admin, "/bucket/x").await.expect(200);
                assert_eq!(got.text(), "hello world", "byte {at}");
                place.delete(&admin, "/bucket/x").await.expect(204);
                continue;
            }
            assert!(answer.status.is_client_error(), "byte {at}: {answer:?}");
            let there = place.get(&admin, "/bucket/x").await;
            there.refused(404, "NoSuchKey");
        }
        for cut in [1, 90, 100, 190, good.body.len() / 2] {
            let mut short = good.clone();
            short.body.truncate(cut);
            let answer = place.send(&short).await;
            assert!(answer.status.is_client_error(), "cut at {cut}: {answer:?}");
        }
        place
            .get(&admin, "/bucket/x")
            .await
            .refused(404, "NoSuchKey");
    }
}

/// Case 34 (CVE-2026-41145, CVE-2026-40344).
#[tokio::test]
async fn unsigned_pieces_take_a_good_signature_in_the_header() {
    let (place, admin) = place().await;
    let body = format!("b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:{CRC32}\r\n\r\n");
    let put = ask("PUT", "/bucket/x")
        .sha256(UNSIGNED_TRAILER)
        .header("x-amz-decoded-content-length", "11")
        .header("x-amz-trailer", "x-amz-checksum-crc32");
    let (mut good, _) = place.signed(&admin, &put);
    good.body = body.clone().into_bytes();
    let mut bad = good.clone();
    for (name, value) in &mut bad.headers {
        if name == "authorization" {
            let end = value.pop();
            value.push(if end == Some('0') { '1' } else { '0' });
        }
    }
    place.send(&bad).await.refused(403, "SignatureDoesNotMatch");
    let mut missing = good.clone();
    missing.headers.retain(|(name, _)| name != "authorization");
    place.send(&missing).await.refused(403, "AccessDenied");
    let mut url = place.presigned(
        &admin,
        &ask("PUT", "/bucket/x").header("x-amz-content-sha256", UNSIGNED_TRAILER),
        "60",
    );
    url.body = body.clone().into_bytes();
    place.send(&url).await.refused(403, "AccessDenied");
    place
        .get(&admin, "/bucket/x")
        .await
        .refused(404, "NoSuchKey");
    // A trailer that is wrong, or that did not come.
    for (trailer, code) in [
        ("x-amz-checksum-crc32:AAAAAA==\r\n", "BadDigest"),
        ("x-amz-checksum-sha1:AAAAAA==\r\n", "MalformedTrailerError"),
        ("", "MalformedTrailerError"),
    ] {
        let mut wrong = good.clone();
        wrong.body = format!("b\r\nhello world\r\n0\r\n{trailer}\r\n").into_bytes();
        place.send(&wrong).await.refused(400, code);
    }
    for (text, _) in [
        ("b\r\nhello w", 0),
        ("ffffffff\r\nhello world\r\n0\r\n\r\n", 1),
    ] {
        let mut wrong = good.clone();
        wrong.body = text.as_bytes().to_vec();
        let answer = place.send(&wrong).await;
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
    place
        .get(&admin, "/bucket/x")
        .await
        .refused(404, "NoSuchKey");
    place.send(&good).await.expect(200);
    let got = place.get(&admin, "/bucket/x").await.expect(200);
    assert_eq!(got.text(), "hello world");
}

/// Case 36.
#[tokio::test]
async fn a_content_that_is_not_what_was_said_is_refused_and_not_to_be_seen() {
    let (place, admin) = place().await;
    let put = || ask("PUT", "/bucket/x").body("hello world");
    let other = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde0";
    place
        .call(&admin, put().sha256(other))
        .await
        .refused(400, "XAmzContentSHA256Mismatch");
    for (name, good, bad) in [
        (
            "content-md5",
            "XrY7u+Ae7tCTyyK7j1rNww==",
            "XUFAKrxLKna5cZ2REBfFkg==",
        ),
        ("x-amz-checksum-crc32", CRC32, "AAAAAA=="),
        ("x-amz-checksum-crc32c", "yZRlqg==", "AAAAAA=="),
        (
            "x-amz-checksum-sha1",
            "Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
        ),
        (
            "x-amz-checksum-sha256",
            "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ),
        ("x-amz-checksum-crc64nvme", "jSnVw/bqjr4=", "AAAAAAAAAAA="),
    ] {
        place
            .call(&admin, put().header(name, bad))
            .await
            .refused(400, "BadDigest");
        let none = place.call(&admin, put().header(name, "no checksum")).await;
        none.expect(400);
        place
            .get(&admin, "/bucket/x")
            .await
            .refused(404, "NoSuchKey");
        place
            .call(&admin, put().header(name, good))
            .await
            .expect(200);
        place.delete(&admin, "/bucket/x").await.expect(204);
    }
    let two = put()
        .header("x-amz-checksum-crc32", CRC32)
        .header("x-amz-checksum-crc32c", "yZRlqg==");
    place.call(&admin, two).await.refused(400, "InvalidRequest");
    // By a URL as well, where the content's hash is not in the signature.
    let sha256 = "x-amz-content-sha256";
    let mut url = place.presigned(&admin, &ask("PUT", "/bucket/x").header(sha256, other), "60");
    url.body = b"hello world".to_vec();
    place
        .send(&url)
        .await
        .refused(400, "XAmzContentSHA256Mismatch");
    place
        .get(&admin, "/bucket/x")
        .await
        .refused(404, "NoSuchKey");
    let mut url = place.presigned(&admin, &ask("PUT", "/bucket/x"), "60");
    url.body = b"hello world".to_vec();
    place.send(&url).await.expect(200);
    let url = place.presigned(&admin, &ask("GET", "/bucket/x"), "60");
    assert_eq!(place.send(&url).await.expect(200).text(), "hello world");
}
