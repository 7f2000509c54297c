//! Blobs: who holds which, and how they come and go.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt;

use super::*;
use crate::oci::ErrorCode;

async fn read(store: &Store, repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
    let blob = store.blob(repository, digest).unwrap();
    let chunks: Vec<Bytes> = blob.read(0..blob.size).try_collect().await.unwrap();
    chunks.concat()
}

#[tokio::test]
async fn a_pushed_blob_is_served_in_its_repository_alone() {
    let store = store().await;
    let (a, b) = (repository("a"), repository("a/b"));
    let digest = store.push(&a, b"content").await;
    assert_eq!(read(&store, &a, &digest).await, b"content");
    let blob = store.blob(&a, &digest).unwrap();
    let part: Vec<Bytes> = blob.read(2..5).try_collect().await.unwrap();
    assert_eq!(part.concat(), b"nte");
    let refusal = refused(store.blob(&b, &digest));
    assert_eq!(refusal.code(), ErrorCode::BlobUnknown);
    assert_eq!(store.repository_names(), ["a"]);
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let store = store().await;
    let (a, b) = (repository("a"), repository("b"));
    let upload = store.start_upload(&a, Algorithm::Sha256).await.unwrap().id;
    for result in [
        store.upload_status(&b, &upload),
        store.append(&b, &upload, body(b"x")).await,
    ] {
        assert_eq!(refused(result).code(), ErrorCode::BlobUploadUnknown);
    }
    assert!(store.cancel_upload(&b, &upload).await.is_err());

    let status = store.append(&a, &upload, body(b"con")).await.unwrap();
    assert_eq!(status.offset, 3);
    let out_of_order = Append {
        start: Some(5),
        ..body(b"tent")
    };
    assert!(matches!(
        store.append(&a, &upload, out_of_order).await,
        Err(RegistryError::OutOfOrder {
            offset: 3,
            start: 5
        })
    ));
    let digest = sha256(b"content");
    let last = Some(body(b"tent"));
    assert!(
        store
            .finish_upload(&b, &upload, &digest, last)
            .await
            .is_err()
    );
    let last = Some(body(b"tent"));
    store
        .finish_upload(&a, &upload, &digest, last)
        .await
        .unwrap();
    // Its answer was lost; the client asks again.
    store
        .finish_upload(&a, &upload, &digest, None)
        .await
        .unwrap();
    assert_eq!(read(&store, &a, &digest).await, b"content");
    assert!(!store.has_blob(&b, &digest));
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let store = store().await;
    let a = repository("a");
    let wrong = sha256(b"other");
    let refusal = refused(store.push_blob(&a, &wrong, body(b"content")).await);
    assert_eq!(refusal.code(), ErrorCode::DigestInvalid);
    let upload = store.start_upload(&a, Algorithm::Sha256).await.unwrap().id;
    let last = Some(body(b"content"));
    let refusal = refused(store.finish_upload(&a, &upload, &wrong, last).await);
    assert_eq!(refusal.code(), ErrorCode::DigestInvalid);
    store.assert_empty().await;
}

#[tokio::test]
async fn a_blob_is_mounted_from_where_the_caller_may_read() {
    let store = store().await;
    let (open, secret, mine) = (repository("open"), repository("secret"), repository("mine"));
    let digest = store.push(&secret, b"content").await;
    let not_secret = |name: &RepositoryName| name.as_str() != "secret";
    let mount = |from: Option<RepositoryName>| {
        let (store, mine) = (store.registry.clone(), mine.clone());
        async move {
            let mounted = store.mount(&mine, &digest, from.as_ref(), not_secret).await;
            mounted.unwrap()
        }
    };
    let before = store.row_counts();
    assert!(!mount(Some(secret.clone())).await);
    assert!(!mount(Some(open.clone())).await);
    assert!(!mount(Some(repository("nowhere"))).await);
    assert!(!mount(None).await);
    assert_eq!(store.row_counts(), before, "a refusal leaves no trace");

    store.push(&open, b"content").await;
    assert!(!mount(Some(secret)).await);
    assert!(mount(Some(open)).await);
    assert_eq!(read(&store, &mine, &digest).await, b"content");
    store.delete_blob(&mine, &digest).await.unwrap();
    assert!(mount(None).await);
    assert!(store.has_blob(&mine, &digest));
}

#[tokio::test]
async fn a_right_that_is_revoked_during_a_mount_counts_as_none() {
    let store = store().await;
    let (source, mine) = (repository("source"), repository("mine"));
    let digest = store.push(&source, b"content").await;
    let asked = AtomicUsize::new(0);
    let once = move |_: &RepositoryName| asked.fetch_add(1, Ordering::Relaxed) == 0;
    assert!(
        !store
            .mount(&mine, &digest, Some(&source), once)
            .await
            .unwrap()
    );
    assert!(!store.has_blob(&mine, &digest));
}

#[tokio::test]
async fn deleting_a_blob_takes_it_from_one_repository() {
    let store = store().await;
    let (a, b) = (repository("a"), repository("b"));
    let digest = store.push(&a, b"content").await;
    store.push(&b, b"content").await;
    store.delete_blob(&a, &digest).await.unwrap();
    assert!(!store.has_blob(&a, &digest));
    assert_eq!(read(&store, &b, &digest).await, b"content");
    assert_eq!(store.repository_names(), ["b"]);
    let refusal = refused(store.delete_blob(&a, &digest).await);
    assert_eq!(refusal.code(), ErrorCode::BlobUnknown);
    store.delete_blob(&b, &digest).await.unwrap();
    store.assert_empty().await;
    // And back again, from nothing.
    store.push(&a, b"content").await;
    assert_eq!(read(&store, &a, &digest).await, b"content");
}
