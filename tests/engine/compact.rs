//! Packs of which little is left alive are rewritten, while everything goes on.

use std::path::Path;
use std::time::Duration;

use drift::digest::Algorithm;
use drift::ghostbay::catalog::Rows;
use drift::ghostbay::compact::Compacted;
use drift::ghostbay::compact::plan::{Decision, Plan};
use drift::ghostbay::engine::*;
use drift::ghostbay::objects::{OBJECTS, ObjectKey};
use drift::ghostbay::pack::PackOptions;
use drift::ghostbay::uploads::Append;
use drift::ghostbay::{EngineOptions, LocalStorageEngine, blob_key};
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// A store that gives back at once, in packs of a MiB.
async fn open_in_small_packs(directory: &Path) -> LocalStorageEngine {
    let options = EngineOptions {
        keep: Duration::ZERO,
        packs: PackOptions {
            pack_bytes_max: 1 << 20,
            reserve_bytes: 64 << 10,
            idle_trim: Duration::ZERO,
        },
        ..EngineOptions::default()
    };
    LocalStorageEngine::open(directory, options).await.unwrap()
}

/// A plan that rewrites every pack, whatever is alive in it.
fn everything(engine: &LocalStorageEngine) -> Plan {
    let mut plan = engine.compactor().plan().unwrap();
    for pack in &mut plan.packs {
        pack.decision = Decision::Rewrite;
    }
    plan
}

/// Rewrites every pack that nobody appends to.
fn rewrite(engine: &LocalStorageEngine) -> Compacted {
    let (plan, stop) = (everything(engine), CancellationToken::new());
    let compactor = engine.compactor();
    tokio::task::block_in_place(|| compactor.execute(&plan, 0, &stop).unwrap())
}

/// The same, with the pack that short bodies go to: whoever has it lets go when the next one comes.
async fn rewrite_all(engine: &LocalStorageEngine) -> Compacted {
    rewrite(engine);
    put(engine, "things", "another", &pattern(7, 100)).await;
    rewrite(engine)
}

