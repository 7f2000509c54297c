use std::os::unix::fs::PermissionsExt;

use drift::digest::Algorithm;
use drift::ghostbay::engine::{GetObjectRequest, StorageEngine};
use drift::ghostbay::uploads::Append;
use drift::ghostbay::{EngineOptions, LocalStorageEngine, StorageError};

use crate::support::*;

#[tokio::test]
async fn what_a_store_is_made_of_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("new/store");
    let engine = open(&store).await;
    put(&engine, "things", "small", &pattern(1, 1000)).await;
    put(&engine, "things", "large", &pattern(2, 2_000_000)).await;
    engine.ready().await.unwrap();
    engine.close().await;
    let mut looked_at = vec![directory.path().join("new")];
    let mut files = 0;
    while let Some(path) = looked_at.pop() {
        let found = path.metadata().unwrap();
        let mode = found.permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        match found.is_dir() {
            true => looked_at.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|it| it.unwrap().path()),
            ),
            false => files += 1,
        }
    }
    assert!(files > 4, "{files} files");
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (small, large) = (pattern(1, 1000), pattern(2, 2_000_000));
    let engine = open(directory.path()).await;
    put(&engine, "things", "small", &small).await;
    put(&engine, "things", "large", &large).await;
    let id = engine
        .uploads()
        .begin("a", Algorithm::Sha256)
        .await
        .unwrap()
        .id;
    let piece = Append {
        start: None,
        length: None,
        body: body(&large.slice(..1_500_000)),
    };
    engine.uploads().append("a", &id, piece).await.unwrap();
    engine.close().await;
    drop(engine);

    let engine = open(directory.path()).await;
    assert_eq!(get(&engine, "things", "small").await, Some(small));
    assert_eq!(get(&engine, "things", "large").await, Some(large.clone()));
    assert_eq!(engine.uploads().status("a", &id).unwrap().offset, 1_500_000);
    let rest = Append {
        start: Some(1_500_000),
        length: None,
        body: body(&large.slice(1_500_000..)),
    };
    let digest = sha256(&large);
    engine
        .uploads()
        .finish("a", &id, &digest, BUCKET, Some(rest), nothing)
        .await
        .unwrap();
    assert_eq!(blob(&engine, &digest).await, Some(large));
}

#[tokio::test]
async fn what_lies_behind_the_committed_tail_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = pattern(1, 400_000);
    let engine = open(directory.path()).await;
    put(&engine, "things", "key", &bytes).await;
    engine.close().await;
    let length = pack_bytes(&engine);
    drop(engine);
    // Remains of a write that was never acknowledged, and a pack that nothing names.
    let packs = directory.path().join("packs");
    let pack = std::fs::read_dir(&packs).unwrap().next().unwrap().unwrap();
    let mut remains = std::fs::read(pack.path()).unwrap();
    remains.extend_from_slice(&pattern(2, 3_000_000));
    std::fs::write(pack.path(), remains).unwrap();
    std::fs::write(packs.join("0001-0000000000ff.pack"), b"begun").unwrap();
    std::fs::write(packs.join("notes.txt"), b"somebody else's").unwrap();

    let engine = open(directory.path()).await;
    assert!(packs.join("notes.txt").exists(), "it is none of ours");
    std::fs::remove_file(packs.join("notes.txt")).unwrap();
    // The cut is at the tail, which keeps room for the longest trailer.
    assert!(pack_bytes(&engine) <= length + 4096);
    assert!(!packs.join("0001-0000000000ff.pack").exists());
    assert_eq!(get(&engine, "things", "key").await, Some(bytes));
    // The id of the removed pack is not given out again.
    put(&engine, "things", "next", &pattern(3, 400_000)).await;
    assert_eq!(std::fs::read_dir(&packs).unwrap().count(), 1);
}

#[tokio::test]
async fn a_second_process_is_told_who_holds_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let second = LocalStorageEngine::open(directory.path(), EngineOptions::default()).await;
    let Err(StorageError::InUse { holder, .. }) = second else {
        panic!("two owners of one store");
    };
    assert_eq!(holder, std::process::id().to_string());
    engine.close().await;
    drop(engine);
    open(directory.path()).await;
}

#[tokio::test]
async fn packs_without_their_index_are_not_taken_for_a_new_store() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    put(&engine, "things", "key", &pattern(1, 400_000)).await;
    engine.close().await;
    drop(engine);
    let index = directory.path().join("index.redb");
    let aside = directory.path().join("aside");
    std::fs::rename(&index, &aside).unwrap();
    let refused = LocalStorageEngine::open(directory.path(), EngineOptions::default()).await;
    assert!(refused.err().unwrap().to_string().contains("index.redb"));
    std::fs::rename(&aside, &index).unwrap();
    let engine = open(directory.path()).await;
    assert!(get(&engine, "things", "key").await.is_some());
}

#[tokio::test]
async fn a_closed_store_refuses_writes_and_still_reads() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    put(&engine, "things", "key", &"x".into()).await;
    engine.ready().await.unwrap();
    engine.close().await;
    assert_eq!(get(&engine, "things", "key").await, Some("x".into()));
    let begun = engine.uploads().begin("a", Algorithm::Sha256).await;
    assert!(begun.is_err());
}

