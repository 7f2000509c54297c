//! Retention: what is kept and why, and that the plan is what is done.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::registry::retention::{Fate, Mode, Verdict};
use crate::registry::tables::{ContentKey, PULLS, PULLS_SINCE, PullRow, PullsSinceRow};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn rule(repositories: &str) -> RetentionRule {
    RetentionRule {
        repositories: repositories.parse().unwrap(),
        keep_last: None,
        keep_semver: None,
        keep_pulled_within: None,
        keep_tags: Vec::new(),
        delete_untagged_after: None,
    }
}

async fn store_that_keeps(rule: RetentionRule) -> Store {
    store_of(RegistryOptions {
        retention: Retention(vec![rule]),
        immutable: ImmutableTags(vec![ImmutableRule {
            repositories: "**".parse().unwrap(),
            tags: "fixed".parse().unwrap(),
        }]),
        ..RegistryOptions::default()
    })
    .await
}

/// A manifest that no other is.
fn document(name: &str) -> Value {
    let mut document = image(b"config", &[]);
    document["annotations"] = json!({ "name": name });
    document
}

impl Store {
    async fn retained(&self, mode: Mode) -> Vec<Verdict> {
        let registry = self.registry.clone();
        let retain = move || {
            let mut verdicts = Vec::new();
            let stop = CancellationToken::new();
            let mut tell = |verdict| {
                verdicts.push(verdict);
                true
            };
            registry.retain(mode, &stop, &mut tell).unwrap();
            verdicts
        };
        tokio::task::spawn_blocking(retain).await.unwrap()
    }

    /// Goes by the rules twice, first only asking; the fates by reference, which are the same.
    async fn fates(&self) -> Vec<(String, Fate)> {
        let plan = self.retained(Mode::Plan).await;
        let done = self.retained(Mode::Act).await;
        let fates = |verdicts: Vec<Verdict>| -> Vec<(String, Fate)> {
            let fates = verdicts.into_iter();
            fates.map(|it| (it.reference, it.fate)).collect()
        };
        let plan = fates(plan);
        assert_eq!(plan, fates(done));
        plan
    }

