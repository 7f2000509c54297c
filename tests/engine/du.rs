//! What a store takes on the disk, once half of what was in it has been deleted.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use drift::ghostbay::engine::StorageEngine;
use drift::ghostbay::{EngineOptions, LocalStorageEngine, compact_index};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::*;

/// Bytes of bodies that are stored; more with `DRIFT_TEST_LONG`, or as `DRIFT_TEST_DU_BYTES` says.
const BYTES: u64 = 256 << 20;
const BYTES_LONG: u64 = 4 << 30;

/// Bytes of the blocks that a directory takes.
fn du(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => du(&entry.path()),
                false => entry.metadata().unwrap().blocks() * 512,
            }
        })
        .sum()
}

async fn open_without_keep(directory: &Path) -> LocalStorageEngine {
    let options = EngineOptions {
        keep: Duration::ZERO,
        ..EngineOptions::default()
    };
    LocalStorageEngine::open(directory, options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_which_half_was_deleted_takes_little_more_than_the_rest() {
    let bytes = match std::env::var("DRIFT_TEST_DU_BYTES") {
        Ok(bytes) => bytes.parse().unwrap(),
        Err(_) if std::env::var_os("DRIFT_TEST_LONG").is_some() => BYTES_LONG,
        Err(_) => BYTES,
    };
    let mut random = StdRng::seed_from_u64(seed());
    // As long runs say, beside the packs of the system's own temporary directory.
    let directory = match std::env::var("DRIFT_TEST_DIR") {
        Ok(beside) => tempfile::tempdir_in(beside).unwrap(),
        Err(_) => tempfile::tempdir().unwrap(),
    };
    let engine = open_without_keep(directory.path()).await;
    let mut stored = Vec::new();
    let mut total = 0;
    while total < bytes {
        // As many of each order of magnitude, from 1 KiB to 16 MiB.
        let length = 2f64.powf(random.random_range(10.0..24.0)) as usize;
        let key = format!("{}", stored.len());
        put(
            &engine,
            "things",
            &key,
            &pattern(stored.len() as u64, length),
        )
        .await;
        stored.push(length as u64);
        total += length as u64;
    }
    println!(
        "{} bodies of {total} bytes take {}",
        stored.len(),
        du(directory.path())
    );
    let mut live = total;
    for (n, length) in stored.iter().enumerate() {
        if random.random_bool(0.5) {
            engine
                .delete_object("things", &format!("{n}"))
                .await
                .unwrap();
            live -= length;
        }
    }
    let began = Instant::now();
    let reclaimed = engine.reclaim().await.unwrap();
    println!("reclaimed in {:?}: {reclaimed:?}", began.elapsed());
    let punched = du(directory.path());
    let began = Instant::now();
    // The pack of short bodies is let go within a second or two.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let compacted = engine.compact(0).await.unwrap();
    let reclaimed = engine.reclaim().await.unwrap();
    println!(
        "compacted in {:?}: {compacted:?}, {reclaimed:?}",
        began.elapsed()
    );
    engine.close().await;
    drop(engine);
    let index = compact_index::of_stopped(directory.path()).unwrap();
    let taken = du(directory.path());
    let more = |taken: u64| 100.0 * (taken as f64 / live as f64 - 1.0);
    println!(
        "{live} bytes are live; the store takes {punched} ({:.2} % more) with what was deleted punched, \
         {taken} ({:.2} % more) compacted; index {index:?}",
        more(punched),
        more(taken),
    );
    assert!(more(taken) < 5.0);
    let engine = open_without_keep(directory.path()).await;
    assert_eq!(engine.reclaim().await.unwrap().extents, 0);
    engine.close().await;
}
