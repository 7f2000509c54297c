//! The tags' history, and the ways back.

use super::*;
use crate::oci::ErrorCode;
use crate::registry::history::{CHANGES_MAX, Presence};
use crate::registry::tables::TagChange;

#[tokio::test]
async fn a_history_tells_each_change_once_with_who_made_it() {
    let store = store().await;
    let a = repository("a");
    let one = store.push_tagged(&a, b"one", "t").await;
    // The same again is no change, and one of a longer name is another tag's.
    store.push_tagged(&a, b"one", "t").await;
    store.push_tagged(&a, b"one", "t1").await;
    let two = store.push_tagged(&a, b"two", "t").await;
    let alice = store.acting_as("alice");
    alice.rollback_tag(&a, &tag("t"), None).await.unwrap();
    alice.delete_tag(&a, &tag("t")).await.unwrap();
    store.undelete_tag(&a, &tag("t")).await.unwrap();
    store.delete_manifest(&a, &one).await.unwrap();

    let history = store.tag_history(&a, &tag("t")).unwrap();
    let told: Vec<_> = history
        .iter()
        .map(|moment| (moment.change, moment.digest, moment.by.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (TagChange::DeletedWithManifest, one, None),
            (TagChange::Undeleted, one, None),
            (TagChange::Deleted, one, Some("alice")),
            (TagChange::RolledBack, one, Some("alice")),
            (TagChange::Pushed, two, None),
            (TagChange::Pushed, one, None),
        ]
    );
    assert_eq!(history[0].manifest, Presence::Deleted);
    assert_eq!(history[4].manifest, Presence::Live);
    let refusal = refused(store.tag_history(&a, &tag("unknown")));
    assert_eq!(refusal.code(), ErrorCode::ManifestUnknown);
}

#[tokio::test]
async fn a_rollback_brings_back_what_was_deleted_and_refuses_what_is_gone() {
    let store = store().await;
    let a = repository("a");
    let one = store.push_tagged(&a, b"one", "t").await;
    let two = store.push_tagged(&a, b"two", "t").await;
    let refusal = refused(store.rollback_tag(&a, &tag("t"), Some(&sha256(b"x"))).await);
    assert!(matches!(refusal, RegistryError::NotInHistory { .. }));
    store.delete_manifest(&a, &one).await.unwrap();
    let back = store.rollback_tag(&a, &tag("t"), Some(&one)).await.unwrap();
    assert_eq!(back, one);
    assert_eq!(store.tagged(&a, "t"), Some(one));
    assert!(store.has_manifest(&a, Reference::Digest(two)));

    store.purge_manifest(&a, &two).await.unwrap();
    let refusal = refused(store.rollback_tag(&a, &tag("t"), None).await);
    assert!(matches!(refusal, RegistryError::Purged { .. }), "{refusal}");
    assert_eq!(store.tagged(&a, "t"), Some(one));
}

#[tokio::test]
async fn a_deleted_tag_comes_back_alone_or_with_its_manifest() {
    let store = store().await;
    let a = repository("a");
    let one = store.push_tagged(&a, b"one", "t").await;
    let refusal = refused(store.undelete_tag(&a, &tag("t")).await);
    assert!(matches!(refusal, RegistryError::NotDeleted { .. }));
    store.delete_tag(&a, &tag("t")).await.unwrap();
    let refusal = refused(store.rollback_tag(&a, &tag("t"), None).await);
    assert_eq!(refusal.code(), ErrorCode::ManifestUnknown);
    assert_eq!(store.undelete_tag(&a, &tag("t")).await.unwrap(), one);
    store.delete_manifest(&a, &one).await.unwrap();
    assert_eq!(store.undelete_tag(&a, &tag("t")).await.unwrap(), one);
    assert_eq!(store.tagged(&a, "t"), Some(one));
}

#[tokio::test]
async fn a_history_forgets_its_oldest_changes() {
    use crate::registry::Deed;
    use crate::registry::tables::TagKey;

    let store = store().await;
    let key = TagKey::new(&repository("a"), &tag("t"));
    let (noted, changes) = (key.clone(), CHANGES_MAX + 5);
    let written: Result<(), crate::ghostbay::catalog::CatalogError> = store
        .storage
        .catalog()
        .transact(move |transaction| {
            for at_ms in 0..u64::from(changes) {
                let deed = Deed { at_ms, by: None };
                let digest = sha256(b"x");
                crate::registry::history::note(
                    transaction,
                    &noted,
                    &digest,
                    TagChange::Pushed,
                    &deed,
                )?;
            }
            Ok(())
        })
        .await;
    written.unwrap();
    let history = store.tag_history(&key.repository, &key.tag).unwrap();
    assert_eq!(history.len(), CHANGES_MAX as usize);
    assert_eq!(history[0].at_ms, u64::from(changes) - 1);
    assert_eq!(history[CHANGES_MAX as usize - 1].at_ms, 5);
}
