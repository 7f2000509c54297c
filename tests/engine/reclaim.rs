//! Space that comes back: blocks of what was deleted, and packs in which nothing is left.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use drift::ghostbay::catalog::Rows;
use drift::ghostbay::engine::*;
use drift::ghostbay::pack::PackOptions;
use drift::ghostbay::pack::accounts::PACKS;
use drift::ghostbay::salvage::salvage;
use drift::ghostbay::{EngineOptions, LocalStorageEngine, blob_key, rebuild};
use futures::StreamExt;

use crate::support::*;

/// A store that gives back at once, in packs of a few MiB.
async fn open_without_keep(directory: &Path) -> LocalStorageEngine {
    let options = EngineOptions {
        keep: Duration::ZERO,
        packs: PackOptions {
            pack_bytes_max: 4 << 20,
            reserve_bytes: 1 << 20,
            idle_trim: Duration::ZERO,
        },
        ..EngineOptions::default()
    };
    LocalStorageEngine::open(directory, options).await.unwrap()
}

/// Bytes of the blocks that all packs take.
fn allocated(directory: &Path) -> u64 {
    let packs = std::fs::read_dir(directory.join("packs")).unwrap();
    packs
        .map(|pack| pack.unwrap().metadata().unwrap().blocks() * 512)
        .sum()
}

fn packs(directory: &Path) -> Vec<String> {
    let packs = std::fs::read_dir(directory.join("packs")).unwrap();
    let names = packs.map(|pack| pack.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

async fn delete(engine: &LocalStorageEngine, bucket: &str, key: &str) {
    assert!(engine.delete_object(bucket, key).await.unwrap());
}

#[tokio::test]
async fn blocks_of_what_was_deleted_come_back_and_what_lies_beside_stays() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_without_keep(directory.path()).await;
    let kept = pattern(1, 300_000);
    for n in 0..8 {
        put(&engine, "things", &format!("gone{n}"), &pattern(n, 400_000)).await;
        put(&engine, "things", &format!("kept{n}"), &kept).await;
    }
    let before = allocated(directory.path());
    for n in 0..8 {
        delete(&engine, "things", &format!("gone{n}")).await;
    }
    let done = engine.reclaim().await.unwrap();
    assert_eq!(done.extents, 8);
    assert_eq!(freed_bytes(&engine), 0);
    assert!(done.punched_bytes > 8 * 390_000, "{done:?}");
    let after = allocated(directory.path());
    // But for a block here and there that the file system keeps for itself.
    assert!(after <= before - 8 * 380_000, "{before} {after}");
    for n in 0..8 {
        let found = get(&engine, "things", &format!("kept{n}")).await;
        assert_eq!(found.as_ref(), Some(&kept));
    }
    // A second time there is nothing to do.
    assert_eq!(engine.reclaim().await.unwrap().extents, 0);
}

#[tokio::test]
async fn what_a_backup_may_need_stays() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    put(&engine, "things", "key", &pattern(1, 400_000)).await;
    delete(&engine, "things", "key").await;
    assert_eq!(engine.reclaim().await.unwrap().extents, 0);
    assert_eq!(freed_bytes(&engine), 400_000);
}

#[tokio::test]
async fn a_pull_in_progress_keeps_what_it_reads() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_without_keep(directory.path()).await;
    let bytes = pattern(1, 9_000_000);
    put(&engine, "things", "key", &bytes).await;
    let request = GetObjectRequest {
        bucket: "things".into(),
        key: "key".into(),
        range: None,
    };
    let mut data = engine.get_object(request).await.unwrap().unwrap().data;
    let mut read = data.next().await.unwrap().unwrap().to_vec();
    delete(&engine, "things", "key").await;
    let done = engine.reclaim().await.unwrap();
    assert_eq!((done.extents, done.packs), (0, 0));
    assert!(done.pinned > 1, "{done:?}");
    while let Some(window) = data.next().await {
        read.extend_from_slice(&window.unwrap());
    }
    assert!(read == bytes, "other bytes than were stored");
    drop(data);
    let done = engine.reclaim().await.unwrap();
    assert_eq!(done.pinned, 0);
    assert!(done.punched_bytes > 8_900_000, "{done:?}");
}

