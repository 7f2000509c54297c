//! Parts of an object that was made of some: read one by one, and told of.

use crate::multipart::{PART, begin, completion, element, part};
use crate::s3_client::{Ask, Key, Place, ask, elements};

/// An object of parts 1, 3 and 4, the last of which is short.
async fn object_of_parts(place: &Place, admin: &Key, algorithm: Option<&str>) -> [Vec<u8>; 3] {
    let path = "/bucket/big";
    let id = match algorithm {
        None => begin(place, admin, path).await,
        Some(algorithm) => {
            let begun = ask("POST", path)
                .query("uploads", "")
                .header("x-amz-checksum-algorithm", algorithm);
            element(
                &place.call(admin, begun).await.expect(200).text(),
                "UploadId",
            )
        }
    };
    let contents = [vec![1u8; PART], vec![2u8; PART + 1], b"the end".to_vec()];
    let mut parts = Vec::new();
    for (number, content) in [1, 3, 4].into_iter().zip(&contents) {
        let etag = part(place, admin, path, &id, number, content.clone()).await;
        parts.push((number, etag));
    }
    let parts: Vec<_> = parts
        .iter()
        .map(|(number, etag)| (*number, etag.as_str()))
        .collect();
    let complete = ask("POST", path)
        .query("uploadId", &id)
        .body(completion(&parts));
    place.call(admin, complete).await.expect(200);
    contents
}

fn numbered(method: &str, path: &str, number: &str) -> Ask {
    ask(method, path).query("partNumber", number)
}

#[tokio::test]
async fn a_part_is_read_by_its_number() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let contents = object_of_parts(&place, &admin, Some("CRC32")).await;
    let copy = ask("PUT", "/bucket/copy").header("x-amz-copy-source", "/bucket/big");
    place.call(&admin, copy).await.expect(200);
    let described = ask("PUT", "/bucket/described")
        .header("x-amz-copy-source", "/bucket/big")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-meta-of", "another");
    place.call(&admin, described).await.expect(200);
    let whole = |path: &str| ask("HEAD", path).header("x-amz-checksum-mode", "ENABLED");
    let original = place.call(&admin, whole("/bucket/big")).await.expect(200);
    let original = original.header("x-amz-checksum-crc32").to_owned();
    let total: usize = contents.iter().map(Vec::len).sum();
    // What belongs to the content goes with it, whatever is said of the copy.
    for path in ["/bucket/big", "/bucket/copy", "/bucket/described"] {
        let said = place.call(&admin, whole(path)).await.expect(200);
        assert_eq!(said.header("x-amz-checksum-crc32"), original, "{path}");
        let mut start = 0;
        for (number, content) in ["1", "3", "4"].iter().zip(&contents) {
            let range = format!("bytes {start}-{}/{total}", start + content.len() - 1);
            for method in ["GET", "HEAD"] {
                let asked = numbered(method, path, number).header("x-amz-checksum-mode", "ENABLED");
                let got = place.call(&admin, asked).await.expect(206);
                assert_eq!(got.header("content-range"), range);
                assert_eq!(got.header("content-length"), content.len().to_string());
                assert_eq!(got.header("x-amz-mp-parts-count"), "3");
                if method == "GET" {
                    assert!(got.body == *content);
                }
                // That of the part, which a client compares with what it got.
                let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, content);
                let sum = base64::Engine::encode(
                    &base64::engine::general_purpose::STANDARD,
                    (sum as u32).to_be_bytes(),
                );
                assert_eq!(got.header("x-amz-checksum-crc32"), sum);
            }
            start += content.len();
        }
        for number in ["2", "5", "10000"] {
            let got = place.call(&admin, numbered("GET", path, number)).await;
            got.refused(416, "InvalidPartNumber");
            let head = place.call(&admin, numbered("HEAD", path, number)).await;
            head.expect(416);
        }
        for number in ["0", "-1", "10001"] {
            let got = place.call(&admin, numbered("GET", path, number)).await;
            got.refused(400, "InvalidArgument");
        }
        let both = numbered("GET", path, "1").header("range", "bytes=0-1");
        place
            .call(&admin, both)
            .await
            .refused(400, "InvalidRequest");
    }
    // What was put at once is its part 1.
    place.put(&admin, "/bucket/one", "whole").await.expect(200);
    let one = place
        .call(&admin, numbered("GET", "/bucket/one", "1"))
        .await
        .expect(206);
    assert_eq!(
        (one.text(), one.header("content-range")),
        ("whole".to_owned(), "bytes 0-4/5")
    );
    assert!(one.headers.get("x-amz-mp-parts-count").is_none());
    place
        .call(&admin, numbered("GET", "/bucket/one", "2"))
        .await
        .refused(416, "InvalidPartNumber");
    place.put(&admin, "/bucket/none", "").await.expect(200);
    let none = place
        .call(&admin, numbered("GET", "/bucket/none", "1"))
        .await
        .expect(200);
    assert!(none.body.is_empty());
}

#[tokio::test]
async fn the_attributes_of_an_object_are_those_that_are_asked_for() {
    let place = Place::new(&[], &["allow user:reader pull s3:bucket/**"]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let contents = object_of_parts(&place, &admin, Some("SHA256")).await;
    let attributes = |path: &str, names: &str| {
        ask("GET", path)
            .query("attributes", "")
            .header("x-amz-object-attributes", names)
    };
    let all = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize";
    let got = place
        .call(&admin, attributes("/bucket/big", all))
        .await
        .expect(200);
    assert!(!got.header("last-modified").is_empty());
    let told = got.text();
    assert!(element(&told, "ETag").contains("-3"), "{told}");
    assert_eq!(element(&told, "StorageClass"), "STANDARD");
    assert_eq!(element(&told, "ChecksumType"), "COMPOSITE");
    let total: usize = contents.iter().map(Vec::len).sum();
    assert_eq!(element(&told, "ObjectSize"), total.to_string());
    assert_eq!(element(&told, "PartsCount"), "3");
    let parts = elements(&told, "Part");
    for ((entry, number), content) in parts.iter().zip([1, 3, 4]).zip(&contents) {
        assert_eq!(element(entry, "PartNumber"), number.to_string());
        assert_eq!(element(entry, "Size"), content.len().to_string());
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        let sum = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
        assert_eq!(element(entry, "ChecksumSHA256"), sum);
    }
    assert_eq!(parts.len(), 3);
    let page = attributes("/bucket/big", "ObjectParts")
        .header("x-amz-max-parts", "1")
        .header("x-amz-part-number-marker", "1");
    let told = place.call(&admin, page).await.expect(200).text();
    assert_eq!(elements(&told, "PartNumber"), ["3"]);
    assert_eq!(element(&told, "NextPartNumberMarker"), "3");
    assert_eq!(element(&told, "IsTruncated"), "true");
    assert!(
        !told.contains("<ETag>") && !told.contains("ObjectSize"),
        "{told}"
    );
    place.put(&admin, "/bucket/one", "whole").await.expect(200);
    let told = place
        .call(&admin, attributes("/bucket/one", all))
        .await
        .expect(200)
        .text();
    assert!(!told.contains("ObjectParts"), "{told}");
    assert_eq!(element(&told, "ChecksumType"), "FULL_OBJECT");
    for names in ["Owner", "ETag,x"] {
        place
            .call(&admin, attributes("/bucket/one", names))
            .await
            .refused(400, "InvalidArgument");
    }
    place
        .call(&admin, attributes("/bucket/gone", "ETag"))
        .await
        .refused(404, "NoSuchKey");
    place
        .send(&attributes("/bucket/one", "ETag"))
        .await
        .refused(403, "AccessDenied");
}
