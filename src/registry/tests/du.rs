//! What is said to be freed is what is freed, to the byte.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::ghostbay::blob_key;
use crate::ghostbay::catalog::Rows;
use crate::ghostbay::engine::{CopyObjectRequest, PutObjectRequest, StorageEngine};
use crate::ghostbay::pack::accounts::PACKS;
use crate::registry::du::{Holder, Scope, Share};

impl Store {
    fn shares(&self, scope: &str) -> Vec<Share> {
        let scope = match scope {
            "" => Scope::Store,
            scope => scope.parse().unwrap(),
        };
        let mut shares = Vec::new();
        let mut tell = |share| {
            shares.push(share);
            true
        };
        self.du(&scope, &mut tell).unwrap();
        shares
    }

    fn live_bytes(&self) -> u64 {
        let rows = self.storage.catalog().read().unwrap();
        let packs = rows.scan(&PACKS, &[], None).unwrap();
        packs.map(|row| row.unwrap().1.live).sum()
    }

    /// Purges and collects all that may go, without waiting for it.
    async fn collect_now(&self) {
        let options = RegistryOptions {
            gc: GcOptions {
                grace: Duration::ZERO,
                keep_deleted: Duration::ZERO,
            },
            ..(*self.options).clone()
        };
        let registry = Registry::new(self.storage.clone(), options);
        let stop = CancellationToken::new();
        let collect = move || registry.collect(&stop, &mut |_| ()).map(drop);
        tokio::task::spawn_blocking(collect).await.unwrap().unwrap();
    }
}

fn figures(share: &Share) -> (Holder, &str, u64, u64) {
    let Share {
        holder,
        name,
        exclusive_bytes,
        shared_bytes,
        ..
    } = share;
    (*holder, name, *exclusive_bytes, *shared_bytes)
}