#[tokio::test]
async fn a_copy_keeps_what_it_shares() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_without_keep(directory.path()).await;
    let bytes = pattern(1, 400_000);
    put(&engine, "things", "key", &bytes).await;
    let copy = CopyObjectRequest {
        source_bucket: "things".into(),
        source_key: "key".into(),
        bucket: "things".into(),
        key: "copy".into(),
    };
    engine.copy_object(copy).await.unwrap();
    delete(&engine, "things", "key").await;
    assert_eq!(engine.reclaim().await.unwrap().extents, 0);
    assert_eq!(get(&engine, "things", "copy").await, Some(bytes));
    delete(&engine, "things", "copy").await;
    assert_eq!(engine.reclaim().await.unwrap().extents, 1);
}

#[tokio::test]
async fn an_empty_pack_goes_and_its_id_is_not_given_out_again() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_without_keep(directory.path()).await;
    put(&engine, "things", "key", &pattern(1, 20_000_000)).await;
    let before = packs(directory.path());
    assert!(before.len() > 4);
    delete(&engine, "things", "key").await;
    let held = engine.hold();
    let done = engine.reclaim().await.unwrap();
    assert_eq!((done.extents, done.packs), (0, 0), "somebody copies them");
    drop(held);
    let done = engine.reclaim().await.unwrap();
    // The last one is not full, and goes on being written to.
    assert_eq!(done.packs as usize, before.len() - 1);
    let left = packs(directory.path());
    assert_eq!(left.len(), 1);
    let rows = engine.catalog().read().unwrap();
    assert_eq!(rows.scan(&PACKS, &[], None).unwrap().count(), 1);
    drop(rows);
    engine.close().await;
    drop(engine);
    // Were even the last one gone, its id would not come back.
    let engine = open_without_keep(directory.path()).await;
    put(&engine, "things", "key", &pattern(2, 20_000_000)).await;
    let after = packs(directory.path());
    let new = after.iter().filter(|name| !left.contains(name));
    for name in new {
        assert!(!before.contains(name), "{name} was given out twice");
    }
    assert_eq!(
        get(&engine, "things", "key").await,
        Some(pattern(2, 20_000_000))
    );
}

#[tokio::test]
async fn salvage_tells_what_was_deleted_from_what_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_without_keep(directory.path()).await;
    for n in 0..3 {
        let bytes = pattern(n, 1_500_000);
        put(&engine, BUCKET, &blob_key(&sha256(&bytes)), &bytes).await;
    }
    let gone = blob_key(&sha256(&pattern(1, 1_500_000)));
    delete(&engine, BUCKET, &gone).await;
    assert!(engine.reclaim().await.unwrap().punched_bytes > 0);
    engine.close().await;
    drop(engine);
    std::fs::remove_file(directory.path().join("index.redb")).unwrap();
    std::fs::remove_dir_all(directory.path().join("log")).unwrap();
    let salvaged = salvage(directory.path(), BUCKET, &mut |_, _| {}).unwrap();
    assert_eq!(salvaged.blobs.len(), 2);
    assert_eq!((salvaged.freed, salvaged.unproven), (1, 0));
    assert!(salvaged.broken.is_empty());
}

#[tokio::test]
async fn packs_that_hold_what_a_new_index_does_not_know_stay_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_without_keep(directory.path()).await;
    put(&engine, "things", "known", &pattern(1, 400_000)).await;
    engine.close().await;
    drop(engine);
    let older = tempfile::tempdir().unwrap();
    copy_store(directory.path(), older.path());
    let engine = open_without_keep(directory.path()).await;
    put(&engine, "things", "later", &pattern(2, 9_000_000)).await;
    engine.close().await;
    drop(engine);
    let before = packs(directory.path());

    // The index and the log are lost, and what is left of them is older than the packs.
    std::fs::remove_file(directory.path().join("index.redb")).unwrap();
    std::fs::remove_dir_all(directory.path().join("log")).unwrap();
    std::fs::rename(older.path().join("log"), directory.path().join("log")).unwrap();
    rebuild::rebuild(directory.path()).unwrap();
    let engine = open_without_keep(directory.path()).await;
    assert_eq!(engine.reclaim().await.unwrap().packs, 0);
    assert!(packs(directory.path()).starts_with(&before));
    assert_eq!(
        get(&engine, "things", "known").await,
        Some(pattern(1, 400_000))
    );
}
