//! Backups of the index, and stores that are put back to them.

use drift::ghostbay::catalog::change_log::file::{LogHeader, LogReader};
use drift::ghostbay::catalog::change_log::history::survey;
use drift::ghostbay::catalog::change_log::state;
use drift::ghostbay::disk::OsDisk;
use drift::ghostbay::engine::StorageEngine;
use drift::ghostbay::objects::{OBJECTS, ObjectKey, blob_row};
use drift::ghostbay::rebuild::rebuild;
use drift::ghostbay::restore::{self, RestoreError};
use drift::ghostbay::schedule::Schedule;
use drift::ghostbay::{LocalStorageEngine, backup};

use tokio_util::sync::CancellationToken;

use crate::support::*;

#[tokio::test]
async fn a_restore_gives_what_the_backup_holds_and_what_it_undoes_never_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let engine = open(directory.path()).await;
    let (small, large) = (pattern(1, 1000), pattern(2, 2_000_000));
    put(&engine, "things", "small", &small).await;
    put(&engine, "things", "large", &large).await;
    take_backup(&engine, file.path());
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
    take_backup(&engine, file.path());
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
    take_backup(&engine, file.path());
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
async fn a_store_whose_index_is_damaged_is_restored_and_its_log_says_what_that_undoes() {
    let directory = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let engine = open(directory.path()).await;
    put(&engine, "things", "key", &pattern(1, 1000)).await;
    take_backup(&engine, file.path());
    let held = content_rows(&engine);
    let lost = (0..300).map(|n| format!("a key that is long enough for many pages, {n}"));
    for key in lost.clone() {
        put(&engine, "things", &key, &pattern(3, 10)).await;
    }
    engine.close().await;
    drop(engine);
    let index = directory.path().join("index.redb");
    let whole = std::fs::read(&index).unwrap();
    // Every page but the first, which says where the others are, and then that one as well.
    for from in [4096, 0] {
        let mut bytes = whole.clone();
        for byte in bytes[from..].iter_mut().step_by(64) {
            *byte ^= 0x55;
        }
        std::fs::write(&index, &bytes).unwrap();
        let ready = restore::prepare(directory.path(), file.path(), None).unwrap();
        let mut gone = 0;
        let known = ready.compare(|change| {
            gone += usize::from(change.key[0] == 0x05 && change.after.is_none());
        });
        assert!(known.unwrap());
        assert_eq!(gone, lost.clone().count());
        if from == 0 {
            ready.apply().unwrap();
        }
    }
    let engine = open(directory.path()).await;
    assert_eq!(content_rows(&engine), held);
    engine.close().await;
    assert!(!directory.path().join("index.redb.current").exists());
}

