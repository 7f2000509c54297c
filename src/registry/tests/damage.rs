//! Rows of the index that do not decode: only what they tell is missing, and a push heals it.

use super::*;
use crate::ghostbay::catalog::{CatalogError, Key, Rows, Table, Value};
use crate::ghostbay::objects::{OBJECTS, ObjectKey, blob_key};
use crate::ghostbay::uploads::UPLOADS;
use crate::registry::tables::*;

impl Store {
    /// Puts a row of that key in place that the table cannot have written.
    pub(super) async fn damage<K, V>(&self, table: Table<K, V>, key: K)
    where
        K: Key + Send + Sync + 'static,
        V: Value + 'static,
    {
        let damaged: Result<(), CatalogError> = self
            .storage
            .catalog()
            .transact(move |transaction| transaction.put_raw(&table, &key, b"damaged"))
            .await;
        damaged.unwrap();
    }

    /// An image under `tag`, as a client pushes it: config, manifest, tag.
    async fn push_image(&self, repository: &RepositoryName, name: &str) -> Digest {
        self.push(repository, b"config").await;
        let document = image(b"config", &[]);
        self.put(repository, by_tag(name), &document).await.unwrap();
        digest_of(&document)
    }
}

/// Damages something of an image with tags `hit` and `other` and pushes it again as `hit`.
async fn heals<F>(damage: impl FnOnce(Arc<Store>, RepositoryName, Digest) -> F, missing: bool)
where
    F: Future<Output = ()>,
{
    let (store, a) = (Arc::new(store().await), repository("a"));
    let digest = store.push_image(&a, "hit").await;
    store.push_image(&a, "other").await;
    damage(store.clone(), a.clone(), digest).await;
    assert_ne!(store.has_manifest(&a, by_tag("hit")), missing);
    store.push_image(&a, "hit").await;
    assert!(store.has_manifest(&a, by_tag("hit")));
    assert!(store.has_manifest(&a, by_tag("other")));
    assert!(store.has_blob(&a, &sha256(b"config")));
    assert_eq!(store.tag_names(&a), ["hit", "other"]);
    assert_eq!(store.repository_names(), ["a"]);
    // Nothing is left that would take a tag along or keep something from being deleted.
    store.delete_tag(&a, &tag("hit")).await.unwrap();
    assert!(store.has_manifest(&a, by_tag("other")));
    store.delete_manifest(&a, &digest).await.unwrap();
    store.delete_blob(&a, &sha256(b"config")).await.unwrap();
    store.assert_empty().await;
}

#[tokio::test]
async fn a_damaged_tag_is_missing_until_it_is_pushed() {
    heals(
        |store, a, _| async move {
            store.damage(TAGS, TagKey::new(&a, &tag("hit"))).await;
            assert_eq!(store.tag_names(&a), ["other"]);
        },
        true,
    )
    .await;
}

#[tokio::test]
async fn a_damaged_tag_that_is_moved_does_not_go_with_what_it_pointed_at() {
    let (store, a) = (store().await, repository("a"));
    let old = store.push_image(&a, "moved").await;
    store.damage(TAGS, TagKey::new(&a, &tag("moved"))).await;
    let document = image(b"config", &[b"config"]);
    store.put(&a, by_tag("moved"), &document).await.unwrap();
    store.delete_manifest(&a, &old).await.unwrap();
    assert!(store.has_manifest(&a, by_tag("moved")));
}

#[tokio::test]
async fn a_damaged_manifest_row_is_missing_until_it_is_pushed() {
    heals(
        |store, a, digest| async move {
            store.damage(MANIFESTS, ContentKey::new(&a, &digest)).await;
        },
        true,
    )
    .await;
}

#[tokio::test]
async fn a_damaged_manifest_body_is_missing_until_it_is_pushed() {
    heals(
        |store, a, digest| async move {
            let key = ContentKey::new(&a, &digest);
            store.damage(MANIFEST_BODIES, key).await;
        },
        true,
    )
    .await;
}

#[tokio::test]
async fn a_damaged_object_row_is_missing_until_it_is_pushed() {
    heals(
        |store, a, _| async move {
            let config = sha256(b"config");
            let key = ObjectKey::new("drift-registry", blob_key(&config));
            store.damage(OBJECTS, key).await;
            assert!(!store.has_blob(&a, &config));
            let b = repository("b");
            let mounted = store.mount(&b, &config, Some(&a), |_| true).await;
            assert!(!mounted.unwrap());
        },
        false,
    )
    .await;
}

#[tokio::test]
async fn damaged_links_edges_and_repositories_are_healed_by_a_push() {
    heals(
        |store, a, digest| async move {
            let config = sha256(b"config");
            store.damage(BLOB_LINKS, ContentKey::new(&a, &config)).await;
            let holder = HolderKey {
                digest: config,
                repository: a.clone(),
            };
            store.damage(BLOB_HOLDERS, holder).await;
            let edge = EdgeKey {
                repository: a.clone(),
                target: config,
                source: digest,
            };
            store.damage(REFERENCES, edge).await;
            store.damage(REPOSITORIES, a.clone()).await;
            // What may still be needed is not deleted.
            let refusal = refused(store.delete_blob(&a, &config).await);
            assert!(matches!(refusal, RegistryError::StillReferenced { .. }));
        },
        false,
    )
    .await;
}

#[tokio::test]
async fn a_damaged_upload_is_gone_and_another_can_begin() {
    let (store, a) = (store().await, repository("a"));
    let upload = store.start_upload(&a, Algorithm::Sha256).await.unwrap();
    store.damage(UPLOADS, upload.id).await;
    let gone = |error| assert!(matches!(error, RegistryError::UploadUnknown { .. }));
    gone(refused(store.upload_status(&a, &upload.id)));
    gone(refused(store.append(&a, &upload.id, body(b"x")).await));
    let digest = sha256(b"x");
    let finished = store.finish_upload(&a, &upload.id, &digest, None).await;
    gone(refused(finished));
    store.push(&a, b"x").await;
    let rows = store.storage.catalog().read().unwrap();
    assert!(rows.contains(&UPLOADS, &upload.id).unwrap());
}
