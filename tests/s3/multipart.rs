//! Multipart uploads.

use crate::s3_client::{Key, Place, ask};

pub const PART: usize = 5 << 20;

pub fn element(xml: &str, name: &str) -> String {
    let (_, rest) = xml
        .split_once(&format!("<{name}>"))
        .unwrap_or_else(|| panic!("{name}: {xml}"));
    rest.split_once('<').unwrap().0.to_owned()
}

pub async fn begin(place: &Place, key: &Key, path: &str) -> String {
    let begun = place
        .call(key, ask("POST", path).query("uploads", ""))
        .await;
    element(&begun.expect(200).text(), "UploadId")
}

pub async fn part(
    place: &Place,
    key: &Key,
    path: &str,
    id: &str,
    number: u32,
    body: Vec<u8>,
) -> String {
    let put = ask("PUT", path)
        .query("partNumber", &number.to_string())
        .query("uploadId", id)
        .body(body);
    let answer = place.call(key, put).await.expect(200);
    answer.header("etag").to_owned()
}

pub fn completion(parts: &[(u32, &str)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| {
            let etag = etag.replace('"', "&quot;");
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        })
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

#[tokio::test]
async fn parts_become_an_object_in_the_order_of_their_numbers() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let path = "/bucket/big";
    let id = begin(&place, &admin, path).await;
    let first: Vec<u8> = (0..PART).map(|n| (n % 253) as u8).collect();
    let last = b"the end".to_vec();
    let two = part(&place, &admin, path, &id, 2, last.clone()).await;
    part(&place, &admin, path, &id, 1, b"replaced".to_vec()).await;
    let one = part(&place, &admin, path, &id, 1, first.clone()).await;
    let listed = place
        .call(&admin, ask("GET", path).query("uploadId", &id))
        .await;
    let listed = listed.expect(200).text();
    assert!(listed.contains(&format!("<Size>{PART}</Size>")), "{listed}");
    let uploads = place
        .call(&admin, ask("GET", "/bucket").query("uploads", ""))
        .await;
    assert_eq!(element(&uploads.expect(200).text(), "UploadId"), id);

    let complete = |body: String| ask("POST", path).query("uploadId", &id).body(body);
    for (parts, code) in [
        (vec![(2, two.as_str()), (1, &one)], "InvalidPartOrder"),
        (vec![(1, one.as_str()), (3, &two)], "InvalidPart"),
        (vec![(1, two.as_str())], "InvalidPart"),
    ] {
        let body = completion(&parts);
        place.call(&admin, complete(body)).await.refused(400, code);
    }
    let body = completion(&[(1, &one), (2, &two)]);
    let done = place.call(&admin, complete(body)).await.expect(200).text();
    assert!(
        element(&done, "ETag")
            .trim_matches(['"', '&', ';'])
            .contains("-2"),
        "{done}"
    );
    let got = place.get(&admin, path).await.expect(200);
    assert_eq!(got.body, [first.as_slice(), &last].concat());
    place
        .call(&admin, ask("GET", path).query("uploadId", &id))
        .await
        .refused(404, "NoSuchUpload");

    // All of it as a part of another, and a range of it.
    let id = begin(&place, &admin, "/bucket/copy").await;
    let copy = |number: &str, range: Option<&str>| {
        let copy = ask("PUT", "/bucket/copy")
            .query("partNumber", number)
            .query("uploadId", &id)
            .header("x-amz-copy-source", "/bucket/big");
        match range {
            None => copy,
            Some(range) => copy.header("x-amz-copy-source-range", range),
        }
    };
    let one = place.call(&admin, copy("1", None)).await.expect(200).text();
    let two = place
        .call(&admin, copy("2", Some("bytes=3-6")))
        .await
        .expect(200)
        .text();
    let etag = |text: &str| element(text, "ETag").replace("&quot;", "\"");
    let (one, two) = (etag(&one), etag(&two));
    let body = completion(&[(1, &one), (2, &two)]);
    let complete = ask("POST", "/bucket/copy")
        .query("uploadId", &id)
        .body(body);
    place.call(&admin, complete).await.expect(200);
    let copied = place.get(&admin, "/bucket/copy").await.expect(200);
    assert_eq!(
        copied.body,
        [first.as_slice(), &last, &first[3..7]].concat()
    );
}

#[tokio::test]
async fn short_parts_and_aborted_uploads_leave_nothing() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let path = "/bucket/x";
    let id = begin(&place, &admin, path).await;
    let one = part(&place, &admin, path, &id, 1, b"short".to_vec()).await;
    let two = part(&place, &admin, path, &id, 2, b"last".to_vec()).await;
    let complete = ask("POST", path)
        .query("uploadId", &id)
        .body(completion(&[(1, &one), (2, &two)]));
    place
        .call(&admin, complete)
        .await
        .refused(400, "EntityTooSmall");
    place
        .delete(&admin, "/bucket")
        .await
        .refused(409, "BucketNotEmpty");
    let abort = ask("DELETE", path).query("uploadId", &id);
    place.call(&admin, abort.clone()).await.expect(204);
    place.call(&admin, abort).await.refused(404, "NoSuchUpload");
    place.get(&admin, path).await.refused(404, "NoSuchKey");
    place.delete(&admin, "/bucket").await.expect(204);
}

#[tokio::test]
async fn checksums_of_parts_become_that_of_the_object() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let path = "/bucket/x";
    let begun = ask("POST", path)
        .query("uploads", "")
        .header("x-amz-checksum-algorithm", "SHA256");
    let id = element(
        &place.call(&admin, begun).await.expect(200).text(),
        "UploadId",
    );
    let put = |sum: &str| {
        ask("PUT", path)
            .query("partNumber", "1")
            .query("uploadId", &id)
            .header("x-amz-checksum-sha256", sum)
            .body("hello")
    };
    // SHA-256 of "hello", and of something else.
    let good = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    let bad = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    place.call(&admin, put(bad)).await.refused(400, "BadDigest");
    let one = place.call(&admin, put(good)).await.expect(200);
    assert_eq!(one.header("x-amz-checksum-sha256"), good);
    let body = completion(&[(1, one.header("etag"))]);
    // What is said of a part, or of all, has to be so.
    let of_part = |sum: &str| {
        let sum = format!("<ChecksumSHA256>{sum}</ChecksumSHA256></Part>");
        let body = body.replace("</Part>", &sum);
        ask("POST", path).query("uploadId", &id).body(body)
    };
    place
        .call(&admin, of_part(bad))
        .await
        .refused(400, "InvalidPart");
    let of_all = of_part(good).header("x-amz-checksum-sha256", bad);
    place.call(&admin, of_all).await.refused(400, "InvalidPart");
    let complete = of_part(good);
    let done = place.call(&admin, complete).await.expect(200).text();
    let of_object = element(&done, "ChecksumSHA256");
    assert!(of_object.ends_with("=-1"), "{done}");
    let head = ask("HEAD", path).header("x-amz-checksum-mode", "ENABLED");
    let head = place.call(&admin, head).await.expect(200);
    assert_eq!(head.header("x-amz-checksum-sha256"), of_object);
}
