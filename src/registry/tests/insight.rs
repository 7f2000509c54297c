//! What manifests are found by, how large they are, what was pulled most, and what the store took up.

use super::*;
use crate::ghostbay::catalog::Rows;
use crate::ghostbay::check::Repairs;
use crate::registry::tables::{ANNOTATIONS, GROWTH, PULL_DAYS, PullDayKey, PullDayRow};

fn annotated(config: &[u8], annotations: Value) -> Value {
    let mut document = image(config, &[]);
    document["annotations"] = annotations;
    document
}

impl Store {
    /// What is found by a text, as `name=value`.
    fn annotations(&self, text: &str) -> Vec<String> {
        let (found, ended_early) = self.find_annotations(text, 20, |_| true, || true).unwrap();
        assert!(!ended_early);
        let said = found.iter().map(|it| format!("{}={}", it.name, it.value));
        said.collect()
    }

    fn rows_of_annotations(&self) -> usize {
        let rows = self.storage.catalog().read().unwrap();
        rows.scan(&ANNOTATIONS, &[], None).unwrap().count()
    }

    async fn sound(&self) {
        let found = self.damages(Repairs::Nothing).await;
        assert!(found.is_empty(), "{found:?}");
    }
}

#[tokio::test]
async fn a_manifest_is_found_by_what_it_says_until_it_is_deleted() {
    let (store, a) = (store().await, repository("a"));
    store.push(&a, b"{}").await;
    let said = json!({"org.title": "The Redis Store", "version": "7.2", "odd": "x\u{0}y"});
    let document = annotated(b"{}", said);
    let digest = digest_of(&document);
    store.put(&a, by_tag("t"), &document).await.unwrap();

    assert_eq!(store.annotations("the red"), ["org.title=The Redis Store"]);
    assert_eq!(store.annotations("version=7"), ["version=7.2"]);
    assert_eq!(store.annotations("version="), ["version=7.2"]);
    assert_eq!(store.annotations("X\u{0}Y"), ["odd=x\u{0}y"]);
    for nothing in ["redis", "7.3", "title=the", "version=8", "t", ""] {
        assert_eq!(store.annotations(nothing), [""; 0], "{nothing}");
    }
    let hidden = store
        .find_annotations("7.2", 20, |_| false, || true)
        .unwrap();
    assert_eq!(hidden, (Vec::new(), false));
    let ended = store
        .find_annotations("7.2", 20, |_| true, || false)
        .unwrap();
    assert_eq!(ended, (Vec::new(), true));
    store.sound().await;

    store.delete_manifest(&a, &digest).await.unwrap();
    assert_eq!(store.annotations("7.2"), [""; 0]);
    store.sound().await;
    store.undelete_manifest(&a, &digest).await.unwrap();
    assert_eq!(store.annotations("7.2"), ["version=7.2"]);
    store.purge_manifest(&a, &digest).await.unwrap();
    assert_eq!(store.rows_of_annotations(), 0);
    store.sound().await;
}

#[tokio::test]
async fn what_a_push_writes_of_annotations_is_bounded() {
    let (store, a) = (store().await, repository("a"));
    store.push(&a, b"{}").await;
    let mut said: serde_json::Map<String, Value> = (0..100)
        .map(|number| (format!("name{number:03}"), json!("é".repeat(5000))))
        .collect();
    said.insert("a".repeat(129), json!("long name"));
    said.insert("aa".into(), json!(""));
    let document = annotated(b"{}", Value::Object(said));
    store.put(&a, by_tag("t"), &document).await.unwrap();
    assert_eq!(store.rows_of_annotations(), annotations::ANNOTATIONS_MAX);
    assert_eq!(store.annotations("name031=é").len(), 1);
    assert_eq!(
        store.annotations("name031="),
        [format!("name031={}", "é".repeat(64))]
    );
    for nothing in ["name032=", "long name"] {
        assert_eq!(store.annotations(nothing), [""; 0]);
    }
    store
        .purge_manifest(&a, &digest_of(&document))
        .await
        .unwrap();
    assert_eq!(store.rows_of_annotations(), 0);
}

#[tokio::test]
async fn a_check_finds_annotations_that_are_lost_and_those_of_nothing() {
    let (store, a) = (store().await, repository("a"));
    store.push(&a, b"{}").await;
    let document = annotated(b"{}", json!({"version": "7.2"}));
    store.put(&a, by_tag("t"), &document).await.unwrap();
    let key = {
        let rows = store.storage.catalog().read().unwrap();
        rows.scan(&ANNOTATIONS, &[], None)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .0
    };
    let lost = key.clone();
    store
        .change(move |transaction| transaction.delete(&ANNOTATIONS, &lost).map(drop))
        .await;
    store
        .assert_finds(&["finds it by its annotation version"])
        .await;
    assert_eq!(store.annotations("7.2"), ["version=7.2"]);

    store.damage(ANNOTATIONS, key.clone()).await;
    store
        .assert_finds(&["finds it by its annotation version"])
        .await;
    assert_eq!(store.annotations("7.2"), ["version=7.2"]);

    let mut stray = key;
    stray.manifest.digest = sha256(b"nothing");
    store
        .change(move |transaction| {
            let row = tables::AnnotationRow {
                value: "7.2".into(),
            };
            transaction.put(&ANNOTATIONS, &stray, &row)
        })
        .await;
    assert_eq!(store.annotations("7.2").len(), 1);
    store.assert_finds(&["that manifest is missing"]).await;
}

