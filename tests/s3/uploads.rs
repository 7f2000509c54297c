//! Listings of uploads under way, and of their parts.

use crate::multipart::{begin, part};
use crate::s3_client::{Ask, Key, Place, ask, elements, object};

/// Keys with their upload ids, and common prefixes, of all pages.
async fn pages(place: &Place, key: &Key, asked: Ask) -> (Vec<(String, String)>, Vec<String>) {
    let (mut uploads, mut prefixes) = (Vec::new(), Vec::new());
    let mut markers = None::<(String, String)>;
    for _ in 0..100 {
        let mut page = asked.clone().query("uploads", "");
        if let Some((key, id)) = &markers {
            page = page.query("key-marker", key).query("upload-id-marker", id);
        }
        let listed = place.call(key, page).await.expect(200).text();
        for upload in elements(&listed, "Upload") {
            let of = |name: &str| elements(&upload, name).remove(0);
            uploads.push((of("Key"), of("UploadId")));
        }
        let rolled = elements(&listed, "CommonPrefixes");
        prefixes.extend(rolled.iter().flat_map(|it| elements(it, "Prefix")));
        if elements(&listed, "IsTruncated") == ["false"] {
            return (uploads, prefixes);
        }
        let of = |name: &str| elements(&listed, name).pop().unwrap_or_default();
        markers = Some((of("NextKeyMarker"), of("NextUploadIdMarker")));
    }
    panic!("there is no end of pages");
}

#[tokio::test]
async fn uploads_are_listed_by_key_and_id_and_rolled_up() {
    let place = Place::new(
        &[],
        &[
            "deny token:reader pull s3:bucket/secret/**",
            "allow token:reader pull s3:bucket/**",
            "allow user:admin all s3:**",
        ],
    );
    let admin = place.admin();
    let reader = place.key(&["reader", "--actions", "pull", "--repository", "s3:**"]);
    place.put(&admin, "/bucket", "").await.expect(200);
    let mut all = Vec::new();
    for name in [
        "a", "a", "a/1", "a/2", "ab", "b", "b", "b", "secret/x", "z z",
    ] {
        let id = begin(&place, &admin, &object("bucket", name)).await;
        all.push((name.to_owned(), id));
    }
    all.sort();
    let seen: Vec<_> = all
        .iter()
        .filter(|(key, _)| key != "secret/x")
        .cloned()
        .collect();
    for size in ["1", "2", "3", "1000"] {
        let list = || ask("GET", "/bucket").query("max-uploads", size);
        let (uploads, prefixes) = pages(&place, &admin, list()).await;
        assert_eq!((&uploads, prefixes.len()), (&all, 0));
        let (uploads, _) = pages(&place, &reader, list()).await;
        assert_eq!(uploads, seen);
        let rolled = list().query("delimiter", "/");
        let (uploads, prefixes) = pages(&place, &reader, rolled.clone()).await;
        let flat: Vec<_> = seen
            .iter()
            .filter(|(key, _)| !key.contains('/'))
            .cloned()
            .collect();
        assert_eq!((uploads, prefixes), (flat, vec!["a/".to_owned()]));
        let (_, prefixes) = pages(&place, &admin, rolled.clone()).await;
        assert_eq!(prefixes, ["a/", "secret/"]);
        let (uploads, prefixes) = pages(&place, &admin, rolled.query("prefix", "a/")).await;
        assert_eq!((uploads.len(), prefixes.len()), (2, 0));
    }
    let encoded = ask("GET", "/bucket")
        .query("uploads", "")
        .query("encoding-type", "url")
        .query("prefix", "z");
    let listed = place.call(&admin, encoded).await.expect(200).text();
    assert_eq!(elements(&listed, "Key"), ["z%20z"]);
    let wrong = ask("GET", "/bucket")
        .query("uploads", "")
        .query("key-marker", "a")
        .query("upload-id-marker", "x");
    place
        .call(&admin, wrong)
        .await
        .refused(400, "InvalidArgument");
    let none = ask("GET", "/bucket")
        .query("uploads", "")
        .query("max-uploads", "0");
    let listed = place.call(&admin, none).await.expect(200).text();
    assert_eq!(elements(&listed, "IsTruncated"), ["false"]);
    let hidden = ask("GET", "/bucket")
        .query("uploads", "")
        .query("prefix", "secret/");
    place
        .call(&reader, hidden)
        .await
        .refused(403, "AccessDenied");
}

#[tokio::test]
async fn parts_are_listed_page_by_page_with_their_checksums() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let path = "/bucket/x";
    let id = begin(&place, &admin, path).await;
    for number in [9, 2, 4, 2] {
        part(&place, &admin, path, &id, number, vec![7; number as usize]).await;
    }
    let (mut numbers, mut marker, mut count) = (Vec::new(), "0".to_owned(), 0);
    loop {
        let page = ask("GET", path)
            .query("uploadId", &id)
            .query("max-parts", "2")
            .query("part-number-marker", &marker);
        let listed = place.call(&admin, page).await.expect(200).text();
        for entry in elements(&listed, "Part") {
            let of = |name: &str| elements(&entry, name).remove(0);
            assert_eq!(of("PartNumber"), of("Size"));
            assert!(of("ChecksumCRC64NVME").ends_with('='), "{entry}");
            numbers.push(of("PartNumber"));
        }
        count += 1;
        if elements(&listed, "IsTruncated") == ["false"] {
            break;
        }
        marker = elements(&listed, "NextPartNumberMarker").remove(0);
    }
    assert_eq!((numbers.join(" ").as_str(), count), ("2 4 9", 2));
}
