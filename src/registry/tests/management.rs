//! Deleting manifests, tags and blobs, and what stands in the way.

use super::*;
use crate::oci::ErrorCode;

#[tokio::test]
async fn a_deleted_manifest_takes_its_tags_and_rows_along() {
    let store = store().await;
    let a = repository("a");
    let config = store.push(&a, b"config").await;
    let layer = store.push(&a, b"layer").await;
    let mut document = image(b"config", &[b"layer"]);
    document["subject"] = descriptor(OCI_IMAGE, b"subject");
    let digest = store.store(&a, &document).await;
    for name in ["v1", "v2"] {
        store.put(&a, by_tag(name), &document).await.unwrap();
    }
    store.delete_manifest(&a, &digest).await.unwrap();
    assert!(!store.has_manifest(&a, Reference::Digest(digest)));
    assert!(!store.has_manifest(&a, by_tag("v1")));
    assert_eq!(store.tag_names(&a), [""; 0]);
    let refusal = refused(store.delete_manifest(&a, &digest).await);
    assert_eq!(refusal.code(), ErrorCode::ManifestUnknown);
    for blob in [config, layer] {
        store.delete_blob(&a, &blob).await.unwrap();
    }
    store.assert_empty().await;
}

#[tokio::test]
async fn a_deleted_tag_leaves_its_manifest() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let document = image(b"config", &[]);
    store.put(&a, by_tag("v1"), &document).await.unwrap();
    store.put(&a, by_tag("v2"), &document).await.unwrap();
    store.delete_tag(&a, &tag("v1")).await.unwrap();
    assert_eq!(store.tag_names(&a), ["v2"]);
    assert!(store.has_manifest(&a, Reference::Digest(digest_of(&document))));
    let refusal = refused(store.delete_tag(&a, &tag("v1")).await);
    assert_eq!(refusal.code(), ErrorCode::ManifestUnknown);
    // A tag that was deleted is not deleted again with the manifest.
    let other = image(b"config", &[b"config"]);
    store.put(&a, by_tag("v1"), &other).await.unwrap();
    store
        .delete_manifest(&a, &digest_of(&document))
        .await
        .unwrap();
    assert_eq!(store.tag_names(&a), ["v1"]);
}

#[tokio::test]
async fn what_a_manifest_is_made_of_cannot_be_deleted_before_it() {
    let store = store().await;
    let a = repository("a");
    let config = store.push(&a, b"config").await;
    let layer = store.push(&a, b"layer").await;
    let document = image(b"config", &[b"layer"]);
    let child = store.store(&a, &document).await;
    let parent = store.store(&a, &index(&[&document])).await;

    for blob in [config, layer] {
        match refused(store.delete_blob(&a, &blob).await) {
            RegistryError::StillReferenced { digest, referrer } => {
                assert_eq!((digest, referrer), (blob, child));
            }
            other => panic!("{other}"),
        }
    }
    let refusal = refused(store.delete_manifest(&a, &child).await);
    assert!(refusal.to_string().contains(&parent.to_string()));
    assert_eq!(refusal.code(), ErrorCode::Unsupported);

    store.delete_manifest(&a, &parent).await.unwrap();
    store.delete_manifest(&a, &child).await.unwrap();
    for blob in [config, layer] {
        store.delete_blob(&a, &blob).await.unwrap();
    }
    store.assert_empty().await;
}

#[tokio::test]
async fn one_blob_in_two_roles_is_held_until_both_are_gone() {
    let store = store().await;
    let a = repository("a");
    let empty = store.push(&a, b"{}").await;
    let both = store.store(&a, &image(b"{}", &[b"{}", b"{}"])).await;
    let config = store.store(&a, &image(b"{}", &[])).await;
    store.delete_manifest(&a, &config).await.unwrap();
    assert!(store.delete_blob(&a, &empty).await.is_err());
    store.delete_manifest(&a, &both).await.unwrap();
    store.delete_blob(&a, &empty).await.unwrap();
    store.assert_empty().await;
}

#[tokio::test]
async fn a_manifest_of_another_repository_protects_nothing_here() {
    let store = store().await;
    let (a, b) = (repository("a"), repository("a/b"));
    let config = store.push(&a, b"config").await;
    store.push(&b, b"config").await;
    store.store(&b, &image(b"config", &[])).await;
    store.delete_blob(&a, &config).await.unwrap();
    assert!(store.delete_blob(&b, &config).await.is_err());
}

#[tokio::test]
async fn a_blob_with_the_bytes_of_a_child_is_not_held_by_its_index() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let child = image(b"config", &[]);
    let bytes: &'static str = child.to_string().leak();
    let blob = store.push(&a, bytes.as_bytes()).await;
    store.store(&a, &child).await;
    store.store(&a, &index(&[&child])).await;
    store.delete_blob(&a, &blob).await.unwrap();
    assert!(store.delete_manifest(&a, &blob).await.is_err());
}

#[tokio::test]
async fn a_subject_is_not_protected_by_its_referrers() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let subject = image(b"config", &[]);
    let subject_digest = store.store(&a, &subject).await;
    let mut about = image(b"config", &[b"config"]);
    about["subject"] = descriptor(OCI_IMAGE, subject.to_string().as_bytes());
    let about_digest = store.store(&a, &about).await;
    store.delete_manifest(&a, &subject_digest).await.unwrap();
    let list = store.referrers(&a, &subject_digest, None).unwrap();
    let list: Value = serde_json::from_slice(&list.index_json).unwrap();
    assert_eq!(list["manifests"][0]["digest"], about_digest.to_string());
}

#[tokio::test]
async fn deletes_that_are_switched_off_are_refused_one_and_all() {
    let store = store().await;
    let a = repository("a");
    let config = store.push(&a, b"config").await;
    let document = image(b"config", &[]);
    store.put(&a, by_tag("v1"), &document).await.unwrap();
    let frozen = Registry::new(
        store.storage.clone(),
        RegistryOptions {
            delete: false,
            ..(*store.options).clone()
        },
    );
    for result in [
        frozen.delete_tag(&a, &tag("v1")).await,
        frozen.delete_tag(&a, &tag("unknown")).await,
        frozen.delete_manifest(&a, &digest_of(&document)).await,
        frozen.delete_manifest(&a, &config).await,
        frozen.delete_blob(&a, &config).await,
        frozen.delete_blob(&a, &sha256(b"unknown")).await,
    ] {
        assert!(matches!(result, Err(RegistryError::DeletesDisabled)));
    }
    assert!(store.has_manifest(&a, by_tag("v1")));
}
