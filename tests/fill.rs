//! The generator of `benches/fill`: its short cut writes what pushes write.

#[path = "../benches/fill/bulk.rs"]
mod bulk;
#[path = "../benches/fill/content.rs"]
mod content;
#[path = "../benches/fill/push.rs"]
mod push;

use std::collections::BTreeSet;
use std::fmt::Debug;

use drift::ghostbay::LocalStorageEngine;
use drift::ghostbay::catalog::{Key, Rows, Snapshot, Table, Value};
use drift::registry::tables::{
    BLOB_HOLDERS, BLOB_LINKS, MANIFEST_BODIES, MANIFESTS, REFERENCES, REFERRERS, REPOSITORIES,
    TAG_HISTORY, TAGS, TAGS_BY_DIGEST, UNREFERENCED, USAGE,
};

use content::{Content, Numbers};
use push::Pusher;

/// A table's rows as text, without times.
fn rows<K: Key + Debug + 'static, V: Value + Debug + 'static>(
    snapshot: &Snapshot,
    table: &'static Table<K, V>,
    rows: &mut BTreeSet<String>,
) {
    let scan = snapshot.scan(table, &[], None).unwrap();
    for row in scan {
        let text = format!("{} {:?}", table.info().name, row.unwrap());
        let mut kept = text.as_str();
        let mut out = String::new();
        while let Some(at) = kept.find("_ms: ") {
            let (before, after) = kept.split_at(at + "_ms: ".len());
            out.push_str(before);
            kept = after.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        out.push_str(kept);
        rows.insert(out);
    }
}

async fn fill(numbers: Numbers, in_bulk: bool) -> BTreeSet<String> {
    let directory = tempfile::tempdir().unwrap();
    let storage = LocalStorageEngine::new(directory.path()).await.unwrap();
    let content = Content::new(numbers).unwrap();
    let mut pusher = Pusher::new(storage.clone(), content.clone());
    for from in (0..numbers.manifests).step_by(30) {
        let end = numbers.manifests.min(from + 30);
        let images: Vec<_> = (from..end).map(|number| content.image(number)).collect();
        let links = pusher.push_blobs(&images).await.unwrap();
        match in_bulk {
            true => bulk::write(storage.catalog(), links, images).await.unwrap(),
            false => pusher.push(links, images).await.unwrap(),
        }
    }
    let snapshot = storage.catalog().read().unwrap();
    let mut found = BTreeSet::new();
    rows(&snapshot, &REPOSITORIES, &mut found);
    rows(&snapshot, &BLOB_LINKS, &mut found);
    rows(&snapshot, &BLOB_HOLDERS, &mut found);
    rows(&snapshot, &MANIFESTS, &mut found);
    rows(&snapshot, &MANIFEST_BODIES, &mut found);
    rows(&snapshot, &REFERENCES, &mut found);
    rows(&snapshot, &REFERRERS, &mut found);
    rows(&snapshot, &TAGS, &mut found);
    rows(&snapshot, &TAGS_BY_DIGEST, &mut found);
    rows(&snapshot, &USAGE, &mut found);
    rows(&snapshot, &UNREFERENCED, &mut found);
    rows(&snapshot, &TAG_HISTORY, &mut found);
    found
}

#[tokio::test]
async fn rows_written_in_bulk_are_those_that_pushes_write() {
    let numbers = Numbers {
        seed: 7,
        manifests: 100,
        repositories: 7,
        tags: 150,
        blobs: 40,
        blob_bytes: 200,
        layers: 3,
    };
    let (pushed, in_bulk) = (fill(numbers, false).await, fill(numbers, true).await);
    assert!(pushed.len() > 1000, "{} rows", pushed.len());
    let differing: Vec<_> = pushed.symmetric_difference(&in_bulk).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}
