//! Full copies of a store: its packs and keys, and a backup of its index.

use std::path::Path;

use drift::ghostbay::check::CheckedStore;
use drift::ghostbay::check::store::Stopped;
use drift::ghostbay::{LocalStorageEngine, full_copy};

use crate::support::*;

/// A full copy of a running store.
fn copy(engine: &LocalStorageEngine, from: &Path, to: &Path) -> full_copy::Copied {
    let copy = full_copy::begin(to).unwrap();
    take_backup(engine, &copy.snapshot());
    copy.finish(from, &mut |_, _| {}).unwrap()
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
        take_backup(&engine, &copy.snapshot());
        let held = content_rows(&engine);
        // Written behind the snapshot and before the packs are copied.
        put(
            &engine,
            "things",
            &format!("{round}"),
            &pattern(5, 1_000_000),
        )
        .await;
        let copied = copy.finish(directory.path(), &mut |_, _| {}).unwrap();
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
async fn a_full_copy_that_was_checked_is_still_one_and_no_two_copies_are_made_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("store"), directory.path().join("to"));
    let engine = open(&from).await;
    put(&engine, "things", "key", &pattern(1, 1000)).await;
    copy(&engine, &from, &to);
    let checked = CheckedStore::open_stopped(&to, &Default::default()).unwrap();
    assert!(matches!(checked, Stopped::Open(_, None)));
    drop(checked);
    copy(&engine, &from, &to);
    let one = full_copy::begin(&to).unwrap();
    assert!(full_copy::begin(&to).is_err(), "two copies at once");
    drop(one);
    engine.close().await;
}

#[tokio::test]
async fn a_full_copy_says_how_many_objects_neither_it_nor_the_store_holds() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("store"), directory.path().join("to"));
    let engine = open(&from).await;
    for n in 0..3 {
        put(&engine, "things", &format!("{n}"), &pattern(n, 1_000_000)).await;
    }
    assert_eq!(copy(&engine, &from, &to).incomplete, 0);
    let pack = from.join("packs/0001-000000000001.pack");
    let pack = std::fs::File::options().write(true).open(pack).unwrap();
    pack.set_len(1_500_000).unwrap();
    // What the copy holds already it keeps.
    assert_eq!(copy(&engine, &from, &to).incomplete, 0);
    let second = directory.path().join("second");
    assert_eq!(copy(&engine, &from, &second).incomplete, 2);
    engine.close().await;
}

#[tokio::test]
async fn keys_are_copied_for_their_owner_alone_and_go_when_they_have_gone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("store"), directory.path().join("to"));
    let engine = open(&from).await;
    let keys = from.join("keys");
    std::fs::create_dir(&keys).unwrap();
    for name in ["old", "stays"] {
        std::fs::write(keys.join(name), name).unwrap();
        let open_to_all = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(keys.join(name), open_to_all).unwrap();
    }
    copy(&engine, &from, &to);
    assert_eq!(std::fs::read(to.join("keys/old")).unwrap(), b"old");
    std::fs::remove_file(keys.join("old")).unwrap();
    std::fs::write(keys.join("stays"), "anew").unwrap();
    copy(&engine, &from, &to);
    engine.close().await;
    let mode = |name: &str| {
        let found = std::fs::metadata(to.join(name)).unwrap();
        found.permissions().mode() & 0o777
    };
    assert_eq!((mode("keys"), mode("keys/stays")), (0o700, 0o600));
    assert_eq!(std::fs::read(to.join("keys/stays")).unwrap(), b"anew");
    assert!(!to.join("keys/old").exists());
}
