//! `drift migrate`, on stores that need it, that do not, and that are none.

use std::path::Path;
use std::process::Output;

use crate::fixture::newest;
use crate::support::{Server, drift};

fn migrate(store: &Path, arguments: &[&str]) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = drift()
        .arg("migrate")
        .args(arguments)
        .env("DRIFT_STORAGE_PATH", store)
        .current_dir(store)
        .output()
        .unwrap();
    let said = [stdout, stderr].concat();
    (status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn the_newest_schema_has_nothing_to_do() {
    let store = newest();
    for arguments in [&["--dry-run"][..], &[]] {
        let (done, said) = migrate(store.path(), arguments);
        assert!(done && said.contains("nothing to do"), "{said}");
    }
}

#[test]
fn an_index_without_a_schema_is_damaged_and_not_changed() {
    let store = tempfile::tempdir().unwrap();
    let index = store.path().join("index.redb");
    drop(redb::Database::create(&index).unwrap());
    let before = std::fs::read(&index).unwrap();
    let (done, said) = migrate(store.path(), &["--dry-run"]);
    assert!(!done && said.contains("no schema"), "{said}");
    assert!(
        std::fs::read(&index).unwrap() == before,
        "the index changed"
    );
}

#[test]
fn a_running_store_and_no_store_are_refused() {
    let server = Server::start();
    let store = server.directory().join("drift-data");
    let (done, said) = migrate(&store, &["--dry-run"]);
    assert!(!done && said.contains("in use"), "{said}");
    let empty = tempfile::tempdir().unwrap();
    let (done, said) = migrate(empty.path(), &[]);
    assert!(!done && said.contains("no index"), "{said}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}
