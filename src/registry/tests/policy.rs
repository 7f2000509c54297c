//! Quotas and immutable tags.

use super::*;
use crate::ghostbay::check::Repairs;
use crate::oci::ErrorCode;
use crate::oci::Pattern;

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

fn quota(repositories: &str, bytes: Option<u64>, tags: Option<u64>) -> QuotaRule {
    QuotaRule {
        repositories: pattern(repositories),
        bytes,
        tags,
    }
}

async fn store_with_quotas(rules: Vec<QuotaRule>) -> Store {
    store_of(RegistryOptions {
        quotas: Quotas(rules),
        ..RegistryOptions::default()
    })
    .await
}

/// The figures of a refusal by quota: what, used, adding, limit.
fn figures<T>(result: Result<T, RegistryError>) -> (&'static str, u64, u64, u64) {
    let refusal = refused(result);
    assert_eq!(refusal.code(), ErrorCode::Denied);
    match refusal {
        RegistryError::QuotaExceeded {
            what,
            used,
            adding,
            limit,
            ..
        } => (what, used, adding, limit),
        other => panic!("{other}"),
    }
}

fn of_unknown_length(bytes: &'static [u8]) -> Append<'static> {
    Append {
        length: None,
        ..body(bytes)
    }
}

#[tokio::test]
async fn a_blob_beyond_the_quota_is_refused_whatever_is_known_of_its_length() {
    let store = store_with_quotas(vec![quota("a", Some(10), None)]).await;
    let a = repository("a");
    store.push(&a, b"content").await;
    let more = sha256(b"more");
    let pushed = store.push_blob(&a, &more, body(b"more")).await;
    assert_eq!(figures(pushed), ("bytes", 7, 4, 10));
    let pushed = store.push_blob(&a, &more, of_unknown_length(b"more")).await;
    assert_eq!(figures(pushed), ("bytes", 7, 4, 10));
    // What fits is taken, and what is there may come again.
    store.push(&a, b"3 b").await;
    store.push(&a, b"content").await;
    let again = of_unknown_length(b"content");
    store
        .push_blob(&a, &sha256(b"content"), again)
        .await
        .unwrap();
    assert_eq!(store.usage(&a).unwrap().bytes, 10);
    // Nor does a full repository begin uploads, and others are not held by its rule.
    figures(store.start_upload(&a, Algorithm::Sha256).await);
    store.push(&repository("b"), b"more than ten bytes").await;
}

#[tokio::test]
async fn an_upload_beyond_the_quota_is_dropped() {
    let store = store_with_quotas(vec![quota("a", Some(10), None)]).await;
    let a = repository("a");
    for chunk in [body(b"seven b"), of_unknown_length(b"seven b")] {
        let upload = store.start_upload(&a, Algorithm::Sha256).await.unwrap().id;
        store.append(&a, &upload, body(b"four")).await.unwrap();
        let appended = store.append(&a, &upload, chunk).await;
        assert_eq!(figures(appended), ("bytes", 0, 11, 10));
        let gone = refused(store.upload_status(&a, &upload));
        assert!(matches!(gone, RegistryError::UploadUnknown { .. }));
    }
    for last in [body(b"seven b"), of_unknown_length(b"seven b")] {
        let upload = store.start_upload(&a, Algorithm::Sha256).await.unwrap().id;
        store.append(&a, &upload, body(b"four")).await.unwrap();
        let digest = sha256(b"fourseven b");
        let finished = store.finish_upload(&a, &upload, &digest, Some(last)).await;
        assert_eq!(figures(finished), ("bytes", 0, 11, 10));
        assert!(store.upload_status(&a, &upload).is_err());
    }
    assert!(!store.has_blob(&a, &sha256(b"fourseven b")));
    // Two that each fitted when they began: the transaction of the second refuses.
    let begin = async || store.start_upload(&a, Algorithm::Sha256).await.unwrap().id;
    let (one, two) = (begin().await, begin().await);
    store.append(&a, &one, body(b"one of 9b")).await.unwrap();
    store.append(&a, &two, body(b"two of 9b")).await.unwrap();
    let digests = [sha256(b"one of 9b"), sha256(b"two of 9b")];
    store
        .finish_upload(&a, &one, &digests[0], None)
        .await
        .unwrap();
    let second = store.finish_upload(&a, &two, &digests[1], None).await;
    assert_eq!(figures(second), ("bytes", 9, 9, 10));
    assert!(store.upload_status(&a, &two).is_err());
}

#[tokio::test]
async fn a_mount_counts_against_the_quota() {
    let store = store_with_quotas(vec![quota("a/*", Some(4), None)]).await;
    let (from, to) = (repository("from"), repository("a/to"));
    let large = store.push(&from, b"large").await;
    let small = store.push(&from, b"tiny").await;
    let mounted = store.mount(&to, &large, Some(&from), |_| true).await;
    assert_eq!(figures(mounted), ("bytes", 0, 5, 4));
    for _ in 0..2 {
        let mounted = store.mount(&to, &small, Some(&from), |_| true).await;
        assert!(mounted.unwrap());
    }
}

#[tokio::test]
async fn manifests_and_tags_count_against_the_quota() {
    let document = image(b"config", &[]);
    let size = document.to_string().len() as u64;
    let rules = vec![
        quota("few", None, Some(2)),
        quota("small", Some(6 + size - 1), None),
        quota("**", Some(6), None),
    ];
    let store = store_with_quotas(rules).await;
    let [few, small] = ["few", "small"].map(repository);
    store.push(&few, b"config").await;
    store.push(&small, b"config").await;
    let put = store.put(&small, by_tag("v1"), &document).await;
    assert_eq!(figures(put), ("bytes", 6, size, 6 + size - 1));

    for name in ["v1", "v2", "v1"] {
        store.put(&few, by_tag(name), &document).await.unwrap();
    }
    let put = store.put(&few, by_tag("v3"), &document).await;
    assert_eq!(figures(put), ("tags", 2, 1, 2));
    // Moving a tag adds none; a digest alone neither.
    let other = image(b"config", &[b"config"]);
    store.put(&few, by_tag("v2"), &other).await.unwrap();
    store
        .store(&few, &image(b"config", &[b"config", b"config"]))
        .await;
    assert_eq!(store.tag_names(&few), ["v1", "v2"]);
}

#[tokio::test]
async fn what_comes_back_counts_against_the_quota() {
    let named = |name: &str| {
        let mut document = image(b"config", &[]);
        document["annotations"] = json!({ "name": name });
        document
    };
    let (one, two) = (named("one"), named("two"));
    let size = one.to_string().len() as u64;
    let rules = vec![
        quota("few", None, Some(1)),
        quota("small", Some(6 + size), None),
    ];
    let store = store_with_quotas(rules).await;
    let [few, small] = ["few", "small"].map(repository);
    for name in [&few, &small] {
        store.push(name, b"config").await;
        store.put(name, by_tag("v1"), &one).await.unwrap();
    }

    store.delete_tag(&few, &tag("v1")).await.unwrap();
    store.put(&few, by_tag("v2"), &one).await.unwrap();
    let back = store.undelete_tag(&few, &tag("v1")).await;
    assert_eq!(figures(back), ("tags", 1, 1, 1));
    store.delete_manifest(&few, &digest_of(&one)).await.unwrap();
    store.put(&few, by_tag("v3"), &two).await.unwrap();
    let back = store.undelete_manifest(&few, &digest_of(&one)).await;
    assert_eq!(figures(back), ("tags", 1, 1, 1));
    assert_eq!(store.tag_names(&few), ["v3"]);
    assert!(!store.has_manifest(&few, Reference::Digest(digest_of(&one))));

    store
        .delete_manifest(&small, &digest_of(&one))
        .await
        .unwrap();
    store.put(&small, by_tag("v1"), &two).await.unwrap();
    let full = ("bytes", 6 + size, size, 6 + size);
    let one_digest = digest_of(&one);
    let back = store
        .rollback_tag(&small, &tag("v1"), Some(&one_digest))
        .await;
    assert_eq!(figures(back), full);
    let back = store.undelete_manifest(&small, &one_digest).await;
    assert_eq!(figures(back), full);
    assert_eq!(store.tagged(&small, "v1"), Some(digest_of(&two)));
    // In the other's place it fits, and a tag that moves takes no room.
    store
        .delete_manifest(&small, &digest_of(&two))
        .await
        .unwrap();
    let back = store.undelete_manifest(&small, &one_digest).await.unwrap();
    assert_eq!(back, [tag("v1")]);
    store
        .rollback_tag(&small, &tag("v1"), Some(&one_digest))
        .await
        .unwrap();
    assert_eq!(store.usage(&small).unwrap().bytes, 6 + size);
    assert!(store.damages(Repairs::Nothing).await.is_empty());
}

#[tokio::test]
async fn a_repository_comes_back_whole_or_not_at_all() {
    let (store, a) = (store().await, repository("a"));
    store.push_tagged(&a, b"one", "v1").await;
    store.push_tagged(&a, b"another", "v2").await;
    store.delete_repository(&a).await.unwrap();
    // The rules have changed since.
    let ruled = |tags| {
        let options = RegistryOptions {
            quotas: Quotas(vec![quota("a", None, Some(tags))]),
            ..RegistryOptions::default()
        };
        Registry::new(store.storage.clone(), options)
    };
    let back = ruled(1).undelete_repository(&a).await;
    assert_eq!(figures(back), ("tags", 0, 2, 1));
    assert_eq!(store.usage(&a).unwrap().manifests, 0);
    let back = ruled(2).undelete_repository(&a).await.unwrap();
    assert_eq!((back.back, back.lost), (2, 0));
    assert_eq!(store.tag_names(&a), ["v1", "v2"]);
}

#[tokio::test]
async fn an_immutable_tag_stays_where_it_is() {
    let rule = ImmutableRule {
        repositories: pattern("a"),
        tags: pattern("v*"),
    };
    let store = store_of(RegistryOptions {
        immutable: ImmutableTags(vec![rule]),
        ..RegistryOptions::default()
    })
    .await;
    let (a, b) = (repository("a"), repository("b"));
    let (one, two) = (image(b"config", &[]), image(b"config", &[b"config"]));
    for name in [&a, &b] {
        store.push(name, b"config").await;
        store.put(name, by_tag("v1"), &one).await.unwrap();
        store.put(name, by_tag("latest"), &one).await.unwrap();
    }
    store.put(&a, by_tag("v1"), &one).await.unwrap();
    for result in [
        store.put(&a, by_tag("v1"), &two).await.map(drop),
        store.delete_tag(&a, &tag("v1")).await,
        store.delete_manifest(&a, &digest_of(&one)).await,
        store.delete_repository(&a).await.map(drop),
        store.purge_repository(&a).await.map(drop),
    ] {
        let refusal = refused(result);
        assert_eq!(refusal.code(), ErrorCode::Denied);
        assert!(refusal.to_string().contains("a:v1"), "{refusal}");
    }
    let held = store.manifest(&a, &by_tag("v1")).unwrap();
    assert_eq!(held.digest, digest_of(&one));
    // Neither another tag of the repository nor the same tag of another one is held.
    store.put(&a, by_tag("latest"), &two).await.unwrap();
    store.delete_tag(&a, &tag("latest")).await.unwrap();
    store.put(&b, by_tag("v1"), &two).await.unwrap();
    store.delete_manifest(&b, &digest_of(&two)).await.unwrap();
}
