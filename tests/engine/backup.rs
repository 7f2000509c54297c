//! Backups of the index, and stores that are put back to them.

use std::path::Path;

use drift::ghostbay::catalog::change_log::history::survey;
use drift::ghostbay::disk::OsDisk;
use drift::ghostbay::engine::StorageEngine;
use drift::ghostbay::rebuild::rebuild;
use drift::ghostbay::restore::{self, RestoreError};
use drift::ghostbay::schedule::Schedule;
use drift::ghostbay::{LocalStorageEngine, backup, full_copy};

use crate::support::*;

/// Takes a backup of the running store.
fn take(engine: &LocalStorageEngine, file: &Path) {
    let mut bytes = Vec::new();
    let mut gather = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    engine.back_up(&mut gather).unwrap();
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_restore_gives_what_the_backup_holds_and_what_it_undoes_never_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let engine = open(directory.path()).await;
    let (small, large) = (pattern(1, 1000), pattern(2, 2_000_000));
    put(&engine, "things", "small", &small).await;
    put(&engine, "things", "large", &large).await;
    take(&engine, file.path());
    let held = content_rows(&engine);
    put(&engine, "things", "later", &pattern(3, 1_000_000)).await;
    engine.delete_object("things", "small").await.unwrap();
    let running = restore::prepare(directory.path(), file.path(), None);
    assert!(running.is_err(), "a running store was restored");
    engine.close().await;
    let undone = content_rows(&engine);
    let packs = pack_bytes(&engine);
    drop(engine);

    // Looked at only, it changes nothing.
    let ready = restore::prepare(directory.path(), file.path(), None).unwrap();
    let (mut back, mut gone) = (0, 0);
    let known = ready.compare(|change| match (change.before, change.after) {
        (None, Some(_)) if change.key[0] == 0x05 => back += 1,
        (Some(_), None) if change.key[0] == 0x05 => gone += 1,
        _ => {}
    });
    assert!(known.unwrap());
    assert_eq!((back, gone), (1, 1), "the plan does not say what is undone");
    drop(ready);
    let engine = open(directory.path()).await;
    assert_eq!(content_rows(&engine), undone);
    engine.close().await;
    drop(engine);

    let ready = restore::prepare(directory.path(), file.path(), None).unwrap();
    ready
        .missing(|key, _| panic!("{key:?} is missing"))
        .unwrap();
    let aside = ready.apply().unwrap();
    assert!(aside.index.unwrap().exists());
    let engine = open(directory.path()).await;
    assert_eq!(content_rows(&engine), held);
    assert!(pack_bytes(&engine) >= packs, "a pack was cut");
    assert_eq!(get(&engine, "things", "small").await, Some(small));
    assert_eq!(get(&engine, "things", "large").await, Some(large));
    put(&engine, "things", "new", &pattern(4, 1_000_000)).await;
    let now = content_rows(&engine);
    engine.close().await;
    drop(engine);

    std::fs::remove_file(directory.path().join("index.redb")).unwrap();
    rebuild(directory.path()).unwrap();
    let engine = open(directory.path()).await;
    assert_eq!(content_rows(&engine), now);
    engine.close().await;
}

#[tokio::test]
async fn a_backup_of_another_store_or_one_that_is_not_whole_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = one.path().join("backup");
    for directory in [&one, &other] {
        let engine = open(directory.path()).await;
        put(&engine, "things", "key", &pattern(1, 1000)).await;
        engine.close().await;
    }
    let mut bytes = Vec::new();
    let mut gather = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    backup::of_stopped(one.path(), &mut gather).unwrap();
    std::fs::write(&file, &bytes).unwrap();
    restore::inspect(&file).unwrap();
    let refused = restore::prepare(other.path(), &file, None).err().unwrap();
    assert!(
        matches!(refused, RestoreError::OtherStore { .. }),
        "{refused}"
    );
    for end in (0..bytes.len()).step_by(7) {
        std::fs::write(&file, &bytes[..end]).unwrap();
        let refused = restore::prepare(one.path(), &file, None).err().unwrap();
        assert!(
            matches!(refused, RestoreError::Torn { .. }),
            "{end}: {refused}"
        );
        let mut damaged = bytes.clone();
        damaged[end] ^= 4;
        std::fs::write(&file, &damaged).unwrap();
        let refused = restore::prepare(one.path(), &file, None).err().unwrap();
        assert!(
            matches!(refused, RestoreError::Torn { .. }),
            "{end}: {refused}"
        );
    }
    bytes.push(0);
    std::fs::write(&file, &bytes).unwrap();
    assert!(restore::prepare(one.path(), &file, None).is_err());
    assert!(!one.path().join("index.redb.new").exists());
}