#[tokio::test]
async fn the_most_pulled_repositories_are_those_of_thirty_days() {
    let store = Arc::new(store().await);
    let [a, b, old, gone] = ["a", "b", "old", "gone"].map(repository);
    let config: &'static [u8] = b"{}";
    let mut digest = sha256(config);
    for name in [&a, &b, &old] {
        digest = store.push_tagged(name, config, "t").await;
    }
    let first = pulls::first_day(now_ms());
    let days = [(first - 1, old.clone(), 1000), (first, b.clone(), 5)];
    store
        .change(move |transaction| {
            for (day, repository, pulls) in days.clone() {
                let key = PullDayKey { day, repository };
                transaction.put(&PULL_DAYS, &key, &PullDayRow { pulls })?;
            }
            Ok(())
        })
        .await;
    assert_eq!(store.top_pulls(10).unwrap(), [(b.clone(), 5)]);
    for _ in 0..7 {
        store.note_pull(&a, &digest);
    }
    store.note_pull(&gone, &digest);
    let flush = async || {
        let store = store.clone();
        let flushed = tokio::task::spawn_blocking(move || store.flush_pulls()).await;
        flushed.unwrap().unwrap();
    };
    flush().await;
    assert_eq!(
        store.top_pulls(10).unwrap(),
        [(a.clone(), 7), (b.clone(), 5)]
    );
    store.note_pull(&a, &digest);
    flush().await;
    assert_eq!(store.top_pulls(1).unwrap(), [(a.clone(), 8)]);
    // The day before the first went with what was written.
    let rows = store.storage.catalog().read().unwrap();
    let days: Vec<u32> = rows
        .scan(&PULL_DAYS, &[], None)
        .unwrap()
        .map(|row| row.unwrap().0.day)
        .collect();
    assert!(days.iter().all(|day| *day >= first), "{days:?}");
    drop(rows);
    store.sound().await;
}

#[tokio::test]
async fn images_are_as_large_as_what_they_are_made_of() {
    let (store, a) = (
        store_with(MissingReferences::AllowChildren).await,
        repository("a"),
    );
    for blob in [&b"{}"[..], b"shared", b"own"] {
        store.push(&a, blob).await;
    }
    let one = image(b"{}", &[b"shared", b"shared"]);
    let two = image(b"{}", &[b"shared", b"own"]);
    let missing = image(b"{}", &[b"own"]);
    for document in [&one, &two] {
        store.store(&a, document).await;
    }
    let bytes = |document: &Value| document.to_string().len() as u64;
    let both = index(&[&one, &two]);
    let lacks = index(&[&one, &missing]);
    for document in [&both, &lacks] {
        store.store(&a, document).await;
    }
    let digests = [&one, &two, &both, &lacks, &missing].map(digest_of);
    let sizes = store.content_sizes(&a, &digests).unwrap();
    let sizes: Vec<_> = sizes.iter().map(|it| (it.bytes, it.is_complete)).collect();
    let all = bytes(&one) + bytes(&two) + bytes(&both);
    let expected = [
        (Some(bytes(&one) + 2 + 6), true),
        (Some(bytes(&two) + 2 + 6 + 3), true),
        (Some(all + 2 + 6 + 3), true),
        (
            Some(bytes(&lacks) + bytes(&one) + bytes(&missing) + 2 + 6),
            false,
        ),
        (None, false),
    ];
    assert_eq!(sizes, expected);
}

#[tokio::test]
async fn what_the_store_takes_up_is_written_down() {
    let (store, a) = (Arc::new(store().await), repository("a"));
    let note = async || {
        let store = store.clone();
        let noted = tokio::task::spawn_blocking(move || store.note_growth()).await;
        noted.unwrap().unwrap();
    };
    note().await;
    store.push_tagged(&a, b"some content", "t").await;
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    note().await;
    let [before, after] = &store.growth().unwrap()[..] else {
        panic!("two were noted");
    };
    assert_eq!(before.space.logical, 0);
    assert_eq!(after.space.logical, store.logical_bytes().unwrap());
    assert!(before.at_ms < after.at_ms);
    assert!(before.space.live < after.space.live && after.space.live <= after.space.allocated);

    store.damage(GROWTH, after.at_ms).await;
    store.assert_finds(&["growth"]).await;
    assert_eq!(store.growth().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_notes_at_its_start_and_not_again_within_the_hour() {
    let store = store().await;
    for _ in 0..2 {
        let stop = tokio_util::sync::CancellationToken::new();
        let keeping = tokio::spawn({
            let (registry, stop) = (store.registry.clone(), stop.clone());
            async move { registry.keep_growth(stop).await }
        });
        while store.growth().unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        stop.cancel();
        keeping.await.unwrap();
    }
    assert_eq!(store.growth().unwrap().len(), 1);
}
