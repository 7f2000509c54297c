//! Deleted manifests: what is gone, what stays, and what comes back.

use super::*;
use crate::ghostbay::catalog::Rows;
use crate::oci::ErrorCode;
use crate::registry::tables::{DELETED_BY_TIME, DELETED_MANIFESTS, UNREFERENCED};

impl Store {
    /// Rows of tombstones, both ways round.
    fn tombstones(&self) -> usize {
        let rows = self.storage.catalog().read().unwrap();
        let found = rows.scan(&DELETED_MANIFESTS, &[], None).unwrap().count();
        let by_time = rows.scan(&DELETED_BY_TIME, &[], None).unwrap().count();
        assert_eq!(found, by_time);
        found
    }

    /// Blobs in the queue.
    fn queued(&self) -> Vec<Digest> {
        let rows = self.storage.catalog().read().unwrap();
        let queue = rows.scan(&UNREFERENCED, &[], None).unwrap();
        queue.map(|row| row.unwrap().0.content.digest).collect()
    }
}

#[tokio::test]
async fn a_deleted_manifest_comes_back_with_its_tags_and_its_place_among_referrers() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let subject = store.push_tagged(&a, b"subject", "subject").await;
    let mut document = image(b"config", &[]);
    document["subject"] = descriptor(OCI_IMAGE, image(b"subject", &[]).to_string().as_bytes());
    let digest = store.store(&a, &document).await;
    for name in ["v1", "v2"] {
        store.put(&a, by_tag(name), &document).await.unwrap();
    }
    let before = store.row_counts();
    let listed = || store.referrers(&a, &subject, None).unwrap().index_json;
    let referrers = listed();

    store.delete_manifest(&a, &digest).await.unwrap();
    assert!(!store.has_manifest(&a, Reference::Digest(digest)));
    assert!(listed() != referrers);
    // A tag that has another manifest meanwhile is left there.
    store.push_tagged(&a, b"other", "v2").await;
    let mut back = store.undelete_manifest(&a, &digest).await.unwrap();
    back.sort_by_key(|tag| tag.to_string());
    assert_eq!(back, [tag("v1")]);
    assert_eq!(store.tagged(&a, "v1"), Some(digest));
    assert_ne!(store.tagged(&a, "v2"), Some(digest));
    assert_eq!(listed(), referrers);
    assert_eq!(store.tombstones(), 0);

    store.put(&a, by_tag("v2"), &document).await.unwrap();
    store
        .delete_manifest(&a, &digest_of(&image(b"other", &[])))
        .await
        .unwrap();
    store
        .purge_manifest(&a, &digest_of(&image(b"other", &[])))
        .await
        .unwrap();
    store.delete_blob(&a, &sha256(b"other")).await.unwrap();
    assert_eq!(store.row_counts(), before);
    let refusal = refused(store.undelete_manifest(&a, &digest).await);
    assert!(matches!(refusal, RegistryError::NotDeleted { .. }));
}

#[tokio::test]
async fn a_push_of_a_deleted_manifest_ends_its_tombstone() {
    let store = store().await;
    let a = repository("a");
    let digest = store.push_tagged(&a, b"config", "v1").await;
    let before = store.row_counts();
    store.delete_manifest(&a, &digest).await.unwrap();
    assert_eq!(store.tombstones(), 1);
    // Twice is once: the tombstone is no manifest to delete.
    let refusal = refused(store.delete_manifest(&a, &digest).await);
    assert_eq!(refusal.code(), ErrorCode::ManifestUnknown);
    assert_eq!(store.tombstones(), 1);
    store.push_tagged(&a, b"config", "v1").await;
    assert_eq!(store.tombstones(), 0);
    assert_eq!(store.row_counts(), before);
    // Its edges are those of a live manifest again.
    assert!(store.delete_blob(&a, &sha256(b"config")).await.is_err());
}

#[tokio::test]
async fn a_purged_manifest_is_gone_and_its_blobs_are_in_the_queue() {
    let store = store().await;
    let a = repository("a");
    let digest = store.push_tagged(&a, b"config", "v1").await;
    store.delete_manifest(&a, &digest).await.unwrap();
    store.purge_manifest(&a, &digest).await.unwrap();
    assert_eq!(store.tombstones(), 0);
    assert_eq!(store.queued(), [sha256(b"config")]);
    let refusal = refused(store.undelete_manifest(&a, &digest).await);
    assert!(matches!(refusal, RegistryError::Purged { .. }));
    let refusal = refused(store.purge_manifest(&a, &digest).await);
    assert_eq!(refusal.code(), ErrorCode::ManifestUnknown);
    // A live one is purged in one go.
    let digest = store.push_tagged(&a, b"config", "v1").await;
    store.purge_manifest(&a, &digest).await.unwrap();
    assert_eq!(store.tag_names(&a), [""; 0]);
    store.delete_blob(&a, &sha256(b"config")).await.unwrap();
    store.assert_empty().await;
    assert_eq!(store.queued(), []);
}

#[tokio::test]
async fn an_index_comes_back_with_what_it_lists() {
    let store = store().await;
    let a = repository("a");
    let child = store.push_tagged(&a, b"config", "child").await;
    let parent = store.store(&a, &index(&[&image(b"config", &[])])).await;
    store.delete_manifest(&a, &parent).await.unwrap();
    store.delete_manifest(&a, &child).await.unwrap();
    store.undelete_manifest(&a, &parent).await.unwrap();
    assert!(store.has_manifest(&a, Reference::Digest(child)));
    assert_eq!(store.tombstones(), 0);
    assert!(store.delete_manifest(&a, &child).await.is_err());

    // Without it, it does not.
    store.delete_manifest(&a, &parent).await.unwrap();
    store.purge_manifest(&a, &child).await.unwrap();
    let refusal = refused(store.undelete_manifest(&a, &parent).await);
    assert_eq!(refusal.code(), ErrorCode::ManifestBlobUnknown);
    assert!(!store.has_manifest(&a, Reference::Digest(parent)));
}

#[tokio::test]
async fn a_blob_that_was_deleted_behind_its_manifest_keeps_it_from_coming_back() {
    let store = store().await;
    let a = repository("a");
    let digest = store.push_tagged(&a, b"config", "v1").await;
    store.delete_manifest(&a, &digest).await.unwrap();
    store.delete_blob(&a, &sha256(b"config")).await.unwrap();
    let refusal = refused(store.undelete_manifest(&a, &digest).await);
    assert_eq!(refusal.code(), ErrorCode::ManifestBlobUnknown);
    store.push(&a, b"config").await;
    store.undelete_manifest(&a, &digest).await.unwrap();
    assert_eq!(store.tagged(&a, "v1"), Some(digest));
}

#[tokio::test]
async fn a_blobs_bytes_go_with_its_last_holder() {
    let store = store().await;
    let (a, b) = (repository("a"), repository("b"));
    let blob = store.push(&a, b"twelve bytes").await;
    assert!(store.mount(&b, &blob, Some(&a), |_| true).await.unwrap());
    store.delete_blob(&a, &blob).await.unwrap();
    assert!(store.has_blob(&b, &blob));
    assert_eq!(store.object_bytes(), 12);
    store.delete_blob(&b, &blob).await.unwrap();
    assert_eq!(store.object_bytes(), 0);
    assert_eq!(store.queued(), []);
    store.push(&a, b"twelve bytes").await;
    assert!(store.has_blob(&a, &blob));
}