fn extents_of(engine: &LocalStorageEngine, bucket: &str, key: &str) -> usize {
    let rows = engine.catalog().read().unwrap();
    let row = rows.get(&OBJECTS, &ObjectKey::new(bucket, key)).unwrap();
    row.unwrap().extents.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_mostly_dead_packs_moves_and_they_go() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_in_small_packs(directory.path()).await;
    // Too short for a whole block each: none of it can be punched.
    for n in 0..2000 {
        put(&engine, "things", &format!("{n}"), &pattern(n, 3000)).await;
    }
    for n in (0..2000).filter(|n| n % 10 != 0) {
        engine
            .delete_object("things", &format!("{n}"))
            .await
            .unwrap();
    }
    engine.reclaim().await.unwrap();
    let before = pack_bytes(&engine);
    assert!(before > 5 << 20, "{before}");
    let plan = engine.compactor().plan().unwrap();
    let rewrites = |plan: &Plan| {
        let packs = plan.packs.iter();
        packs
            .filter(|pack| pack.decision == Decision::Rewrite)
            .count()
    };
    assert!(rewrites(&plan) >= 5, "{plan:#?}");
    let done = engine.compact(0).await.unwrap();
    assert_eq!(done.packs as usize, rewrites(&plan));
    assert_eq!((done.emptied, done.damaged), (done.packs, 0));
    assert_eq!(engine.reclaim().await.unwrap().packs, done.packs);
    let after = pack_bytes(&engine);
    assert!(after < before / 4, "{before} {after}");
    for n in (0..2000).step_by(10) {
        let found = get(&engine, "things", &format!("{n}")).await;
        assert_eq!(found, Some(pattern(n, 3000)));
    }
    assert_eq!(rewrites(&engine.compactor().plan().unwrap()), 0);
    assert_undamaged(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_in_many_pieces_becomes_few_and_uploads_and_parts_move_along() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_in_small_packs(directory.path()).await;
    let bytes = pattern(5, 400_000);
    let id = engine
        .uploads()
        .begin("a", Algorithm::Sha256)
        .await
        .unwrap()
        .id;
    let piece = |from: usize, to: usize| Append {
        start: Some(from as u64),
        length: Some((to - from) as u64),
        body: body(&bytes.slice(from..to)),
    };
    for at in 0..20 {
        let piece = piece(at * 10_000, (at + 1) * 10_000);
        engine.uploads().append("a", &id, piece).await.unwrap();
    }
    let upload = engine
        .create_multipart_upload(CreateMultipartUploadRequest {
            bucket: "things".into(),
            key: "parts".into(),
            content_type: String::new(),
            metadata: None,
        })
        .await
        .unwrap();
    let part = pattern(6, 50_000);
    let etag = engine
        .upload_part(UploadPartRequest {
            bucket: "things".into(),
            key: "parts".into(),
            upload_id: upload.clone(),
            part_number: 1,
            data: body(&part),
        })
        .await
        .unwrap();
    let done = rewrite_all(&engine).await;
    assert!(done.copied_bytes >= 250_000, "{done:?}");
    engine.reclaim().await.unwrap();
    for at in 20..40 {
        let piece = piece(at * 10_000, (at + 1) * 10_000);
        engine.uploads().append("a", &id, piece).await.unwrap();
    }
    let digest = sha256(&bytes);
    engine
        .uploads()
        .finish("a", &id, &digest, BUCKET, None, nothing)
        .await
        .unwrap();
    let key = blob_key(&digest);
    assert!(extents_of(&engine, BUCKET, &key) > 20);
    engine
        .complete_multipart_upload(CompleteMultipartUploadRequest {
            bucket: "things".into(),
            key: "parts".into(),
            upload_id: upload,
            parts: vec![MultipartUploadPart {
                part_number: 1,
                etag,
                size: 50_000,
            }],
        })
        .await
        .unwrap();
    rewrite_all(&engine).await;
    engine.reclaim().await.unwrap();
    assert!(extents_of(&engine, BUCKET, &key) < 5);
    assert_eq!(blob(&engine, &digest).await, Some(bytes));
    assert_eq!(get(&engine, "things", "parts").await, Some(part));
    assert_undamaged(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_go_on_sharing_their_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_in_small_packs(directory.path()).await;
    let bytes = pattern(1, 600_000);
    put(&engine, "things", "a", &bytes).await;
    // So many lie between the two that they are moved in different transactions.
    for n in 0..300 {
        put(&engine, "things", &format!("b{n}"), &pattern(n, 100)).await;
    }
    engine
        .copy_object(CopyObjectRequest {
            source_bucket: "things".into(),
            source_key: "a".into(),
            bucket: "things".into(),
            key: "c".into(),
        })
        .await
        .unwrap();
    let before = live_bytes(&engine);
    let done = rewrite_all(&engine).await;
    assert!(done.emptied > 0, "{done:?}");
    let after = live_bytes(&engine);
    assert!(
        after < before + 10_000,
        "{before} {after}: the bytes are there twice"
    );
    engine.reclaim().await.unwrap();
    assert_eq!(get(&engine, "things", "c").await, Some(bytes.clone()));
    engine.delete_object("things", "a").await.unwrap();
    engine.reclaim().await.unwrap();
    assert_eq!(get(&engine, "things", "c").await, Some(bytes));
    assert_undamaged(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_pulls_and_deletes_go_on_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_in_small_packs(directory.path()).await;
    let stop = CancellationToken::new();
    let compacting = std::thread::spawn({
        let (engine, stop) = (engine.clone(), stop.clone());
        move || {
            let mut copied = 0;
            while !stop.is_cancelled() {
                let done = engine
                    .compactor()
                    .execute(&everything(&engine), 0, &stop)
                    .unwrap();
                copied += done.copied_bytes;
                let reclaimed = engine.reclaimer().run(Duration::ZERO, &stop);
                reclaimed.unwrap();
            }
            copied
        }
    });
    let clients = (0..4u64).map(|client| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let length = |n: u64| 1 + (n * 7919 + client * 104_729) as usize % 400_000;
            for n in 0..150u64 {
                let key = |n: u64| format!("{client}-{n}");
                put(&engine, "things", &key(n), &pattern(n, length(n))).await;
                for back in [0, 3, 9] {
                    if let Some(n) = n.checked_sub(back) {
                        let found = get(&engine, "things", &key(n)).await;
                        assert!(found == Some(pattern(n, length(n))), "{client} {n}");
                    }
                }
                if let Some(n) = n.checked_sub(10) {
                    engine.delete_object("things", &key(n)).await.unwrap();
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    stop.cancel();
    let copied = compacting.join().unwrap();
    assert!(copied > 1 << 20, "{copied}");
    assert_undamaged(&engine);
}

async fn set_paused(engine: &LocalStorageEngine, paused: bool) {
    let compactor = engine.compactor().clone();
    let set = tokio::task::spawn_blocking(move || compactor.pause(paused));
    set.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_lasts_until_it_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    for (found, set) in [(false, true), (true, true), (true, false), (false, false)] {
        let engine = open_in_small_packs(directory.path()).await;
        assert_eq!(engine.compactor().state().paused, found);
        set_paused(&engine, set).await;
        assert_eq!(engine.compactor().state().paused, set);
        engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_is_paused_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_in_small_packs(directory.path()).await;
    put(&engine, "things", "a", &pattern(1, 3_000_000)).await;
    set_paused(&engine, true).await;
    let plan = everything(&engine);
    let running = std::thread::spawn({
        let engine = engine.clone();
        move || {
            engine
                .compactor()
                .execute(&plan, 0, &CancellationToken::new())
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let state = engine.compactor().state();
    assert!(state.paused && state.running, "{state:?}");
    // One window at most.
    assert!(state.copied_bytes <= 1 << 20, "{state:?}");
    set_paused(&engine, false).await;
    let done = running.join().unwrap().unwrap();
    assert!(done.copied_bytes > 2_000_000 && !done.stopped, "{done:?}");
    assert_eq!(
        get(&engine, "things", "a").await,
        Some(pattern(1, 3_000_000))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_stay_where_they_are_and_are_said() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_in_small_packs(directory.path()).await;
    let bytes = pattern(1, 600_000);
    let digest = sha256(&bytes);
    put(&engine, BUCKET, &blob_key(&digest), &bytes).await;
    put(&engine, "things", "other", &pattern(2, 300_000)).await;
    let rows = engine.catalog().read().unwrap();
    let row = rows.get(&OBJECTS, &ObjectKey::new(BUCKET, blob_key(&digest)));
    let extent = row.unwrap().unwrap().extents[0];
    drop(rows);
    let path = directory.path().join(format!("packs/{}.pack", extent.pack));
    let file = std::fs::File::options().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"damage", extent.offset + 1000).unwrap();
    let done = rewrite(&engine);
    assert!(done.damaged > 0 && done.emptied < done.packs, "{done:?}");
    engine.reclaim().await.unwrap();
    // As behind a read that meets it: a push heals it.
    assert_eq!(blob(&engine, &digest).await, None);
    put(&engine, BUCKET, &blob_key(&digest), &bytes).await;
    assert_eq!(blob(&engine, &digest).await, Some(bytes));
    assert_eq!(
        get(&engine, "things", "other").await,
        Some(pattern(2, 300_000))
    );
}
