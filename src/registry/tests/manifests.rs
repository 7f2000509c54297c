//! Pushing and reading manifests.

use super::*;
use crate::oci::ErrorCode;
use crate::oci::media_type::DOCKER_IMAGE;

#[tokio::test]
async fn a_manifest_comes_back_as_it_was_pushed() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    // Spaces and unknown fields are part of the bytes.
    let text =
        image(b"config", &[])
            .to_string()
            .replacen('{', "{ \"org.example\" : [1, 2.50] ,\n", 1);
    let put = PutManifest {
        reference: by_tag("latest"),
        tags: Vec::new(),
        content_type: Some(format!("{OCI_IMAGE}; charset=utf-8")),
        bytes: text.clone().into(),
    };
    let outcome = store.put_manifest(&a, put).await.unwrap();
    assert_eq!(outcome.digest, sha256(text.as_bytes()));
    for reference in [by_tag("latest"), Reference::Digest(outcome.digest)] {
        let stored = store.manifest(&a, &reference).unwrap();
        assert_eq!(stored.bytes, text);
        assert_eq!(stored.digest, outcome.digest);
        assert_eq!(stored.media_type, OCI_IMAGE);
    }
    assert!(!store.has_manifest(&a, by_tag("other")));
    assert!(!store.has_manifest(&repository("b"), by_tag("latest")));
}

#[tokio::test]
async fn large_manifests_go_the_same_way() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let mut large = image(b"config", &[]);
    large["annotations"] = json!({"large": "A".repeat(3_900_000)});
    let outcome = store.put(&a, by_tag("large"), &large).await.unwrap();
    let stored = store.manifest(&a, &by_tag("large")).unwrap();
    assert_eq!(stored.bytes, large.to_string());
    assert_eq!(stored.digest, outcome.digest);
    large["schemaVersion"] = json!(1);
    assert!(store.put(&a, by_tag("large"), &large).await.is_err());
}

#[tokio::test]
async fn a_digest_must_be_that_of_the_bytes() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let document = image(b"config", &[]);
    let wrong = Reference::Digest(sha256(b"other"));
    let refusal = refused(store.put(&a, wrong, &document).await);
    assert_eq!(refusal.code(), ErrorCode::DigestInvalid);
    assert!(!store.has_manifest(&a, Reference::Digest(digest_of(&document))));

    let long = Digest::of(Algorithm::Sha512, document.to_string().as_bytes());
    let outcome = store
        .put(&a, Reference::Digest(long), &document)
        .await
        .unwrap();
    assert_eq!(outcome.digest, long);
    assert!(store.has_manifest(&a, Reference::Digest(long)));
}

#[tokio::test]
async fn what_a_manifest_is_made_of_must_be_in_its_repository() {
    let store = store().await;
    let (a, b) = (repository("a"), repository("b"));
    store.push(&a, b"config").await;
    store.push(&b, b"layer").await;
    let document = image(b"config", &[b"layer", b"gone"]);
    match refused(store.put(&a, by_tag("v1"), &document).await) {
        RegistryError::ManifestBlobUnknown { mut missing } => {
            let mut expected = vec![sha256(b"layer"), sha256(b"gone")];
            expected.sort();
            missing.sort();
            assert_eq!(missing, expected);
        }
        other => panic!("{other}"),
    }
    let child = image(b"config", &[]);
    let refusal = refused(store.put(&a, by_tag("v1"), &index(&[&child])).await);
    assert_eq!(refusal.code(), ErrorCode::ManifestBlobUnknown);
    let detail = refusal.detail().unwrap().to_string();
    assert!(detail.contains(&digest_of(&child).to_string()), "{detail}");
    // A blob of the same bytes is not the manifest.
    let bytes: &'static str = child.to_string().leak();
    store.push(&a, bytes.as_bytes()).await;
    assert!(
        store
            .put(&a, by_tag("v1"), &index(&[&child]))
            .await
            .is_err()
    );
    assert_eq!(store.tag_names(&a), [""; 0]);

    store.store(&a, &child).await;
    store
        .put(&a, by_tag("v1"), &index(&[&child]))
        .await
        .unwrap();
}

#[tokio::test]
async fn foreign_layers_and_subjects_may_be_missing() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let mut document = image(b"config", &[]);
    document["layers"] = json!([
        descriptor(
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            b"far"
        ),
        descriptor(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            b"away"
        ),
    ]);
    document["subject"] = descriptor(OCI_IMAGE, b"no such subject");
    let outcome = store.put(&a, by_tag("v1"), &document).await.unwrap();
    assert_eq!(outcome.subject, Some(sha256(b"no such subject")));
}

#[tokio::test]
async fn an_index_may_list_blobs_that_are_there() {
    let store = store().await;
    let a = repository("a");
    let mut document = index(&[]);
    document["manifests"] = json!([descriptor(LAYER, b"cached layer")]);
    assert!(store.put(&a, by_tag("cache"), &document).await.is_err());
    let digest = store.push(&a, b"cached layer").await;
    store.put(&a, by_tag("cache"), &document).await.unwrap();
    let refusal = refused(store.delete_blob(&a, &digest).await);
    assert!(matches!(refusal, RegistryError::StillReferenced { .. }));
}

#[tokio::test]
async fn missing_references_can_be_allowed() {
    let child = image(b"config", &[b"layer"]);
    let parent = index(&[&child]);
    let a = repository("a");

    let store = store_with(MissingReferences::AllowChildren).await;
    store.put(&a, by_tag("v1"), &parent).await.unwrap();
    assert!(store.put(&a, by_tag("v1"), &child).await.is_err());

    let store = store_with(MissingReferences::Allow).await;
    store.put(&a, by_tag("v1"), &parent).await.unwrap();
    store.put(&a, by_tag("v2"), &child).await.unwrap();
    // What came later is protected by the reference that was there first.
    let refusal = refused(store.delete_manifest(&a, &digest_of(&child)).await);
    assert_eq!(refusal.code(), ErrorCode::Unsupported);
}