    /// Pushes an image of its own under each tag, one after the other.
    async fn tag_all(&self, repository: &RepositoryName, tags: &[&str]) {
        self.push(repository, b"config").await;
        for name in tags {
            let put = self.put(repository, by_tag(name), &document(name)).await;
            put.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Notes since when pulls are known, and when a manifest was pulled.
    async fn pulled(&self, repository: &RepositoryName, digest: Digest, since_ms: u64, last: u64) {
        let key = ContentKey::new(repository, &digest);
        let written: Result<(), CatalogError> = self
            .storage
            .catalog()
            .transact(move |transaction| {
                let row = PullsSinceRow { since_ms };
                transaction.put(&PULLS_SINCE, &"since".to_owned(), &row)?;
                transaction.put(&PULLS, &key, &PullRow { pulled_ms: last })
            })
            .await;
        written.unwrap();
    }
}

fn named(fates: &[(&str, Fate)]) -> Vec<(String, Fate)> {
    let fates = fates.iter();
    fates
        .map(|(name, fate)| (name.to_string(), *fate))
        .collect()
}

#[tokio::test]
async fn a_tag_stays_if_any_key_keeps_it() {
    use Fate::{Delete, Keep};
    let store = store_that_keeps(RetentionRule {
        keep_last: Some(1),
        keep_semver: Some(2),
        keep_tags: vec!["lat*".parse().unwrap()],
        ..rule("a/*")
    })
    .await;
    let (a, other) = (repository("a/b"), repository("other"));
    let tags = [
        "fixed", "v1.10.0", "1.9.0", "v1.2.0", "latest", "dev-1", "dev-2",
    ];
    store.tag_all(&a, &tags).await;
    store.tag_all(&other, &tags).await;
    let fates = store.fates().await;
    let expected = named(&[
        ("1.9.0", Keep),
        ("dev-1", Delete),
        ("dev-2", Keep),
        ("fixed", Keep),
        ("latest", Keep),
        ("v1.10.0", Keep),
        ("v1.2.0", Delete),
    ]);
    assert_eq!(fates, expected);
    let left = ["1.9.0", "dev-2", "fixed", "latest", "v1.10.0"];
    assert_eq!(store.tag_names(&a), left);
    assert_eq!(store.tag_names(&other).len(), tags.len());
    // A deleted tag is deleted as a person would delete it.
    let history = store.tag_history(&a, &tag("dev-1")).unwrap();
    assert_eq!(history[0].by.as_deref(), Some("retention"));
    store.undelete_tag(&a, &tag("dev-1")).await.unwrap();
    assert!(store.has_manifest(&a, by_tag("dev-1")));
    assert_eq!(store.usage(&a).unwrap().tags, 6);
}

#[tokio::test]
async fn a_rule_that_keeps_nothing_leaves_tags_alone() {
    let store = store_that_keeps(RetentionRule {
        delete_untagged_after: Some(Duration::ZERO),
        ..rule("**")
    })
    .await;
    let a = repository("a");
    store.tag_all(&a, &["one", "two"]).await;
    let fates = store.fates().await;
    assert_eq!(fates, named(&[("one", Fate::Keep), ("two", Fate::Keep)]));
    assert_eq!(store.tag_names(&a), ["one", "two"]);
}

#[tokio::test]
async fn what_was_pulled_or_pushed_within_the_time_stays() {
    let keeps = |days: u64| RetentionRule {
        keep_pulled_within: Some(Duration::from_millis(days * DAY_MS)),
        delete_untagged_after: Some(Duration::ZERO),
        ..rule("**")
    };
    let a = repository("a");
    let (one, two) = (document("one"), document("two"));
    // Pushed just now, nothing goes.
    let store = store_that_keeps(keeps(1)).await;
    store.tag_all(&a, &["one"]).await;
    assert_eq!(store.fates().await, named(&[("one", Fate::Keep)]));

    // No push is within no time at all: pulls alone count, once they have been noted for long enough.
    let tomorrow = now_ms() + DAY_MS;
    for (since_ms, pulled_ms, expected) in [
        (tomorrow, 0, [Fate::Keep, Fate::Keep]),
        (0, 0, [Fate::Delete, Fate::Delete]),
        (0, tomorrow, [Fate::Keep, Fate::Delete]),
    ] {
        let store = store_that_keeps(keeps(0)).await;
        store.tag_all(&a, &["one"]).await;
        store.store(&a, &two).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        store.pulled(&a, digest_of(&one), since_ms, pulled_ms).await;
        let fates: Vec<_> = store.fates().await.into_iter().map(|it| it.1).collect();
        assert_eq!(fates, expected, "since {since_ms}, pulled {pulled_ms}");
    }
}

#[tokio::test]
async fn manifests_without_a_tag_go_unless_something_kept_needs_them() {
    let store = store_that_keeps(RetentionRule {
        delete_untagged_after: Some(Duration::ZERO),
        ..rule("**")
    })
    .await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let (child, loose) = (document("child"), document("loose"));
    store.store(&a, &child).await;
    store.store(&a, &loose).await;
    let parent = index(&[&child]);
    store.put(&a, by_tag("index"), &parent).await.unwrap();
    let mut about = document("about");
    about["subject"] = descriptor(OCI_IMAGE, child.to_string().as_bytes());
    store.store(&a, &about).await;
    tokio::time::sleep(Duration::from_millis(2)).await;

    let fate_of = |fates: &[(String, Fate)], document: &Value| {
        let digest = digest_of(document).to_string();
        fates.iter().find(|it| it.0 == digest).map(|it| it.1)
    };
    let fates = store.fates().await;
    assert_eq!(fate_of(&fates, &loose), Some(Fate::Delete));
    for kept in [&child, &about] {
        assert_eq!(fate_of(&fates, kept), Some(Fate::Keep));
        assert!(store.has_manifest(&a, Reference::Digest(digest_of(kept))));
    }
    assert!(!store.has_manifest(&a, Reference::Digest(digest_of(&loose))));

    // Without its tag the index goes, before what it lists, and with it what is about that.
    store.delete_tag(&a, &tag("index")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let fates = store.fates().await;
    assert_eq!(fates[0].0, digest_of(&parent).to_string());
    for gone in [&parent, &child, &about] {
        assert_eq!(fate_of(&fates, gone), Some(Fate::Delete));
        assert!(!store.has_manifest(&a, Reference::Digest(digest_of(gone))));
    }
    // All of it can come back.
    store
        .undelete_manifest(&a, &digest_of(&parent))
        .await
        .unwrap();
    assert!(store.has_manifest(&a, Reference::Digest(digest_of(&child))));
}

#[tokio::test]
async fn the_time_without_a_tag_begins_when_the_tag_goes() {
    let store = store_that_keeps(RetentionRule {
        delete_untagged_after: Some(Duration::from_millis(1_500)),
        ..rule("**")
    })
    .await;
    let a = repository("a");
    store.tag_all(&a, &["one", "two"]).await;
    tokio::time::sleep(Duration::from_millis(1_700)).await;
    // Both were pushed long ago. One loses its tag by a delete, the other to a push.
    store.delete_tag(&a, &tag("one")).await.unwrap();
    store
        .put(&a, by_tag("two"), &document("three"))
        .await
        .unwrap();
    let digests = [document("one"), document("two")].map(|document| digest_of(&document));
    store.retained(Mode::Act).await;
    for digest in digests {
        assert!(store.has_manifest(&a, Reference::Digest(digest)));
    }
    tokio::time::sleep(Duration::from_millis(1_700)).await;
    store.retained(Mode::Act).await;
    for digest in digests {
        assert!(!store.has_manifest(&a, Reference::Digest(digest)));
    }
}

#[tokio::test]
async fn tags_that_are_about_a_manifest_stay_with_it() {
    let store = store_that_keeps(RetentionRule {
        keep_last: Some(1),
        ..rule("**")
    })
    .await;
    let a = repository("a");
    store.tag_all(&a, &["old", "new"]).await;
    let about = |name: &str| digest_of(&document(name)).to_string().replace(':', "-") + ".sig";
    let gone = about("never pushed");
    store.tag_all(&a, &[&about("new"), &gone]).await;
    let fates = store.fates().await;
    let expected = named(&[("new", Fate::Keep), ("old", Fate::Delete)]);
    assert_eq!(fates[..2], expected);
    let mut left = vec!["new".to_owned(), about("new")];
    left.sort();
    assert_eq!(store.tag_names(&a), left);
}

#[tokio::test]
async fn what_changes_between_plan_and_act_is_spared() {
    let store = Arc::new(
        store_that_keeps(RetentionRule {
            keep_tags: vec!["none".parse().unwrap()],
            delete_untagged_after: Some(Duration::ZERO),
            ..rule("**")
        })
        .await,
    );
    let a = repository("a");
    store.tag_all(&a, &["first", "moved", "same"]).await;
    let loose = document("loose");
    store.store(&a, &loose).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let (acting, runtime, name) = (store.clone(), Handle::current(), a.clone());
    let retain = move || {
        let mut fates = Vec::new();
        let mut tell = |verdict: Verdict| {
            if fates.is_empty() {
                // Pushed while the plan is being carried out.
                let push = async |tag: &str, document: &Value| {
                    acting.put(&name, by_tag(tag), document).await.unwrap();
                };
                runtime.block_on(async {
                    push("moved", &document("another")).await;
                    push("same", &document("same")).await;
                    push("found", &loose).await;
                });
            }
            fates.push((verdict.reference, verdict.fate));
            true
        };
        let stop = CancellationToken::new();
        acting.retain(Mode::Act, &stop, &mut tell).unwrap();
        fates
    };
    let fates = tokio::task::spawn_blocking(retain).await.unwrap();
    let loose = digest_of(&document("loose")).to_string();
    let expected = named(&[
        ("first", Fate::Delete),
        ("moved", Fate::Spared),
        ("same", Fate::Spared),
        (&loose, Fate::Spared),
    ]);
    assert_eq!(fates, expected);
    assert_eq!(store.tag_names(&a), ["found", "moved", "same"]);
}

#[tokio::test]
async fn pulls_are_written_down_and_go_with_their_manifest() {
    let (store, a) = (Arc::new(store().await), repository("a"));
    store.tag_all(&a, &["one", "two"]).await;
    let [one, two] = ["one", "two"].map(|name| digest_of(&document(name)));
    let flush = async || {
        let store = store.clone();
        let flushed = tokio::task::spawn_blocking(move || store.flush_pulls()).await;
        flushed.unwrap().unwrap();
    };
    let pulled_ms = |digest: &Digest| {
        let rows = store.storage.catalog().read().unwrap();
        let row = rows.get(&PULLS, &ContentKey::new(&a, digest)).unwrap();
        row.map(|row: PullRow| row.pulled_ms)
    };
    let before = now_ms();
    store.note_pull(&a, &one);
    store.note_pull(&a, &sha256(b"never there"));
    assert_eq!(pulled_ms(&one), None);
    flush().await;
    assert!(pulled_ms(&one).unwrap() >= before);
    assert_eq!(pulled_ms(&two), None);
    assert_eq!(pulled_ms(&sha256(b"never there")), None);
    // A tombstone keeps it, so that what comes back is as old as it was.
    store.delete_manifest(&a, &one).await.unwrap();
    assert!(pulled_ms(&one).is_some());
    store.purge_manifest(&a, &one).await.unwrap();
    assert_eq!(pulled_ms(&one), None);
    assert!(
        store
            .damages(crate::ghostbay::check::Repairs::Nothing)
            .await
            .is_empty()
    );
}
