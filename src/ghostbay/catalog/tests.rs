use std::io;
use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::ghostbay::disk::OsDisk;
use crate::ghostbay::pack::{PackId, SmallBody};

const NAMES: Table<String, Name> = Table::new(0x7e, "names");

#[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
struct Name(u64);

impl Value for Name {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "u64";
}

const STEPS: &[schema::Step] = &[schema::Step {
    version: 1,
    name: "initial",
    apply: |transaction| schema::set_identity(transaction, uuid::Uuid::from_u128(7)),
}];

#[derive(Default, Clone)]
struct Heard(Arc<Mutex<Vec<(u64, usize)>>>);

impl CommitListener for Heard {
    fn committed(&mut self, sequence: u64, changes: &[Change], _: &ReadCatalog) {
        self.0.lock().unwrap().push((sequence, changes.len()));
    }

    fn reopened(&mut self, _: u64) {}
}

struct Bodies;

impl SmallBodies for Bodies {
    fn append(&mut self, bodies: &[&SmallBody]) -> io::Result<Vec<Extent>> {
        bodies
            .iter()
            .map(|body| match body.bytes.as_ref() {
                b"fail" => Err(io::Error::other("told to")),
                body => Ok(Extent {
                    pack: PackId::new(1, 1),
                    offset: 4096,
                    length: body.len() as u64,
                }),
            })
            .collect()
    }

    fn rest(&mut self) {}
}

fn place(directory: &Path) -> IndexPlace {
    IndexPlace {
        disk: Arc::new(OsDisk),
        path: directory.join("index.redb"),
        cache_bytes: 1 << 20,
    }
}

fn open(directory: &Path, heard: &Heard) -> Catalog {
    OpenCatalog::open(place(directory), STEPS)
        .unwrap()
        .start(Box::new(Bodies), Box::new(heard.clone()))
        .unwrap()
}

async fn put(catalog: &Catalog, name: &str, value: u64) -> Result<(), CatalogError> {
    let name = name.to_owned();
    catalog
        .transact(move |transaction| transaction.put(&NAMES, &name, &Name(value)))
        .await
}

fn names(rows: &impl Rows, prefix: &str, after: Option<&str>) -> Vec<String> {
    rows.scan(&NAMES, prefix.as_bytes(), after.map(str::as_bytes))
        .unwrap()
        .map(|row| row.unwrap().0)
        .collect()
}

#[tokio::test]
async fn committed_rows_are_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let heard = Heard::default();
    let catalog = open(directory.path(), &heard);
    put(&catalog, "b", 2).await.unwrap();
    put(&catalog, "a", 1).await.unwrap();
    catalog.close();
    assert!(matches!(
        put(&catalog, "c", 3).await,
        Err(CatalogError::Closed)
    ));
    drop(catalog);
    let catalog = open(directory.path(), &heard);
    let rows = catalog.read().unwrap();
    assert_eq!(names(&rows, "", None), ["a", "b"]);
    assert_eq!(rows.get(&NAMES, &"b".to_owned()).unwrap(), Some(Name(2)));
    assert_eq!(schema::store_id(&rows).unwrap(), uuid::Uuid::from_u128(7));
    // The migration was transaction 1; the second opening made none.
    let sequences: Vec<u64> = heard.0.lock().unwrap().iter().map(|(s, _)| *s).collect();
    assert_eq!(sequences, [2, 3]);
}

#[tokio::test]
async fn scans_keep_to_their_prefix_and_begin_after_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = open(directory.path(), &Heard::default());
    for name in ["a", "a/b", "ab", "b"] {
        put(&catalog, name, 0).await.unwrap();
    }
    let rows = catalog.read().unwrap();
    assert_eq!(names(&rows, "a", None), ["a", "a/b", "ab"]);
    assert_eq!(names(&rows, "a", Some("a\0")), ["a/b", "ab"]);
    assert_eq!(names(&rows, "a", Some("a/")), ["a/b", "ab"]);
    assert_eq!(names(&rows, "b", Some("a")), ["b"]);
    assert_eq!(names(&rows, "a", Some("zzz")), [""; 0]);
    assert_eq!(names(&rows, "", Some("ab\0")), ["b"]);
}

