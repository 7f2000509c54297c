//! What is counted of a repository is what a count of its rows gives.

use super::*;
use crate::ghostbay::catalog::{CatalogError, Rows, Table};
use crate::ghostbay::check::Repairs;
use crate::registry::check::{Damage, Depth, Report, VerifyOptions, verify};
use crate::registry::tables::*;
use crate::registry::usage;

/// Tables that somebody else keeps in the same index.
pub(super) const KEPT: Table<String, ()> = Table::new(0x7c, "kept");
pub(super) const EXPENDABLE: Table<String, ()> = Table::new(0x7d, "expendable");

impl Store {
    /// What a quick check finds, and repairs if it may.
    pub(super) async fn damages(&self, repairs: Repairs) -> Vec<Damage> {
        let store = self.storage.to_check().unwrap();
        let options = VerifyOptions {
            depth: Depth::Quick,
            repairs,
            bytes_per_second: None,
            bucket: self.options.bucket.clone(),
            missing_references: MissingReferences::Refuse,
            others: vec![KEPT.info()],
            expendable: vec![EXPENDABLE.info()],
        };
        tokio::task::spawn_blocking(move || {
            let mut damages = Vec::new();
            let mut tell = |report| {
                if let Report::Damage(damage) = report {
                    damages.push(damage);
                }
                true
            };
            verify(store, &options, &mut tell).unwrap();
            damages
        })
        .await
        .unwrap()
    }

    #[track_caller]
    fn assert_counted(&self, repository: &RepositoryName, expected: [u64; 4]) {
        let [bytes, blobs, manifests, tags] = expected;
        let expected = UsageRow {
            bytes,
            blobs,
            manifests,
            tags,
        };
        assert_eq!(self.usage(repository).unwrap(), expected);
        let rows = self.storage.catalog().read().unwrap();
        let count = usage::count(&rows, repository).unwrap();
        assert_eq!((count.usage, count.damaged), (expected, false));
    }
}

#[tokio::test]
async fn pushes_mounts_and_deletes_are_counted() {
    let store = store().await;
    let (a, b) = (repository("a"), repository("a/b"));
    let config = store.push(&a, b"config").await;
    let layer = store.push(&a, b"the layer").await;
    store.assert_counted(&a, [15, 2, 0, 0]);
    // Pushed again, a blob counts once.
    store.push(&a, b"config").await;
    assert!(store.mount(&a, &config, Some(&a), |_| true).await.unwrap());
    store.assert_counted(&a, [15, 2, 0, 0]);
    assert!(store.mount(&b, &layer, Some(&a), |_| true).await.unwrap());
    store.assert_counted(&b, [9, 1, 0, 0]);

    let one = image(b"config", &[b"the layer"]);
    let two = image(b"config", &[]);
    let (size_one, size_two) = (one.to_string().len() as u64, two.to_string().len() as u64);
    for name in ["v1", "v2", "v2"] {
        store.put(&a, by_tag(name), &one).await.unwrap();
    }
    store.assert_counted(&a, [15 + size_one, 2, 1, 2]);
    store.put(&a, by_tag("v2"), &two).await.unwrap();
    store.assert_counted(&a, [15 + size_one + size_two, 2, 2, 2]);
    store.delete_tag(&a, &tag("v1")).await.unwrap();
    store.assert_counted(&a, [15 + size_one + size_two, 2, 2, 1]);
    store.delete_manifest(&a, &digest_of(&two)).await.unwrap();
    store.assert_counted(&a, [15 + size_one, 2, 1, 0]);
    store.delete_manifest(&a, &digest_of(&one)).await.unwrap();
    assert!(store.damages(Repairs::Nothing).await.is_empty());

    // What is refused counts for nothing.
    refused(store.put(&b, by_tag("v1"), &one).await);
    store.assert_counted(&b, [9, 1, 0, 0]);
}

#[tokio::test]
async fn an_upload_in_pieces_counts_as_a_whole() {
    let (store, a) = (store().await, repository("a"));
    let upload = store.start_upload(&a, Algorithm::Sha256).await.unwrap().id;
    store.append(&a, &upload, body(b"first, ")).await.unwrap();
    store.assert_counted(&a, [0; 4]);
    let digest = sha256(b"first, second");
    let last = Some(body(b"second"));
    store
        .finish_upload(&a, &upload, &digest, last)
        .await
        .unwrap();
    store.assert_counted(&a, [13, 1, 0, 0]);
}

#[tokio::test]
async fn counters_that_are_wrong_damaged_or_missing_are_found_and_counted_again() {
    let store = store().await;
    let names = ["damaged", "missing", "stray", "wrong"].map(repository);
    let [damaged, missing, stray, wrong] = &names;
    for name in [damaged, missing, wrong] {
        store.push(name, b"content").await;
    }
    store.damage(USAGE, damaged.clone()).await;
    let change = {
        let (missing, stray, wrong) = (missing.clone(), stray.clone(), wrong.clone());
        move |transaction: &mut crate::ghostbay::catalog::Transaction<'_>| {
            transaction.delete(&USAGE, &missing)?;
            let usage = UsageRow {
                bytes: 8,
                blobs: 1,
                ..UsageRow::default()
            };
            transaction.put(&USAGE, &stray, &usage)?;
            transaction.put(&USAGE, &wrong, &usage)
        }
    };
    let changed: Result<(), CatalogError> = store.storage.catalog().transact(change).await;
    changed.unwrap();
    let found = store.damages(Repairs::All).await;
    let mut told: Vec<_> = found.iter().map(|damage| damage.what.clone()).collect();
    told.sort();
    let expected = names
        .each_ref()
        .map(|name| format!("what is counted of repository {name}"));
    assert_eq!(told, expected);
    assert!(found.iter().all(|damage| damage.repaired), "{found:?}");
    for name in [damaged, missing, wrong] {
        store.assert_counted(name, [7, 1, 0, 0]);
    }
    let rows = store.storage.catalog().read().unwrap();
    assert!(!rows.contains(&USAGE, stray).unwrap());
    drop(rows);
    assert!(store.damages(Repairs::Nothing).await.is_empty());
}

#[tokio::test]
async fn a_change_over_damage_counts_again() {
    let (store, a) = (store().await, repository("a"));
    let config = store.push(&a, b"config").await;
    store.push(&a, b"layer").await;
    store.damage(USAGE, a.clone()).await;
    store.push(&a, b"another").await;
    store.assert_counted(&a, [18, 3, 0, 0]);
    // A link that is damaged counted for bytes that it no longer tells.
    store.damage(BLOB_LINKS, ContentKey::new(&a, &config)).await;
    store.delete_blob(&a, &config).await.unwrap();
    store.assert_counted(&a, [12, 2, 0, 0]);
}
