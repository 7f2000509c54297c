//! What the collector takes, what it leaves, and that it does what its plan says.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::ghostbay::EngineOptions;
use crate::ghostbay::catalog::Rows;
use crate::ghostbay::disk::Room;
use crate::ghostbay::room::MinFree;
use crate::ghostbay::sim::SimDisk;
use crate::registry::gc::{Act, Collected, GcOptions, Item};
use crate::registry::tables::{DELETED_MANIFESTS, UNREFERENCED};
use crate::registry::why::{Keeper, Kind};

impl Store {
    /// The same store with other times, as after a start.
    fn with_gc(&self, grace: Duration, keep_deleted: Duration) -> Registry {
        let options = RegistryOptions {
            gc: GcOptions {
                grace,
                keep_deleted,
            },
            ..(*self.options).clone()
        };
        Registry::new(self.storage.clone(), options)
    }

    fn queue(&self) -> usize {
        let rows = self.storage.catalog().read().unwrap();
        rows.scan(&UNREFERENCED, &[], None).unwrap().count()
    }
}

async fn plan(registry: &Registry) -> (Vec<Item>, Collected) {
    let registry = registry.clone();
    let planned = tokio::task::spawn_blocking(move || {
        let mut items = Vec::new();
        let totals = registry.plan_collection(&mut |item| items.push(item));
        (items, totals.unwrap())
    });
    planned.await.unwrap()
}

async fn collect(registry: &Registry) -> (Vec<Item>, Collected) {
    let registry = registry.clone();
    let collected = tokio::task::spawn_blocking(move || {
        let mut items = Vec::new();
        let stop = CancellationToken::new();
        let totals = registry.collect(&stop, &mut |item| items.push(item));
        (items, totals.unwrap())
    });
    collected.await.unwrap()
}

/// Sees that a collection does what its plan said, and gives back what that was.
async fn collect_as_planned(registry: &Registry) -> Vec<(Act, Digest)> {
    let planned = plan(registry).await;
    let collected = collect(registry).await;
    assert_eq!(planned, collected);
    let (items, _) = collected;
    items.iter().map(|item| (item.act, item.digest)).collect()
}

const NOW: Duration = Duration::ZERO;
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn what_nothing_refers_to_goes_and_what_is_referred_to_stays() {
    let store = store().await;
    let (a, b) = (repository("a"), repository("b"));
    let manifest = store.push_tagged(&a, b"config", "v1").await;
    let config = sha256(b"config");
    let lonely = store.push(&a, b"lonely").await;
    store.mount(&b, &lonely, Some(&a), |_| true).await.unwrap();

    // Within the grace nothing happens to either.
    let (items, totals) = collect(&store.with_gc(DAY, DAY)).await;
    assert!(items.is_empty() && totals.is_nothing());
    assert_eq!(store.queue(), 3);

    let registry = store.with_gc(NOW, DAY);
    let did = collect_as_planned(&registry).await;
    let expected = [
        (Act::Keep, config),
        (Act::Unlink, lonely),
        (Act::Remove, lonely),
    ];
    assert_eq!(did.len(), expected.len());
    assert!(expected.iter().all(|act| did.contains(act)), "{did:?}");
    assert!(!store.has_blob(&a, &lonely) && !store.has_blob(&b, &lonely));
    assert_eq!(store.object_bytes(), 6);
    assert_eq!(store.repository_names(), ["a"]);
    assert_eq!(store.queue(), 0);
    assert!(collect_as_planned(&registry).await.is_empty());

    // Deleted, it keeps its blob until it is purged.
    store.delete_manifest(&a, &manifest).await.unwrap();
    assert!(collect_as_planned(&registry).await.is_empty());
    let registry = store.with_gc(NOW, NOW);
    let did = collect_as_planned(&registry).await;
    assert_eq!(did, [(Act::Purge, manifest), (Act::Remove, config)]);
    assert_eq!(store.object_bytes(), 0);
    store.assert_empty().await;
}

#[tokio::test]
async fn a_blob_that_two_manifests_share_goes_with_the_last() {
    let store = store().await;
    let a = repository("a");
    let one = store.push_tagged(&a, b"config", "one").await;
    let document = image(b"config", &[b"config"]);
    let two = store.store(&a, &document).await;
    let registry = store.with_gc(NOW, NOW);
    store.delete_manifest(&a, &one).await.unwrap();
    let config = sha256(b"config");
    let did = collect_as_planned(&registry).await;
    assert_eq!(did, [(Act::Purge, one), (Act::Keep, config)]);
    store.delete_manifest(&a, &two).await.unwrap();
    let did = collect_as_planned(&registry).await;
    assert_eq!(did, [(Act::Purge, two), (Act::Remove, config)]);
}

