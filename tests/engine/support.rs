//! What the tests of the engine share.

use std::path::Path;

use bytes::Bytes;
use drift::digest::{Algorithm, Digest};
use drift::ghostbay::catalog::{Rows, Transaction};
use drift::ghostbay::engine::{ByteStream, GetObjectRequest, PutObjectRequest, StorageEngine};
use drift::ghostbay::pack::accounts::PACKS;
use drift::ghostbay::pack::freed::FREED_EXTENTS;
use drift::ghostbay::{EngineOptions, LocalStorageEngine, StorageError, blob_key};
use futures::StreamExt;

pub use crate::store::{assert_undamaged, copy_store};

pub const BUCKET: &str = "drift-registry";

pub async fn open(directory: &Path) -> LocalStorageEngine {
    LocalStorageEngine::open(directory, EngineOptions::default())
        .await
        .unwrap()
}

/// Takes a backup of the running store.
pub fn take_backup(engine: &LocalStorageEngine, file: &Path) {
    let mut bytes = Vec::new();
    let mut gather = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    engine.back_up(&mut gather).unwrap();
    std::fs::write(file, bytes).unwrap();
}

/// Bytes that do not repeat within a window, the same for the same arguments.
pub fn pattern(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// A body in frames of 60,000 bytes.
pub fn body(bytes: &Bytes) -> ByteStream<'static> {
    let frames: Vec<_> = bytes.chunks(60_000).map(Bytes::copy_from_slice).collect();
    Box::pin(futures::stream::iter(frames.into_iter().map(Ok)))
}

/// A body that breaks off behind the bytes.
pub fn broken(bytes: &Bytes) -> ByteStream<'static> {
    let error = futures::stream::once(async { Err(anyhow::anyhow!("the wire was cut")) });
    Box::pin(body(bytes).chain(error))
}

pub async fn collect(mut stream: ByteStream<'_>) -> anyhow::Result<Bytes> {
    let mut bytes = Vec::new();
    while let Some(frame) = stream.next().await {
        bytes.extend_from_slice(&frame?);
    }
    Ok(bytes.into())
}

pub async fn put(engine: &LocalStorageEngine, bucket: &str, key: &str, bytes: &Bytes) -> String {
    engine
        .put_object(PutObjectRequest {
            bucket: bucket.into(),
            key: key.into(),
            content_type: "text/plain".into(),
            content_length: Some(bytes.len() as u64),
            data: body(bytes),
        })
        .await
        .unwrap()
}

pub async fn get(engine: &LocalStorageEngine, bucket: &str, key: &str) -> Option<Bytes> {
    let response = engine
        .get_object(GetObjectRequest {
            bucket: bucket.into(),
            key: key.into(),
            range: None,
        })
        .await
        .unwrap()?;
    Some(collect(response.data).await.unwrap())
}

pub async fn blob(engine: &LocalStorageEngine, digest: &Digest) -> Option<Bytes> {
    get(engine, BUCKET, &blob_key(digest)).await
}

/// Nothing to be recorded with a blob.
pub fn nothing(_: &mut Transaction<'_>, _: u64) -> Result<(), StorageError> {
    Ok(())
}

/// Bytes of records that something refers to, over all packs.
pub fn live_bytes(engine: &LocalStorageEngine) -> u64 {
    let rows = engine.catalog().read().unwrap();
    rows.scan(&PACKS, &[], None)
        .unwrap()
        .map(|row| row.unwrap().1.live)
        .sum()
}

/// Bytes of bodies that have lost their last owner and were not given back yet.
pub fn freed_bytes(engine: &LocalStorageEngine) -> u64 {
    let rows = engine.catalog().read().unwrap();
    rows.scan(&FREED_EXTENTS, &[], None)
        .unwrap()
        .map(|row| row.unwrap().1.length)
        .sum()
}

/// Length of all pack files.
pub fn pack_bytes(engine: &LocalStorageEngine) -> u64 {
    std::fs::read_dir(engine.directory().join("packs"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

pub fn storage_error(error: &anyhow::Error) -> &StorageError {
    error.downcast_ref().expect("a StorageError")
}

/// Rows by their keys, as they are stored.
pub type StoredRows = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

/// All rows of a store's catalog.
pub fn all_rows(engine: &LocalStorageEngine) -> StoredRows {
    let snapshot = engine.catalog().read().unwrap();
    let all = snapshot.raw().range(&[], false, &[0xff]).unwrap();
    all.map(|row| row.unwrap()).collect()
}

/// The rows that say what exists, without those of the catalog itself and of packs, which a new
/// index changes.
pub fn content_rows(engine: &LocalStorageEngine) -> StoredRows {
    let mut rows = all_rows(engine);
    // A new index also notes which packs hold more than it knows, at no extent's place.
    let is_mark = |key: &[u8]| key[0] == FREED_EXTENTS.info().id && key.ends_with(&[0; 8]);
    rows.retain(|key, _| key[0] > 0x02 && !is_mark(key));
    rows
}

/// The sequence number of the last transaction.
pub fn sequence(engine: &LocalStorageEngine) -> u64 {
    drift::ghostbay::catalog::schema::sequence(&engine.catalog().read().unwrap()).unwrap()
}

/// The seed of a test's choices, printed so that a failure can be replayed.
pub fn seed() -> u64 {
    let set = std::env::var("DRIFT_TEST_SEED").ok();
    let seed = set
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("DRIFT_TEST_SEED={seed}");
    seed
}
