//! An index that is lost, with a log that is whole or damaged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drift::ghostbay::rebuild::rebuild;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::*;

#[tokio::test]
async fn a_lost_index_is_made_again_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (small, large) = (pattern(1, 1000), pattern(2, 2_000_000));
    let digest = sha256(&large);
    for round in 0..3 {
        let engine = open(directory.path()).await;
        put(&engine, "things", "small", &small).await;
        put(&engine, "things", &format!("round-{round}"), &small).await;
        put(&engine, BUCKET, &drift::ghostbay::blob_key(&digest), &large).await;
        let held = rebuild(directory.path());
        assert!(held.is_err(), "a running store was rebuilt");
        engine.close().await;
        let before = content_rows(&engine);
        drop(engine);
        if round == 1 {
            // Also while the index is there: it is kept under another name.
            let aside = rebuild(directory.path()).unwrap().aside;
            assert!(aside.index.unwrap().exists());
        } else {
            std::fs::remove_file(directory.path().join("index.redb")).unwrap();
            let done = rebuild(directory.path()).unwrap();
            assert_eq!(done.aside, Default::default());
            assert_eq!(done.rebuilt.lost, None);
        }
        let engine = open(directory.path()).await;
        engine.close().await;
        assert_eq!(content_rows(&engine), before);
        assert_eq!(get(&engine, "things", "small").await, Some(small.clone()));
        assert_eq!(blob(&engine, &digest).await, Some(large.clone()));
    }
    std::fs::remove_dir_all(directory.path().join("log")).unwrap();
    std::fs::create_dir(directory.path().join("log")).unwrap();
    let index = std::fs::read(directory.path().join("index.redb")).unwrap();
    let error = rebuild(directory.path()).unwrap_err();
    assert!(error.to_string().contains("no checkpoint"), "{error}");
    let after = std::fs::read(directory.path().join("index.redb")).unwrap();
    assert!(index == after, "a failed attempt touched the index");
    assert!(!directory.path().join("index.redb.new").exists());
}

/// A stopped store, and the rows that it held behind each of its transactions.
async fn store_with_history(directory: &Path) -> BTreeMap<u64, StoredRows> {
    let mut states = BTreeMap::new();
    for round in 0..2 {
        let engine = open(directory).await;
        for n in 0..12u64 {
            let bytes = pattern(n, 100 + 7_000 * (n % 3) as usize);
            put(&engine, "things", &format!("{round}-{n}"), &bytes).await;
            states.insert(sequence(&engine), content_rows(&engine));
        }
        engine.close().await;
    }
    states
}

fn log_files(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    files.sort();
    files
}

fn pack_lengths(directory: &Path) -> BTreeMap<PathBuf, u64> {
    std::fs::read_dir(directory.join("packs"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into(), entry.metadata().unwrap().len()))
        .collect()
}

#[tokio::test]
async fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let states = store_with_history(directory.path()).await;
    let newest = log_files(directory.path(), ".checkpoint").pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&newest, bytes).unwrap();
    std::fs::remove_file(directory.path().join("index.redb")).unwrap();

    let done = rebuild(directory.path()).unwrap();
    assert_eq!(
        done.rebuilt.damaged.as_slice(),
        std::slice::from_ref(&newest)
    );
    assert_eq!(done.rebuilt.lost, None);
    assert!(!newest.exists(), "the next rebuild would stumble over it");
    let engine = open(directory.path()).await;
    let (_, last) = states.last_key_value().unwrap();
    assert_eq!(&content_rows(&engine), last);
    engine.close().await;
}

/// Whatever byte of the log is damaged, or wherever it ends: the index that is made of it is a
/// state that the store had, what it lacks is said, no pack is touched, and the store goes on from
/// there.
#[tokio::test]
async fn a_log_that_is_damaged_anywhere_gives_a_state_that_was_and_says_what_is_lost() {
    let mut random = StdRng::seed_from_u64(seed());
    let original = tempfile::tempdir().unwrap();
    let states = store_with_history(original.path()).await;
    let (last, _) = states.last_key_value().unwrap();
    let (mut lossy, mut whole) = (0, 0);
    for _ in 0..80 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        copy_store(original.path(), path);
        std::fs::remove_file(path.join("index.redb")).unwrap();
        let files = log_files(path, "");
        // A file that ends between two transactions shows nothing of the later ones.
        let mut cut = false;
        for _ in 0..random.random_range(1..3) {
            let file = &files[random.random_range(0..files.len())];
            let mut bytes = std::fs::read(file).unwrap();
            if bytes.is_empty() {
                continue;
            }
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => {
                    bytes.truncate(at);
                    cut = true;
                }
                _ => bytes[at] ^= 1 << random.random_range(0..8),
            }
            std::fs::write(file, bytes).unwrap();
        }
        let packs = pack_lengths(path);
        let Ok(done) = rebuild(path) else {
            // Both checkpoints: there is nothing to begin with, and nothing was touched.
            assert!(!path.join("index.redb").exists());
            continue;
        };
        let rebuilt = &done.rebuilt;
        if rebuilt.sequence < *last {
            let said = rebuilt.lost.is_some_and(|lost| lost.last <= *last)
                || !rebuilt.breaks.is_empty()
                || !rebuilt.damaged.is_empty()
                || cut;
            assert!(said, "{rebuilt:?}");
            lossy += 1;
        } else {
            assert_eq!(rebuilt.lost, None);
            whole += 1;
        }
        let engine = open(path).await;
        if let Some(state) = states.get(&rebuilt.sequence) {
            assert_eq!(&content_rows(&engine), state);
        }
        assert_eq!(pack_lengths(path), packs, "a pack was cut or removed");
        put(&engine, "things", "later", &pattern(9, 500)).await;
        let now = content_rows(&engine);
        engine.close().await;
        drop(engine);

        // What was lost does not come back, and what came later does not go.
        std::fs::remove_file(path.join("index.redb")).unwrap();
        rebuild(path).unwrap();
        let engine = open(path).await;
        assert_eq!(content_rows(&engine), now);
        engine.close().await;
    }
    assert!(lossy > 5 && whole > 5, "{lossy} lossy, {whole} whole");
}
