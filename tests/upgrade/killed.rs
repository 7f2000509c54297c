//! A migration of several steps that is killed at every call that changes the disk.
//!
//! The process that migrates is this test program, called again for one test alone. The steps are
//! made up: they move a row for each tag from table to table.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use drift::ghostbay::catalog::schema::{MetaRow, Step};
use drift::ghostbay::catalog::{CatalogError, IndexPlace, OpenCatalog, Rows, Table, Transaction};
use drift::ghostbay::disk::OsDisk;
use drift::registry::tables::{TAGS, TagKey, TagRow};

use crate::fixture::newest;
use crate::tracer::{Kill, Moment, Tracer};

const DIRECTORY: &str = "DRIFT_TEST_MIGRATE";
/// So many migrations must end without a call left to kill at.
const WHOLE_RUNS: u32 = 3;

const FIRST: Table<TagKey, MetaRow> = Table::new(0x7b, "first");
const SECOND: Table<TagKey, MetaRow> = Table::new(0x7c, "second");

type Apply = fn(&mut Transaction<'_>) -> Result<(), CatalogError>;

/// The newest version that there is.
fn released() -> u32 {
    drift::migrations::STEPS.last().unwrap().version
}

fn note_each_tag(transaction: &mut Transaction<'_>) -> Result<(), CatalogError> {
    for (tag, _) in rows(transaction, &TAGS)? {
        transaction.put(&FIRST, &tag, &MetaRow::Number(1))?;
    }
    Ok(())
}

fn move_notes(transaction: &mut Transaction<'_>) -> Result<(), CatalogError> {
    for (tag, row) in rows(transaction, &FIRST)? {
        // Not to be done twice: each time adds one.
        let MetaRow::Number(number) = row else {
            unreachable!("only numbers are written")
        };
        transaction.delete(&FIRST, &tag)?;
        transaction.put(&SECOND, &tag, &MetaRow::Number(number + 1))?;
    }
    Ok(())
}

fn raise_notes(transaction: &mut Transaction<'_>) -> Result<(), CatalogError> {
    for (tag, row) in rows(transaction, &SECOND)? {
        let MetaRow::Number(number) = row else {
            unreachable!("only numbers are written")
        };
        transaction.put(&SECOND, &tag, &MetaRow::Number(number + 1))?;
    }
    Ok(())
}

fn rows<V: drift::ghostbay::catalog::Value + 'static>(
    rows: &impl Rows,
    table: &'static Table<TagKey, V>,
) -> Result<Vec<(TagKey, V)>, CatalogError> {
    rows.scan(table, &[], None)?.collect()
}

/// The made-up steps behind the newest version, the first `number` of them.
fn steps(number: usize) -> Vec<Step> {
    let made_up: [Apply; 3] = [note_each_tag, move_notes, raise_notes];
    let released = released();
    let first = Step {
        version: released,
        name: "released",
        apply: |_| Ok(()),
    };
    let behind = made_up
        .iter()
        .zip(released + 1..)
        .map(|(apply, version)| Step {
            version,
            name: "made up",
            apply: *apply,
        });
    std::iter::once(first).chain(behind.take(number)).collect()
}

fn place(store: &Path) -> IndexPlace {
    IndexPlace {
        disk: Arc::new(OsDisk),
        path: store.join("index.redb"),
        cache_bytes: 1 << 20,
    }
}

/// Called by `nothing_is_lost_by_a_kill_in_a_migration`, in a process of its own.
#[test]
fn migrates_if_told_to() {
    if let Some(store) = std::env::var_os(DIRECTORY) {
        OpenCatalog::open(place(&PathBuf::from(store)), &steps(3)).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(copied.unwrap().success());
}

fn tags(catalog: &OpenCatalog) -> Vec<(TagKey, TagRow)> {
    rows(&catalog.read().unwrap(), &TAGS).unwrap()
}

/// Sees that the steps up to `version` were made once each, and no other in part.
fn check_notes(catalog: &OpenCatalog, version: u32, tags: &[(TagKey, TagRow)]) {
    let snapshot = catalog.read().unwrap();
    let expected = |number: Option<u64>| -> Vec<(TagKey, MetaRow)> {
        number.map_or(Vec::new(), |number| {
            let notes = tags
                .iter()
                .map(|(tag, _)| (tag.clone(), MetaRow::Number(number)));
            notes.collect()
        })
    };
    let (first, second) = match version - released() {
        0 => (None, None),
        1 => (Some(1), None),
        2 => (None, Some(2)),
        3 => (None, Some(3)),
        behind => panic!("{behind} steps were made"),
    };
    assert_eq!(
        rows(&snapshot, &FIRST).unwrap(),
        expected(first),
        "v{version}"
    );
    assert_eq!(
        rows(&snapshot, &SECOND).unwrap(),
        expected(second),
        "v{version}"
    );
}

#[test]
fn nothing_is_lost_by_a_kill_in_a_migration() {
    let original = newest();
    let before = tags(&OpenCatalog::open(place(original.path()), &steps(0)).unwrap());
    assert!(before.len() > 3, "{before:?}");
    let mut found = std::collections::BTreeMap::<u32, u32>::new();
    for moment in [Moment::Before, Moment::After] {
        let mut whole_runs = 0;
        for number in 1.. {
            let store = tempfile::tempdir().unwrap();
            copy(original.path(), store.path());
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["--exact", "killed::migrates_if_told_to"])
                .env(DIRECTORY, store.path())
                .stdout(Stdio::null());
            let kill = Kill { number, moment };
            let migrated = Tracer::start(command, store.path(), kill).wait();
            let version = OpenCatalog::version(&place(store.path())).unwrap().unwrap();
            *found.entry(version).or_default() += 1;
            let made = (version - released()) as usize;
            let catalog = OpenCatalog::open(place(store.path()), &steps(made)).unwrap();
            check_notes(&catalog, version, &before);
            drop(catalog);
            let catalog = OpenCatalog::open(place(store.path()), &steps(3)).unwrap();
            check_notes(&catalog, released() + 3, &before);
            assert_eq!(tags(&catalog), before);
            drop(catalog);
            if migrated.killed_at.is_none() {
                whole_runs += 1;
                assert_eq!(made, 3, "a migration that was not killed is not done");
            }
            if whole_runs == WHOLE_RUNS {
                break;
            }
        }
    }
    println!("versions found behind kills: {found:?}");
    for made in 0..=3 {
        assert!(found.contains_key(&(released() + made)), "{found:?}");
    }
}