#[tokio::test]
async fn more_than_a_batch_is_taken_in_one_cycle() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    for number in 0..300 {
        let mut document = image(b"config", &[]);
        document["annotations"] = json!({ "number": number.to_string() });
        store.store(&a, &document).await;
        let blob = format!("blob {number}").into_bytes().leak();
        store.push(&a, blob).await;
    }
    store.delete_repository(&a).await.unwrap();
    let (_, totals) = collect(&store.with_gc(NOW, NOW)).await;
    assert_eq!((totals.purged, totals.removed), (300, 301));
    store.assert_empty().await;
    assert_eq!(store.object_bytes(), 0);
    let rows = store.storage.catalog().read().unwrap();
    assert_eq!(rows.scan(&DELETED_MANIFESTS, &[], None).unwrap().count(), 0);
}

#[tokio::test]
async fn a_blob_that_a_client_was_told_of_is_safe_for_the_grace() {
    let grace = Duration::from_millis(400);
    let store = store().await;
    let a = repository("a");
    let told = store.push(&a, b"told").await;
    let forgotten = store.push(&a, b"forgotten").await;
    let registry = store.with_gc(grace, NOW);

    // Behind a start, whatever was told before it is leased.
    tokio::time::sleep(grace / 2).await;
    let (items, totals) = collect(&registry).await;
    assert!(items.is_empty());
    assert!(totals.all_leased_ms.is_some_and(|left| left <= 200));
    tokio::time::sleep(grace).await;
    registry.head_blob(&a, &told).await.unwrap();
    assert!(registry.head_blob(&a, &sha256(b"unknown")).await.is_err());
    let why = registry.why(&a, &Reference::Digest(told)).unwrap();
    assert_eq!(
        (why.kind, &why.keepers[..]),
        (Kind::Blob, &[Keeper::Lease][..])
    );
    let did = collect_as_planned(&registry).await;
    assert_eq!(did.len(), 2);
    assert!(did.contains(&(Act::Keep, told)) && did.contains(&(Act::Remove, forgotten)));

    // It is looked at again when its time is over.
    assert_eq!(store.queue(), 1);
    assert!(collect_as_planned(&registry).await.is_empty());
    tokio::time::sleep(grace * 2).await;
    assert_eq!(collect_as_planned(&registry).await, [(Act::Remove, told)]);
    assert!(registry.head_blob(&a, &told).await.is_err());
}

#[tokio::test]
async fn what_keeps_something_is_told() {
    let store = store().await;
    let a = repository("a");
    let child = store.push_tagged(&a, b"config", "v1").await;
    let parent = store.store(&a, &index(&[&image(b"config", &[])])).await;
    let config = sha256(b"config");
    let registry = store.with_gc(NOW, DAY);
    let why = registry.why(&a, &by_tag("v1")).unwrap();
    assert_eq!((why.digest, why.kind), (child, Kind::Manifest));
    let keepers = [
        Keeper::Itself,
        Keeper::Tag(tag("v1")),
        Keeper::Manifest(parent),
    ];
    assert_eq!(why.keepers, keepers);
    assert_eq!(why.goes_ms, None);
    let of_blob = || registry.why(&a, &Reference::Digest(config)).unwrap();
    assert_eq!(of_blob().keepers, [Keeper::Manifest(child)]);
    assert_eq!(of_blob().goes_ms, None);

    store.delete_manifest(&a, &parent).await.unwrap();
    store.delete_manifest(&a, &child).await.unwrap();
    let why = registry.why(&a, &Reference::Digest(child)).unwrap();
    assert_eq!(why.kind, Kind::DeletedManifest);
    let goes_ms = why.goes_ms.unwrap();
    assert!(goes_ms > crate::ghostbay::now_ms() + 86_000_000);
    assert_eq!(of_blob().keepers, [Keeper::DeletedManifest(child, goes_ms)]);
    assert_eq!(of_blob().goes_ms, Some(goes_ms));
    assert!(registry.why(&a, &by_tag("v1")).is_err());
}