#[tokio::test]
async fn a_refused_operation_leaves_no_trace_and_its_neighbours_are_committed() {
    let directory = tempfile::tempdir().unwrap();
    let heard = Heard::default();
    let catalog = open(directory.path(), &heard);
    // Many at once, so that good and bad ones share transactions.
    let work = (0..200u64).map(|n| {
        let catalog = catalog.clone();
        async move {
            catalog
                .transact(move |transaction| {
                    transaction.put(&NAMES, &format!("{n:03}"), &Name(n))?;
                    if n % 3 == 0 {
                        return Err(CatalogError::Closed);
                    }
                    Ok(n)
                })
                .await
        }
    });
    let results = futures::future::join_all(work).await;
    let rows = catalog.read().unwrap();
    for (n, result) in results.into_iter().enumerate() {
        assert_eq!(result.is_ok(), n % 3 != 0);
        assert_eq!(
            rows.contains(&NAMES, &format!("{n:03}")).unwrap(),
            n % 3 != 0
        );
    }
    let changes: usize = heard.0.lock().unwrap().iter().map(|(_, n)| n - 1).sum();
    assert_eq!(changes, 133, "what was refused reached the change log");
}

#[tokio::test]
async fn an_operation_that_panics_takes_nobody_else_along() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = open(directory.path(), &Heard::default());
    let work = (0..50u64).map(|n| {
        let catalog = catalog.clone();
        async move {
            catalog
                .transact::<_, CatalogError, _>(move |transaction| {
                    transaction.put(&NAMES, &format!("{n:03}"), &Name(n))?;
                    assert!(n % 5 != 0, "told to");
                    Ok(())
                })
                .await
        }
    });
    let results = futures::future::join_all(work).await;
    for (n, result) in results.into_iter().enumerate() {
        match n % 5 {
            0 => assert!(matches!(result, Err(CatalogError::Panicked))),
            _ => result.unwrap(),
        }
    }
    assert!(!catalog.is_closed());
    put(&catalog, "later", 1).await.unwrap();
    let rows = catalog.read().unwrap();
    assert_eq!(names(&rows, "", None).len(), 41);
}

#[tokio::test]
async fn reading_operations_commit_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let heard = Heard::default();
    let catalog = open(directory.path(), &heard);
    let found: Result<bool, CatalogError> = catalog
        .transact(|transaction| transaction.contains(&NAMES, &"x".to_owned()))
        .await;
    assert!(!found.unwrap());
    assert!(heard.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_row_is_not_written_when_its_body_is_not_durable() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = open(directory.path(), &Heard::default());
    let store = |name: &'static str, body: &'static [u8]| {
        let body = SmallBody {
            owner: [0; 16],
            position: 0,
            bytes: Bytes::from_static(body),
            digest: None,
        };
        catalog.transact_with_body(body, move |transaction, extent| {
            transaction.put(&NAMES, &name.to_owned(), &Name(extent.length))
        })
    };
    let bad: Result<(), CatalogError> = store("bad", b"fail").await;
    assert!(matches!(bad, Err(CatalogError::Body(_))));
    store("good", b"body").await.unwrap();
    let rows = catalog.read().unwrap();
    assert_eq!(names(&rows, "", None), ["good"]);
}

#[test]
fn a_newer_index_is_refused_by_naming_both_versions() {
    let directory = tempfile::tempdir().unwrap();
    let newer = [schema::Step {
        version: 9,
        name: "from the future",
        apply: |transaction| schema::set_identity(transaction, uuid::Uuid::nil()),
    }];
    drop(OpenCatalog::open(place(directory.path()), &newer).unwrap());
    let error = OpenCatalog::open(place(directory.path()), STEPS)
        .err()
        .unwrap();
    assert!(matches!(
        error,
        CatalogError::NewerSchema { found: 9, known: 1 }
    ));
}
