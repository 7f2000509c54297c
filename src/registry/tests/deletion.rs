//! Repositories that are deleted whole.

use super::*;
use crate::registry::Undeleted;

/// More than one transaction takes out.
const MANIFESTS: usize = 150;

async fn filled() -> (Store, RepositoryName) {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    store.push(&repository("a/b"), b"config").await;
    for number in 0..MANIFESTS {
        let mut document = image(b"config", &[]);
        document["annotations"] = json!({ "number": number.to_string() });
        let reference = by_tag(&format!("t{number:03}"));
        store.put(&a, reference, &document).await.unwrap();
    }
    let listed = index(&[&image(b"config", &[])]);
    store.store(&a, &image(b"config", &[])).await;
    store.put(&a, by_tag("index"), &listed).await.unwrap();
    (store, a)
}

#[tokio::test]
async fn a_deleted_repository_is_out_of_sight_and_comes_back_whole() {
    let (store, a) = filled().await;
    // What was deleted before is not meant.
    let before = store.push_tagged(&a, b"before", "before").await;
    store.delete_manifest(&a, &before).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let rows = store.row_counts();

    let count = store.delete_repository(&a).await.unwrap();
    assert_eq!(count, MANIFESTS as u64 + 2);
    assert_eq!(store.repository_names(), ["a/b"]);
    let page = Page {
        limit: 10,
        last: None,
    };
    let refusal = refused(store.tags(&a, page));
    assert!(matches!(refusal, RegistryError::NameUnknown { .. }));
    assert!(!store.has_manifest(&a, by_tag("t000")));
    let refusal = refused(store.delete_repository(&a).await);
    assert!(matches!(refusal, RegistryError::NameUnknown { .. }));

    let undeleted = store.undelete_repository(&a).await.unwrap();
    let all = Undeleted {
        back: MANIFESTS as u64 + 2,
        lost: 0,
    };
    assert_eq!(undeleted, all);
    assert_eq!(store.row_counts(), rows);
    assert_eq!(store.repository_names(), ["a", "a/b"]);
    assert_eq!(store.tag_names(&a).len(), MANIFESTS + 1);
    let refusal = refused(store.undelete_repository(&a).await);
    assert!(matches!(refusal, RegistryError::NotDeleted { .. }));
}

#[tokio::test]
async fn a_push_into_a_deleted_repository_makes_it_one_again() {
    let (store, a) = filled().await;
    store.delete_repository(&a).await.unwrap();
    store.push_tagged(&a, b"new", "new").await;
    assert_eq!(store.repository_names(), ["a", "a/b"]);
    assert_eq!(store.tag_names(&a), ["new"]);
}

#[tokio::test]
async fn a_purged_repository_leaves_nothing() {
    let (store, a) = filled().await;
    store
        .delete_manifest(&a, &store.tagged(&a, "t000").unwrap())
        .await
        .unwrap();
    let count = store.purge_repository(&a).await.unwrap();
    assert_eq!(count, MANIFESTS as u64 + 2);
    let b = repository("a/b");
    assert_eq!(store.repository_names(), ["a/b"]);
    assert_eq!(store.object_bytes(), 6, "another repository holds it");
    store.delete_blob(&b, &sha256(b"config")).await.unwrap();
    store.assert_empty().await;
    assert_eq!(store.object_bytes(), 0);
    assert!(store.tag_history(&a, &tag("t000")).is_err());
    let refusal = refused(store.undelete_repository(&a).await);
    assert!(matches!(refusal, RegistryError::NameUnknown { .. }));
    let refusal = refused(store.purge_repository(&a).await);
    assert!(matches!(refusal, RegistryError::NameUnknown { .. }));
}