/// Six deleted images, on a disk with that much room.
async fn six_deleted(available: u64) -> (Store, SimDisk) {
    let disk = SimDisk::default();
    let options = EngineOptions {
        min_free: MinFree::Percent(5),
        ..EngineOptions::default()
    };
    let opened = LocalStorageEngine::open_on(Arc::new(disk.clone()), "/store", options).await;
    let storage = Arc::new(opened.unwrap());
    let gc = GcOptions {
        grace: NOW,
        keep_deleted: DAY,
    };
    let options = RegistryOptions {
        gc,
        ..RegistryOptions::default()
    };
    let store = Store {
        registry: Registry::new(storage.clone(), options),
        storage,
        _directory: tempfile::tempdir().unwrap(),
    };
    let a = repository("a");
    for config in [b"1", b"2", b"3", b"4", b"5", b"6"] {
        let manifest = store.push_tagged(&a, config, "latest").await;
        store.delete_manifest(&a, &manifest).await.unwrap();
    }
    set_room(&disk, available);
    // The disk's answer holds for a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    (store, disk)
}

fn set_room(disk: &SimDisk, available: u64) {
    disk.set_room(Room {
        available,
        total: 1_000_000,
    });
}

fn purges(items: &[Item]) -> usize {
    items.iter().filter(|item| item.act == Act::Purge).count()
}

#[tokio::test]
async fn with_too_little_room_deleted_manifests_go_early_and_no_more_than_have_to() {
    let (store, disk) = six_deleted(49_999).await;
    let (registry, stop) = (store.registry.clone(), CancellationToken::new());
    let collected = tokio::task::spawn_blocking(move || {
        let mut items = Vec::new();
        let totals = registry.collect(&stop, &mut |item| {
            if item.act == Act::Purge {
                // What the first ones free is enough.
                set_room(&disk, 50_000);
            }
            items.push(item);
        });
        (items, totals.unwrap())
    });
    let (items, totals) = collected.await.unwrap();
    assert_eq!((purges(&items), totals.removed), (4, 4));
    let (items, _) = collect(&store.registry).await;
    assert_eq!(purges(&items), 0);
}

#[tokio::test]
async fn a_plan_foresees_what_goes_early() {
    // A byte is missing, ten are, and none is.
    for (available, expected) in [(49_999, 4), (49_990, 6), (50_000, 0)] {
        let (store, _) = six_deleted(available).await;
        let (items, totals) = plan(&store.registry).await;
        assert_eq!(
            (purges(&items), totals.removed),
            (expected, expected as u64)
        );
        let mut purged = items.iter().filter(|item| item.act == Act::Purge);
        assert!(purged.all(|item| item.reason.contains("min_free")));
    }
}

#[tokio::test]
async fn with_enough_room_deleted_manifests_stay() {
    let (store, _) = six_deleted(50_000).await;
    let (items, _) = collect(&store.registry).await;
    assert_eq!(purges(&items), 0);
}

#[tokio::test]
async fn a_pause_ends_a_collection_and_the_next_takes_what_it_left() {
    let store = store().await;
    let a = repository("a");
    for config in [b"1", b"2", b"3"] {
        let manifest = store.push_tagged(&a, config, "latest").await;
        store.delete_manifest(&a, &manifest).await.unwrap();
    }
    let registry = store.with_gc(NOW, NOW);
    let (collecting, stop) = (registry.clone(), CancellationToken::new());
    let paused = tokio::task::spawn_blocking(move || {
        let totals = collecting.collect(&stop, &mut |_| {
            collecting.pause_collections(true).unwrap();
        });
        (totals.unwrap(), collecting.collect(&stop, &mut |_| ()))
    });
    let (totals, refused) = paused.await.unwrap();
    // What a batch took has gone, and their blobs wait.
    assert_eq!(
        (totals.purged, totals.removed, totals.stopped),
        (3, 0, true)
    );
    assert_eq!(registry.figures().collections.runs.get(), 0);
    assert!(matches!(refused, Err(RegistryError::CollectionsPaused)));
    let going_on = registry.clone();
    let resumed = tokio::task::spawn_blocking(move || going_on.pause_collections(false));
    resumed.await.unwrap().unwrap();
    let (_, totals) = collect(&registry).await;
    assert_eq!(
        (totals.purged, totals.removed, totals.stopped),
        (0, 3, false)
    );
    assert_eq!(registry.figures().collections.runs.get(), 1);
}
