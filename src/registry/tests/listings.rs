//! Tags, repositories and referrers as lists.

use super::*;
use crate::oci::ErrorCode;

fn page(limit: usize, last: Option<&str>) -> Page {
    Page {
        limit,
        last: last.map(str::to_owned),
    }
}

fn listing(names: &[&str], more: bool) -> Listing {
    Listing {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        more,
    }
}

#[tokio::test]
async fn tags_are_listed_in_order_and_in_pages() {
    let store = store().await;
    let (a, below) = (repository("a"), repository("a/b"));
    for name in [&a, &below] {
        store.push(name, b"config").await;
    }
    let document = image(b"config", &[]);
    for name in ["b", "a", "_", "B", "a.1", "a-1", "10", "9"] {
        store.put(&a, by_tag(name), &document).await.unwrap();
    }
    store.put(&below, by_tag("below"), &document).await.unwrap();

    let all = ["10", "9", "B", "_", "a", "a-1", "a.1", "b"];
    assert_eq!(
        store.tags(&a, page(100, None)).unwrap(),
        listing(&all, false)
    );
    assert_eq!(store.tags(&a, page(8, None)).unwrap(), listing(&all, false));
    assert_eq!(
        store.tags(&a, page(3, None)).unwrap(),
        listing(&all[..3], true)
    );
    assert_eq!(store.tags(&a, page(0, None)).unwrap(), listing(&[], false));
    assert_eq!(
        store.tags(&a, page(3, Some("B"))).unwrap(),
        listing(&all[3..6], true)
    );
    for (last, rest) in [
        ("a-2", &all[6..]),
        ("b", &[]),
        ("zzz", &[]),
        ("", &all[..]),
        ("a\0", &all[5..]),
        ("\0", &all[..]),
        ("é/../\u{10ffff}", &[]),
    ] {
        assert_eq!(
            store.tags(&a, page(100, Some(last))).unwrap(),
            listing(rest, false),
            "{last:?}"
        );
    }
    // A limit beyond all bounds costs what is there.
    assert_eq!(store.tags(&a, page(usize::MAX, None)).unwrap().names, all);
}

#[tokio::test]
async fn an_unknown_repository_has_no_list_of_tags() {
    let store = store().await;
    let a = repository("a");
    let refusal = refused(store.tags(&a, page(10, None)));
    assert_eq!(refusal.code(), ErrorCode::NameUnknown);
    store.push(&a, b"config").await;
    assert_eq!(store.tags(&a, page(10, None)).unwrap(), listing(&[], false));
}

#[tokio::test]
async fn the_catalog_shows_what_the_caller_may_see() {
    let store = store().await;
    for name in ["b", "a", "a/b", "a-b", "c"] {
        store.push(&repository(name), b"content").await;
    }
    let list = |limit, last, seen: &[&str]| {
        store
            .repositories(page(limit, last), |name| {
                seen.is_empty() || seen.contains(&name.as_str())
            })
            .unwrap()
    };
    assert_eq!(
        list(9, None, &[]),
        listing(&["a", "a-b", "a/b", "b", "c"], false)
    );
    assert_eq!(list(2, None, &[]), listing(&["a", "a-b"], true));
    assert_eq!(list(2, Some("a-b"), &[]), listing(&["a/b", "b"], true));
    assert_eq!(list(2, Some("a."), &[]), listing(&["a/b", "b"], true));
    // What may not be seen does not even make the list longer.
    assert_eq!(list(2, None, &["a", "b"]), listing(&["a", "b"], false));
    assert_eq!(list(1, None, &["a", "c"]), listing(&["a"], true));
    assert_eq!(list(0, None, &[]), listing(&[], false));
    assert_eq!(list(9, None, &["x"]), listing(&[], false));
}

fn manifests(referrers: &Referrers) -> Vec<Value> {
    let index: Value = serde_json::from_slice(&referrers.index_json).unwrap();
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(index["mediaType"], OCI_INDEX);
    index["manifests"].as_array().unwrap().clone()
}

#[tokio::test]
async fn referrers_are_described_as_the_specification_asks() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let subject = sha256(b"subject");
    let mut typed = image(b"config", &[]);
    typed["subject"] = descriptor(OCI_IMAGE, b"subject");
    typed["artifactType"] = json!("application/vnd.example.sbom");
    typed["annotations"] = json!({"é": "\"quoted\"\n", "a": "b"});
    let mut untyped = image(b"config", &[]);
    untyped["subject"] = descriptor(OCI_IMAGE, b"subject");
    let mut list = index(&[]);
    list["subject"] = descriptor(OCI_IMAGE, b"subject");
    for document in [&typed, &untyped, &list] {
        store.store(&a, document).await;
    }

    let found = store.referrers(&a, &subject, None).unwrap();
    assert!(!found.filtered && found.next.is_none());
    let mut expected = vec![
        json!({
            "mediaType": OCI_IMAGE,
            "digest": digest_of(&typed),
            "size": typed.to_string().len(),
            "artifactType": "application/vnd.example.sbom",
            "annotations": typed["annotations"],
        }),
        json!({
            "mediaType": OCI_IMAGE,
            "digest": digest_of(&untyped),
            "size": untyped.to_string().len(),
            "artifactType": CONFIG,
        }),
        json!({
            "mediaType": OCI_INDEX,
            "digest": digest_of(&list),
            "size": list.to_string().len(),
        }),
    ];
    expected.sort_by_key(|descriptor| descriptor["digest"].to_string());
    assert_eq!(manifests(&found), expected);

    let filtered = |artifact_type| {
        let found = store.referrers(&a, &subject, Some(artifact_type)).unwrap();
        (found.filtered, manifests(&found).len())
    };
    assert_eq!(filtered("application/vnd.example.sbom"), (true, 1));
    assert_eq!(filtered(CONFIG), (true, 1));
    assert_eq!(filtered("application/vnd.example"), (true, 0));
    assert_eq!(filtered(""), (false, 3));

    store.delete_manifest(&a, &digest_of(&typed)).await.unwrap();
    let found = store.referrers(&a, &subject, None).unwrap();
    assert_eq!(manifests(&found).len(), 2);
}

#[tokio::test]
async fn nothing_refers_to_what_is_unknown() {
    let store = store().await;
    let found = store
        .referrers(&repository("unknown"), &sha256(b"x"), None)
        .unwrap();
    assert_eq!(
        String::from_utf8(found.index_json).unwrap(),
        format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#)
    );
}

#[tokio::test]
async fn a_list_of_large_referrers_comes_in_pages() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let subject = sha256(b"subject");
    let mut expected = Vec::new();
    for number in 0..5 {
        let mut document = image(b"config", &[]);
        document["subject"] = descriptor(OCI_IMAGE, b"subject");
        document["annotations"] = json!({"number": number.to_string(), "x": "x".repeat(1_500_000)});
        expected.push(store.store(&a, &document).await.to_string());
    }
    expected.sort();
    let mut found = Vec::new();
    let mut pages = 0;
    let mut list = store.referrers(&a, &subject, None).unwrap();
    loop {
        assert!(list.index_json.len() <= 4 * 1024 * 1024);
        pages += 1;
        found.extend(
            manifests(&list)
                .iter()
                .map(|descriptor| descriptor["digest"].as_str().unwrap().to_owned()),
        );
        let Some(next) = list.next else { break };
        list = store.referrers_after(&a, &subject, None, &next).unwrap();
    }
    assert_eq!((found, pages), (expected, 3));
}