/// Two repositories with images that share a configuration and a layer.
async fn filled() -> (Store, RepositoryName, RepositoryName) {
    let store = store().await;
    let (a, b) = (repository("a"), repository("b"));
    let blobs: [&'static [u8]; 4] = [b"config", b"common", b"only in one", b"only in two!"];
    for blob in blobs {
        store.push(&a, blob).await;
    }
    store.push(&b, b"common").await;
    store.push(&b, b"in b").await;
    let one = image(b"config", &[b"common", b"only in one"]);
    let two = image(b"config", &[b"common", b"only in two!"]);
    store.put(&a, by_tag("one"), &one).await.unwrap();
    store.put(&a, by_tag("two"), &two).await.unwrap();
    let other = image(b"in b", &[b"common"]);
    store.put(&b, by_tag("other"), &other).await.unwrap();
    (store, a, b)
}

#[tokio::test]
async fn bytes_are_exclusive_or_shared_for_store_repository_tag_and_layer() {
    let (store, ..) = filled().await;
    let shares = store.shares("");
    let told: Vec<_> = shares.iter().map(figures).collect();
    let expected = [
        (Holder::Store, "store", 6 + 11 + 12 + 4, 6),
        (Holder::Unheld, "held by no repository", 0, 0),
        (Holder::Repository, "a", 6 + 11 + 12, 6),
        (Holder::Repository, "b", 4, 6),
    ];
    assert_eq!(told, expected);
    assert_eq!(shares[0].frees_bytes, store.live_bytes());
    let told = store.shares("a");
    let told: Vec<_> = told.iter().map(figures).collect();
    let expected = [
        (Holder::Repository, "a", 29, 6),
        (Holder::Tag, "a:one", 11, 12),
        (Holder::Tag, "a:two", 12, 12),
    ];
    assert_eq!(told, expected);
    let shares = store.shares("a:one");
    let frees: Vec<_> = shares
        .iter()
        .map(|share| (share.exclusive_bytes, share.frees_bytes > 0))
        .collect();
    assert_eq!(shares.len(), 4);
    assert_eq!(frees[0], (11, true));
    let layer = sha256(b"only in one").to_string();
    for share in &shares[1..] {
        assert_eq!(share.frees_bytes > 0, share.name == layer, "{share:?}");
    }
    assert!(
        refused(store.du_exists(&"a:none".parse().unwrap()))
            .detail()
            .is_some()
    );
}

#[tokio::test]
async fn deleting_a_tags_manifest_frees_what_was_said() {
    let (store, a, _) = filled().await;
    let frees = store.shares("a:one")[0].frees_bytes;
    let before = store.live_bytes();
    let digest = store.manifest(&a, &by_tag("one")).unwrap().digest;
    store.delete_manifest(&a, &digest).await.unwrap();
    assert_eq!(store.live_bytes(), before, "it can come back");
    store.collect_now().await;
    assert_eq!(before - store.live_bytes(), frees);
    // The other image now has its configuration to itself, but not what b holds as well.
    let frees = store.shares("a:two")[0].frees_bytes;
    let before = store.live_bytes();
    let digest = store.manifest(&a, &by_tag("two")).unwrap().digest;
    store.delete_manifest(&a, &digest).await.unwrap();
    store.collect_now().await;
    assert_eq!(before - store.live_bytes(), frees);
}

#[tokio::test]
async fn an_index_frees_what_only_its_own_manifests_hold() {
    let store = store().await;
    let a = repository("a");
    let blobs: [&'static [u8]; 3] = [b"config", b"alone", b"tagged"];
    for blob in blobs {
        store.push(&a, blob).await;
    }
    let (alone, tagged) = (
        image(b"config", &[b"alone"]),
        image(b"config", &[b"tagged"]),
    );
    store.store(&a, &alone).await;
    store.put(&a, by_tag("tagged"), &tagged).await.unwrap();
    let parent = index(&[&alone, &tagged]);
    store.put(&a, by_tag("index"), &parent).await.unwrap();
    let shares = store.shares("a:index");
    assert_eq!(figures(&shares[0]), (Holder::Tag, "a:index", 5, 12));
    let before = store.live_bytes();
    store
        .delete_manifest(&a, &digest_of(&parent))
        .await
        .unwrap();
    store.delete_manifest(&a, &digest_of(&alone)).await.unwrap();
    store.collect_now().await;
    assert_eq!(before - store.live_bytes(), shares[0].frees_bytes);
}

#[tokio::test]
async fn a_manifest_that_can_come_back_holds_its_blobs() {
    let (store, a, _) = filled().await;
    let two = store.manifest(&a, &by_tag("two")).unwrap().digest;
    store.delete_manifest(&a, &two).await.unwrap();
    let share = &store.shares("a:one")[0];
    assert_eq!((share.exclusive_bytes, share.shared_bytes), (11, 12));
    store.purge_manifest(&a, &two).await.unwrap();
    let share = &store.shares("a:one")[0];
    assert_eq!((share.exclusive_bytes, share.shared_bytes), (17, 6));
}

#[tokio::test]
async fn deleting_a_repository_frees_what_was_said() {
    let (store, a, b) = filled().await;
    for name in [a, b] {
        let frees = store.shares(name.as_str())[0].frees_bytes;
        assert!(frees > 0);
        let before = store.live_bytes();
        store.purge_repository(&name).await.unwrap();
        assert_eq!(before - store.live_bytes(), frees, "{name}");
    }
    assert_eq!(store.live_bytes(), 0);
}

#[tokio::test]
async fn bytes_that_an_object_beside_the_registry_holds_as_well_are_not_freed() {
    let (store, a) = (store().await, repository("a"));
    let config = store.push(&a, b"config").await;
    let document = image(b"config", &[]);
    store.put(&a, by_tag("v1"), &document).await.unwrap();
    let copy = CopyObjectRequest {
        source_bucket: store.options.bucket.clone(),
        source_key: blob_key(&config),
        bucket: "beside".to_owned(),
        key: "copy".to_owned(),
    };
    store.storage.copy_object(copy).await.unwrap();
    let share = &store.shares("a:v1")[0];
    assert_eq!((share.exclusive_bytes, share.frees_bytes), (6, 0));
    let before = store.live_bytes();
    store.purge_repository(&a).await.unwrap();
    assert_eq!(store.live_bytes(), before);
}

#[tokio::test]
async fn manifests_and_what_no_repository_holds_are_told() {
    let (store, ..) = filled().await;
    let size = |config: &[u8], layers: &[&[u8]]| image(config, layers).to_string().len() as u64;
    let one = size(b"config", &[b"common", b"only in one"]);
    let two = size(b"config", &[b"common", b"only in two!"]);
    let other = size(b"in b", &[b"common"]);
    let bytes = Bytes::from_static(b"nobody's");
    let request = PutObjectRequest {
        bucket: store.options.bucket.clone(),
        key: blob_key(&sha256(&bytes)),
        content_type: String::new(),
        content_length: Some(bytes.len() as u64),
        data: stream::iter([Ok(bytes)]).boxed(),
    };
    let before = store.live_bytes();
    store.storage.put_object(request).await.unwrap();
    let shares = store.shares("");
    let manifests: Vec<_> = shares.iter().map(|share| share.manifest_bytes).collect();
    assert_eq!(manifests, [one + two + other, 0, one + two, other]);
    assert_eq!(store.shares("a:two")[0].manifest_bytes, two);
    assert_eq!(shares[1].exclusive_bytes, 8);
    assert_eq!(shares[1].frees_bytes, store.live_bytes() - before);
}