#[tokio::test]
async fn tags_of_parameters_are_set_with_the_manifest() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let document = image(b"config", &[]);
    let put = |reference, tags: &[&str]| PutManifest {
        reference,
        tags: tags.iter().map(|name| tag(name)).collect(),
        content_type: None,
        bytes: document.to_string().into(),
    };
    let by_digest = Reference::Digest(digest_of(&document));
    let outcome = store
        .put_manifest(&a, put(by_digest.clone(), &["1.2", "1", "1.2", "latest"]))
        .await
        .unwrap();
    assert_eq!(outcome.tags, ["1.2", "1", "latest"].map(tag));
    assert_eq!(store.tag_names(&a), ["1", "1.2", "latest"]);
    let outcome = store
        .put_manifest(&a, put(by_tag("path"), &["more"]))
        .await
        .unwrap();
    assert_eq!(outcome.tags, [tag("more")]);
    assert_eq!(store.tag_names(&a), ["1", "1.2", "latest", "more", "path"]);

    let many: Vec<String> = (0..=push::TAGS_PER_PUSH_MAX)
        .map(|number| format!("t{number}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(matches!(
        store.put_manifest(&a, put(by_digest, &many)).await,
        Err(RegistryError::TooManyTags(_))
    ));
}

#[tokio::test]
async fn a_tag_that_moves_leaves_its_old_manifest() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"one").await;
    store.push(&a, b"two").await;
    let (one, two) = (image(b"one", &[]), image(b"two", &[]));
    store.put(&a, by_tag("latest"), &one).await.unwrap();
    store.put(&a, by_tag("latest"), &two).await.unwrap();
    let latest = store.manifest(&a, &by_tag("latest")).unwrap();
    assert_eq!(latest.digest, digest_of(&two));
    // The tag is no longer the first one's, so it stays when that goes.
    store.delete_manifest(&a, &digest_of(&one)).await.unwrap();
    assert!(store.has_manifest(&a, by_tag("latest")));
    store.delete_manifest(&a, &digest_of(&two)).await.unwrap();
    assert!(!store.has_manifest(&a, by_tag("latest")));
    assert_eq!(store.tag_names(&a), [""; 0]);
}

#[tokio::test]
async fn pushing_again_changes_nothing_but_times_and_tags() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let mut document = image(b"config", &[]);
    document["subject"] = descriptor(OCI_IMAGE, b"subject");
    store.put(&a, by_tag("v1"), &document).await.unwrap();
    let before = store.row_counts();
    store.put(&a, by_tag("v1"), &document).await.unwrap();
    store.store(&a, &document).await;
    assert_eq!(store.row_counts(), before);
}

#[tokio::test]
async fn one_digest_keeps_one_media_type() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let mut document = image(b"config", &[]);
    document.as_object_mut().unwrap().remove("mediaType");
    let put = |content_type: &str| PutManifest {
        reference: by_tag("v1"),
        tags: Vec::new(),
        content_type: Some(content_type.into()),
        bytes: document.to_string().into(),
    };
    store.put_manifest(&a, put(OCI_IMAGE)).await.unwrap();
    let refusal = refused(store.put_manifest(&a, put(DOCKER_IMAGE)).await);
    assert_eq!(refusal.code(), ErrorCode::ManifestInvalid);
    let stored = store.manifest(&a, &by_tag("v1")).unwrap();
    assert_eq!(stored.media_type, OCI_IMAGE);
    // Another repository is another matter.
    let b = repository("b");
    store.push(&b, b"config").await;
    store.put_manifest(&b, put(DOCKER_IMAGE)).await.unwrap();
}

#[tokio::test]
async fn indexes_nest_to_a_bound() {
    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let mut document = image(b"config", &[]);
    for _ in 0..push::INDEX_DEPTH_MAX {
        store.store(&a, &document).await;
        document = index(&[&document]);
    }
    store.store(&a, &document).await;
    let refusal = refused(store.put(&a, by_tag("deep"), &index(&[&document])).await);
    assert!(matches!(refusal, RegistryError::IndexTooDeep(_)));
    assert_eq!(refusal.code(), ErrorCode::ManifestInvalid);
}

#[tokio::test]
async fn pushing_a_damaged_manifest_again_heals_it() {
    use crate::ghostbay::catalog::CatalogError;
    use crate::registry::tables::{ContentKey, MANIFEST_BODIES, ManifestBodyRow};

    let store = store().await;
    let a = repository("a");
    store.push(&a, b"config").await;
    let document = image(b"config", &[]);
    let digest = store.store(&a, &document).await;
    let key = ContentKey::new(&a, &digest);
    let damage: Result<(), CatalogError> = store
        .storage
        .catalog()
        .transact(move |transaction| {
            let row = ManifestBodyRow {
                compressed: false,
                bytes: "something else".into(),
            };
            transaction.put(&MANIFEST_BODIES, &key, &row)
        })
        .await;
    damage.unwrap();
    let reference = Reference::Digest(digest);
    let error = refused(store.manifest(&a, &reference));
    assert!(matches!(error, RegistryError::ManifestUnknown { .. }));
    store.store(&a, &document).await;
    let healed = store.manifest(&a, &reference).unwrap();
    assert_eq!(healed.bytes, document.to_string());
}