/// Holds up whoever says that the change log has a gap, which is done just before it is closed.
struct SlowGap;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for SlowGap {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut said = String::new();
        event.record(
            &mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                said.push_str(&format!("{value:?}"));
            },
        );
        if said.contains("does not reach the index") {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
    }
}

#[tokio::test]
async fn a_store_that_was_closed_while_it_closed_a_gap_of_its_log_is_free_at_once() {
    use tracing_subscriber::layer::SubscriberExt;
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(SlowGap)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    put(&engine, "things", "key", &"x".into()).await;
    engine.close().await;
    drop(engine);
    std::fs::remove_dir_all(directory.path().join("log")).unwrap();
    let engine = open(directory.path()).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    engine.close().await;
    drop(engine);
    open(directory.path()).await.close().await;
}

/// The catalog's rows as checkpoint and change log give them.
fn replayed(directory: &std::path::Path) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    let mut map = std::collections::BTreeMap::new();
    drift::ghostbay::catalog::change_log::replay(
        &drift::ghostbay::disk::OsDisk,
        &directory.join("log"),
        |frame| {
            for (key, value) in frame.changes {
                match value {
                    Some(value) => map.insert(key, value),
                    None => map.remove(&key),
                };
            }
            Ok(())
        },
    )
    .unwrap()
    .expect("a checkpoint");
    map
}

#[tokio::test]
async fn the_change_log_alone_gives_the_whole_catalog() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let engine = open(directory.path()).await;
        for n in 0..20 {
            let key = format!("key-{n}");
            put(&engine, "things", &key, &pattern(n, 100 + round)).await;
        }
        put(&engine, "things", "large", &pattern(1, 1_000_000)).await;
        let begun = engine.uploads().begin("a", Algorithm::Sha256).await;
        begun.unwrap();
        engine.close().await;
        let rows = all_rows(&engine);
        assert!(rows.len() > 20);
        assert_eq!(replayed(directory.path()), rows);
    }
}

#[tokio::test]
async fn a_lost_change_log_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    put(&engine, "things", "key", &pattern(1, 100)).await;
    engine.close().await;
    drop(engine);
    std::fs::remove_dir_all(directory.path().join("log")).unwrap();
    let engine = open(directory.path()).await;
    for _ in 0..500 {
        if replay_reaches(directory.path()) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    engine.close().await;
    let names = replayed(directory.path());
    let object = names.keys().any(|key| key.ends_with(b"key"));
    assert!(object, "the new log lacks what was there before it");
}

fn replay_reaches(directory: &std::path::Path) -> bool {
    drift::ghostbay::catalog::change_log::replay(
        &drift::ghostbay::disk::OsDisk,
        &directory.join("log"),
        |_| Ok(()),
    )
    .is_ok_and(|reached| reached.is_some())
}

#[tokio::test]
async fn a_pack_with_a_damaged_header_takes_down_nothing_else() {
    let bytes = pattern(1, 400_000);
    // The second time there is something to be cut off, too.
    for remains in [0, 100_000] {
        let directory = tempfile::tempdir().unwrap();
        let pack = directory.path().join("packs/0001-000000000001.pack");
        let engine = open(directory.path()).await;
        put(&engine, "things", "key", &bytes).await;
        engine.close().await;
        drop(engine);
        let whole = std::fs::read(&pack).unwrap();
        let mut damaged = whole.clone();
        damaged[20] ^= 1;
        damaged.extend_from_slice(&pattern(2, remains));
        std::fs::write(&pack, damaged).unwrap();

        let engine = open(directory.path()).await;
        let response = engine
            .get_object(GetObjectRequest {
                bucket: "things".into(),
                key: "key".into(),
                range: None,
            })
            .await
            .unwrap()
            .unwrap();
        assert!(collect(response.data).await.is_err());
        put(&engine, "things", "other", &bytes).await;
        assert_eq!(get(&engine, "things", "other").await.as_ref(), Some(&bytes));
        engine.close().await;
        drop(engine);
        std::fs::write(&pack, whole).unwrap();
        let engine = open(directory.path()).await;
        assert_eq!(get(&engine, "things", "key").await.as_ref(), Some(&bytes));
        engine.close().await;
    }
}

#[tokio::test]
async fn a_log_without_its_index_is_not_taken_for_a_new_store() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    // Nothing that lies in a pack.
    engine.create_bucket("things").await.unwrap();
    engine.close().await;
    drop(engine);
    let index = directory.path().join("index.redb");
    std::fs::rename(&index, directory.path().join("elsewhere")).unwrap();
    let refused = LocalStorageEngine::open(directory.path(), EngineOptions::default()).await;
    assert!(matches!(refused, Err(StorageError::File { .. })));
    assert!(!index.exists());
    std::fs::rename(directory.path().join("elsewhere"), &index).unwrap();
    assert!(
        open(directory.path())
            .await
            .head_bucket("things")
            .await
            .unwrap()
            .is_some()
    );
}