#[tokio::test]
async fn a_backup_of_a_newer_schema_is_refused_by_both_versions() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let engine = open(&directory.path().join("store")).await;
    let header = engine.back_up(&mut |_| Ok(())).unwrap().header;
    let newer = LogHeader {
        schema: header.schema + 1,
        ..header
    };
    let mut bytes = Vec::new();
    let write = &mut |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    state::write(newer, &engine.catalog().read().unwrap(), write).unwrap();
    std::fs::write(&file, bytes).unwrap();
    restore::inspect(&file).unwrap();
    engine.close().await;
    drop(engine);
    let refused = restore::prepare(&directory.path().join("store"), &file, None).err();
    let Some(RestoreError::NewerSchema { found, known, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((found, known), (newer.schema, header.schema));
}

/// The `n`th object of many with long names.
fn long_name(n: usize) -> ObjectKey {
    ObjectKey::new("things", format!("{n:01000}"))
}

/// Fills the store with so many that a backup of it takes several frames.
async fn fill_frames(engine: &LocalStorageEngine) {
    let many = engine.catalog().transact(|transaction| {
        for n in 0..4000 {
            let row = blob_row(&sha256(b""), 0, Vec::new(), 1);
            transaction.put(&OBJECTS, &long_name(n), &row)?;
        }
        Ok::<_, drift::ghostbay::catalog::CatalogError>(())
    });
    many.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_while_the_store_is_written_is_of_its_last_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let store = directory.path().join("store");
    let engine = open(&store).await;
    fill_frames(&engine).await;
    let mut bytes = Vec::new();
    let mut change = |piece: &[u8]| {
        // Before what was read, behind it, and where the backup stands: each a transaction.
        let at = bytes.len() / 1100;
        for n in [at, 4000usize.abs_diff(at), at / 2, 5000 + at].map(long_name) {
            let row = blob_row(&sha256(b"new"), 3, Vec::new(), at as u64);
            let changed = engine
                .catalog()
                .transact_blocking(move |transaction| match at % 3 {
                    0 => transaction.delete(&OBJECTS, &n).map(drop),
                    _ => transaction.put(&OBJECTS, &n, &row),
                });
            changed.unwrap().unwrap();
        }
        bytes.extend_from_slice(piece);
        Ok(())
    };
    let contents = tokio::task::block_in_place(|| engine.back_up(&mut change)).unwrap();
    assert!(contents.sequence > contents.header.sequence + 10);
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(restore::inspect(&file).unwrap(), contents);
    engine.close().await;
    drop(engine);

    // The log tells as well what was there then, and what came later.
    let ready = restore::prepare(&store, &file, Some(contents.time_ms - 1)).err();
    assert!(matches!(ready, Some(RestoreError::TooYoung)), "{ready:?}");
    let ready = restore::prepare(&store, &file, Some(u64::MAX)).unwrap();
    let mut differ = 0;
    assert!(ready.compare(|_| differ += 1).unwrap());
    assert_eq!(differ, 0, "with the log behind it, it is not the store");
    drop(ready);
    let ready = restore::prepare(&store, &file, None).unwrap();
    let mut undone = 0;
    ready
        .compare(|change| undone += usize::from(change.key[0] == 0x05))
        .unwrap();
    assert!(undone > 0, "nothing came later");
}

#[tokio::test]
async fn a_backup_that_ends_where_a_frame_does_is_torn() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let file = directory.path().join("backup");
    let engine = open(&store).await;
    fill_frames(&engine).await;
    take_backup(&engine, &file);
    engine.close().await;
    drop(engine);
    let bytes = std::fs::read(&file).unwrap();
    let mut reader = LogReader::open(&OsDisk, &file).unwrap();
    let mut ends = vec![reader.position()];
    while reader.next_frame().unwrap().is_some() {
        ends.push(reader.position());
    }
    assert_eq!(ends.pop(), Some(bytes.len() as u64));
    assert!(ends.len() > 3, "{} frames", ends.len());
    for end in ends {
        // At its end, within the next one's header, and within its rows.
        for end in [end, end + 1, end + 40] {
            std::fs::write(&file, &bytes[..end as usize]).unwrap();
            let refused = restore::prepare(&store, &file, None).err();
            assert!(
                matches!(refused, Some(RestoreError::Torn { .. })),
                "{end} of {}: {refused:?}",
                bytes.len()
            );
        }
    }
    open(&store).await.close().await;
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
    std::fs::create_dir(&to).unwrap();
    // What a kill left of one is nobody's; files of other names are their owner's.
    std::fs::write(to.join("drift-17.backup.tmp"), "half").unwrap();
    let others = ["drift-17.tmp", "notes.backup.tmp", "drift-x.backup"].map(|name| to.join(name));
    for other in &others {
        std::fs::write(other, "").unwrap();
    }
    for _ in 0..4 {
        taken.push(schedule.take(&engine, &CancellationToken::new()).unwrap());
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let mut found: Vec<_> = std::fs::read_dir(&to)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.retain(|path| !others.contains(path));
    found.sort();
    assert_eq!(found, taken[2..]);
    assert!(others.iter().all(|other| other.exists()));
    for file in &found {
        restore::inspect(file).unwrap();
    }
    // One that is cancelled leaves nothing, and takes nothing away.
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let refused = schedule.take(&engine, &cancelled).unwrap_err();
    assert!(refused.to_string().contains("cancelled"), "{refused:#}");
    assert!(found.iter().all(|file| file.exists()));
    let left = std::fs::read_dir(&to).unwrap().count();
    assert_eq!(left, found.len() + others.len());
    engine.close().await;
}
