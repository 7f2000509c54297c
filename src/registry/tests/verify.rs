//! What a check finds of what was deleted and of what may go, and how it repairs that.

use std::time::Duration;

use super::usage::{EXPENDABLE, KEPT};
use super::*;
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::ghostbay::check::Repairs;
use crate::registry::GcOptions;
use crate::registry::tables::*;

impl Store {
    pub(super) async fn change(
        &self,
        change: impl Fn(&mut Transaction<'_>) -> Result<(), CatalogError> + Send + 'static,
    ) {
        self.storage.catalog().transact(change).await.unwrap();
    }

    /// Sees that a check finds exactly that, repairs it, and finds nothing then.
    pub(super) async fn assert_finds(&self, expected: &[&str]) {
        let found = self.damages(Repairs::All).await;
        let told: Vec<_> = found
            .iter()
            .map(|damage| format!("{}: {}", damage.what, damage.reason))
            .collect();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for text in expected {
            assert!(told.iter().any(|told| told.contains(text)), "{told:?}");
        }
        assert!(found.iter().all(|damage| damage.repaired), "{found:?}");
        let left = self.damages(Repairs::Nothing).await;
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A store with a deleted manifest, a blob that nothing refers to, and a tag that has moved.
async fn filled() -> (Store, RepositoryName, Digest) {
    let (store, a) = (store().await, repository("a"));
    let deleted = store.push_tagged(&a, b"deleted", "t").await;
    store.push_tagged(&a, b"live", "t").await;
    store.push(&a, b"lonely").await;
    store.delete_manifest(&a, &deleted).await.unwrap();
    let found = store.damages(Repairs::Nothing).await;
    assert!(found.is_empty(), "{found:?}");
    (store, a, deleted)
}

#[tokio::test]
async fn damaged_rows_of_others_are_named_and_removed_where_nobody_misses_them() {
    let store = filled().await.0;
    store
        .change(|transaction| {
            for number in 0..600 {
                transaction.put(&KEPT, &format!("kept {number}"), &())?;
                transaction.put(&EXPENDABLE, &format!("row {number}"), &())?;
            }
            Ok(())
        })
        .await;
    assert!(store.damages(Repairs::Nothing).await.is_empty());
    store.damage(EXPENDABLE, "row 300".to_owned()).await;
    store
        .assert_finds(&["table expendable under }row 300"])
        .await;
    store.damage(KEPT, "kept 599".to_owned()).await;
    for _ in 0..2 {
        let found = store.damages(Repairs::All).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].what, "a row of table kept under |kept 599\\x00");
        assert!(found[0].reason.contains("damaged") && !found[0].repaired);
    }
}

#[tokio::test]
async fn a_damaged_tombstone_is_made_again_of_the_manifests_bytes() {
    let (store, a, deleted) = filled().await;
    let key = ContentKey::new(&a, &deleted);
    store.damage(DELETED_MANIFESTS, key).await;
    // It was deleted now, as far as anybody knows.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let told = ["its row is damaged", "no manifest was deleted at that time"];
    store.assert_finds(&told).await;
    store.undelete_manifest(&a, &deleted).await.unwrap();
    assert!(store.damages(Repairs::Nothing).await.is_empty());
}

#[tokio::test]
async fn a_deleted_manifest_whose_bytes_are_damaged_is_purged() {
    let (store, a, deleted) = filled().await;
    let key = ContentKey::new(&a, &deleted);
    store.damage(MANIFEST_BODIES, key).await;
    store.assert_finds(&["cannot come back"]).await;
    let refusal = refused(store.undelete_manifest(&a, &deleted).await);
    assert!(matches!(refusal, RegistryError::Purged { .. }));
    // Its blob waits for the collector, and nothing else is in the way.
    store.delete_blob(&a, &sha256(b"deleted")).await.unwrap();
}

#[tokio::test]
async fn rows_that_come_with_a_tombstone_are_written_again() {
    let (store, a, deleted) = filled().await;
    let edge = EdgeKey {
        repository: a.clone(),
        target: sha256(b"deleted"),
        source: deleted,
    };
    store
        .change(move |transaction| {
            let reference = transaction.get(&REFERENCES, &edge)?.unwrap();
            assert!(reference.is_of_deleted());
            transaction.delete(&REFERENCES, &edge).map(drop)
        })
        .await;
    store.assert_finds(&["made of is missing"]).await;

    let content = ContentKey::new(&a, &deleted);
    store
        .change(move |transaction| {
            let tombstone = transaction.get(&DELETED_MANIFESTS, &content)?.unwrap();
            let moment = MomentKey::new(tombstone.deleted_ms, &content);
            transaction.delete(&DELETED_BY_TIME, &moment)?;
            let stray = MomentKey::new(7, &content);
            transaction.put(&DELETED_BY_TIME, &stray, &())
        })
        .await;
    let told = [
        "not listed by its time",
        "no manifest was deleted at that time",
    ];
    store.assert_finds(&told).await;
    store.undelete_manifest(&a, &deleted).await.unwrap();
}

#[tokio::test]
async fn a_blob_that_would_never_go_is_put_into_the_queue() {
    let (store, a, _) = filled().await;
    let lonely = ContentKey::new(&a, &sha256(b"lonely"));
    let key = lonely.clone();
    store
        .change(move |transaction| {
            let link = transaction.get(&BLOB_LINKS, &key)?.unwrap();
            let moment = MomentKey::new(link.linked_ms, &key);
            assert!(transaction.delete(&UNREFERENCED, &moment)?);
            Ok(())
        })
        .await;
    store.assert_finds(&["it would never go"]).await;
    let moment = {
        let rows = store.storage.catalog().read().unwrap();
        let link = rows.get(&BLOB_LINKS, &lonely).unwrap().unwrap();
        MomentKey::new(link.linked_ms, &lonely)
    };
    store.damage(UNREFERENCED, moment).await;
    store.assert_finds(&["it would never go"]).await;

    let gc = GcOptions {
        grace: Duration::ZERO,
        ..GcOptions::default()
    };
    let options = RegistryOptions {
        gc,
        ..(*store.options).clone()
    };
    let registry = Registry::new(store.storage.clone(), options);
    let stop = tokio_util::sync::CancellationToken::new();
    let collected = tokio::task::spawn_blocking(move || registry.collect(&stop, &mut |_| {}));
    assert_eq!(collected.await.unwrap().unwrap().removed, 1);
    assert!(!store.has_blob(&a, &lonely.digest));
    assert!(store.damages(Repairs::Nothing).await.is_empty());
}

#[tokio::test]
async fn a_damaged_change_is_forgotten_and_a_deleted_repository_with_manifests_is_none() {
    let (store, a, _) = filled().await;
    let change = TagMomentKey {
        repository: a.clone(),
        tag: tag("t"),
        number: 0,
    };
    store.damage(TAG_HISTORY, change).await;
    store.assert_finds(&["change 0 of tag a:t"]).await;
    assert_eq!(store.tag_history(&a, &tag("t")).unwrap().len(), 1);

    let name = a.clone();
    store
        .change(move |transaction| {
            let mut row = transaction.get(&REPOSITORIES, &name)?.unwrap();
            row.deleted_ms = Some(1);
            transaction.put(&REPOSITORIES, &name, &row)
        })
        .await;
    store.assert_finds(&["there are manifests in it"]).await;
    assert_eq!(store.repository_names(), ["a"]);
}