#[tokio::test]
async fn the_change_log_leads_from_a_backup_to_a_later_moment() {
    let directory = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let engine = open(directory.path()).await;
    put(&engine, "things", "first", &pattern(1, 1000)).await;
    take(&engine, file.path());
    let mut states = Vec::new();
    for n in 0..5 {
        put(&engine, "things", &format!("{n}"), &pattern(n, 1000)).await;
        states.push((drift::ghostbay::now_ms(), content_rows(&engine)));
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    engine.close().await;
    drop(engine);
    let before = std::fs::read(directory.path().join("index.redb")).unwrap();
    let too_young = restore::prepare(directory.path(), file.path(), Some(1000)).err();
    assert!(matches!(too_young, Some(RestoreError::TooYoung)));
    assert!(before == std::fs::read(directory.path().join("index.redb")).unwrap());
    let (moment, state) = &states[2];
    let ready = restore::prepare(directory.path(), file.path(), Some(*moment)).unwrap();
    ready.apply().unwrap();
    let engine = open(directory.path()).await;
    assert_eq!(&content_rows(&engine), state);
    engine.close().await;
    drop(engine);
    // The log leads from that backup no further: what came behind it was undone.
    let refused = restore::prepare(directory.path(), file.path(), Some(u64::MAX)).err();
    assert!(
        matches!(refused, Some(RestoreError::NoWay { .. })),
        "{refused:?}"
    );
    restore::prepare(directory.path(), file.path(), None).unwrap();
    assert!(
        survey(&OsDisk, &directory.path().join("log"))
            .unwrap()
            .branch
            > 0
    );
}

#[tokio::test]
async fn what_the_packs_do_not_hold_is_said_and_healed_by_a_push() {
    let directory = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let engine = open(directory.path()).await;
    let bytes = pattern(1, 1_000_000);
    let digest = sha256(&bytes);
    let key = drift::ghostbay::blob_key(&digest);
    put(&engine, BUCKET, &key, &bytes).await;
    take(&engine, file.path());
    engine.close().await;
    drop(engine);
    let pack = directory.path().join("packs/0001-000000000001.pack");
    let pack = std::fs::File::options().write(true).open(pack).unwrap();
    pack.set_len(500_000).unwrap();
    let ready = restore::prepare(directory.path(), file.path(), None).unwrap();
    let mut missing = Vec::new();
    ready.missing(|key, _| missing.push(key.key)).unwrap();
    assert_eq!(missing.as_slice(), std::slice::from_ref(&key));
    ready.apply().unwrap();
    let engine = open(directory.path()).await;
    assert_eq!(blob(&engine, &digest).await, None);
    put(&engine, BUCKET, &key, &bytes).await;
    assert_eq!(blob(&engine, &digest).await, Some(bytes));
    engine.close().await;
}

#[tokio::test]
async fn a_store_starts_from_a_full_copy_and_a_second_copy_takes_what_is_new() {
    let directory = tempfile::tempdir().unwrap();
    let parent = tempfile::tempdir().unwrap();
    let to = parent.path().join("copy");
    let engine = open(directory.path()).await;
    put(&engine, "things", "first", &pattern(1, 3_000_000)).await;
    let mut taken = Vec::new();
    for round in 0..2 {
        let copy = full_copy::begin(&to).unwrap();
        assert!(!to.join("index.redb").exists(), "a half copy looks whole");
        take(&engine, &copy.snapshot());
        let held = content_rows(&engine);
        // Written behind the snapshot and before the packs are copied.
        put(
            &engine,
            "things",
            &format!("{round}"),
            &pattern(5, 1_000_000),
        )
        .await;
        let copied = copy.finish(directory.path()).unwrap();
        assert!(copied.missing.is_empty());
        taken.push((copied.pack_bytes, held));
    }
    assert!(taken[0].0 > 3_000_000);
    assert!(taken[1].0 < 1_500_000, "{} bytes copied again", taken[1].0);
    engine.close().await;
    let started = open(&to).await;
    assert_eq!(content_rows(&started), taken[1].1);
    assert_eq!(
        get(&started, "things", "first").await,
        Some(pattern(1, 3_000_000))
    );
    assert_eq!(
        get(&started, "things", "0").await,
        Some(pattern(5, 1_000_000))
    );
    put(&started, "things", "own", &pattern(6, 1000)).await;
    started.close().await;
    assert!(
        full_copy::begin(&to).is_err(),
        "a store was overwritten by a copy"
    );
}

#[tokio::test]
async fn scheduled_backups_are_whole_and_the_oldest_go() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("backups");
    let engine = open(&directory.path().join("store")).await;
    put(&engine, "things", "key", &pattern(1, 1000)).await;
    let schedule = Schedule {
        every: std::time::Duration::from_secs(3600),
        to: to.clone(),
        keep: 2,
    };
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(schedule.take(&engine).unwrap());
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let mut found: Vec<_> = std::fs::read_dir(&to)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    assert_eq!(found, taken[2..]);
    for file in found {
        restore::inspect(&file).unwrap();
    }
    engine.close().await;
}
