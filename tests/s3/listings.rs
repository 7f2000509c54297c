//! Listings: pages, delimiters, and what the caller may see.

use crate::s3_client::{Ask, Key, Place, ask, elements, object};

/// Keys and common prefixes of all pages, page by page.
async fn pages(place: &Place, key: &Key, asked: Ask) -> Vec<(Vec<String>, Vec<String>)> {
    let mut pages = Vec::new();
    let mut token = None::<String>;
    loop {
        let mut page = asked.clone().query("list-type", "2");
        if let Some(token) = token {
            page = page.query("continuation-token", &token);
        }
        let listed = place.call(key, page).await.expect(200).text();
        let prefixes = elements(&listed, "CommonPrefixes");
        let prefixes = prefixes.iter().flat_map(|it| elements(it, "Prefix"));
        pages.push((elements(&listed, "Key"), prefixes.collect()));
        token = elements(&listed, "NextContinuationToken").pop();
        if token.is_none() {
            return pages;
        }
        assert!(pages.len() < 100);
    }
}

#[tokio::test]
async fn pages_hold_each_key_once_with_and_without_a_delimiter() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let mut keys: Vec<String> = ["x", "x/y", "x/z/1", "y", "z/1", "z/2"]
        .map(str::to_owned)
        .to_vec();
    keys.sort();
    for key in &keys {
        place
            .put(&admin, &object("bucket", key), "v")
            .await
            .expect(200);
    }
    for size in ["1", "2", "1000"] {
        let flat = pages(
            &place,
            &admin,
            ask("GET", "/bucket").query("max-keys", size),
        )
        .await;
        let all: Vec<_> = flat.into_iter().flat_map(|(keys, _)| keys).collect();
        assert_eq!(all, keys);
        let asked = ask("GET", "/bucket")
            .query("max-keys", size)
            .query("delimiter", "/");
        let rolled = pages(&place, &admin, asked).await;
        let (names, prefixes): (Vec<_>, Vec<_>) = rolled.into_iter().unzip();
        assert_eq!(names.concat(), ["x", "y"]);
        assert_eq!(prefixes.concat(), ["x/", "z/"]);
    }
    let after = ask("GET", "/bucket").query("start-after", "x/y");
    assert_eq!(
        pages(&place, &admin, after).await[0].0,
        ["x/z/1", "y", "z/1", "z/2"]
    );
    // Version 1 goes on by a marker.
    let first = ask("GET", "/bucket")
        .query("max-keys", "2")
        .query("prefix", "z");
    let listed = place.call(&admin, first).await.expect(200).text();
    assert_eq!(elements(&listed, "Key"), ["z/1", "z/2"]);
    assert_eq!(elements(&listed, "IsTruncated"), ["false"]);
    let marked = ask("GET", "/bucket").query("marker", "y");
    let listed = place.call(&admin, marked).await.expect(200).text();
    assert_eq!(elements(&listed, "Key"), ["z/1", "z/2"]);
}

#[tokio::test]
async fn a_listing_leaves_out_what_the_caller_may_not_read() {
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
    place.put(&admin, "/other", "").await.expect(200);
    for key in ["open/a", "secret/b", "z"] {
        place
            .put(&admin, &object("bucket", key), "v")
            .await
            .expect(200);
    }
    let all = pages(
        &place,
        &reader,
        ask("GET", "/bucket").query("max-keys", "1"),
    )
    .await;
    let keys: Vec<_> = all.iter().flat_map(|(keys, _)| keys.clone()).collect();
    assert_eq!(keys, ["open/a", "z"]);
    assert_eq!(all.len(), 2, "an empty page tells of a key that is hidden");
    // Nor does a marker name it, nor a prefix that ends elsewhere.
    let first = ask("GET", "/bucket").query("max-keys", "1");
    let first = place.call(&reader, first).await.expect(200).text();
    assert!(first.contains("<NextMarker>open/a</NextMarker>"), "{first}");
    let other = ask("GET", "/bucket").query("delimiter", "t");
    let other = place.call(&reader, other).await.expect(200).text();
    assert!(!other.contains("secret"), "{other}");
    let asked = ask("GET", "/bucket").query("delimiter", "/");
    assert_eq!(pages(&place, &reader, asked).await[0].1, ["open/"]);
    place
        .get(&reader, "/bucket/secret/b")
        .await
        .refused(403, "AccessDenied");
    let inside = ask("GET", "/bucket").query("prefix", "secret/");
    place
        .call(&reader, inside)
        .await
        .refused(403, "AccessDenied");
    place
        .put(&reader, "/bucket/z", "w")
        .await
        .refused(403, "AccessDenied");
}
