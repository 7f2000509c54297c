//! What was stored under an older schema, read back and gone on with.

use std::path::Path;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use drift::auth::{Action, AuthService};
use drift::digest::{Algorithm, Digest};
use drift::ghostbay::LocalStorageEngine;
use drift::ghostbay::catalog::Rows;
use drift::ghostbay::engine::{
    ByteStream, CompleteMultipartUploadRequest, GetObjectRequest, StorageEngine,
};
use drift::ghostbay::uploads::UPLOADS;
use drift::oci::Reference;
use drift::registry::check::{Depth, Repairs, Report, VerifyOptions, verify};
use drift::registry::{MissingReferences, RegistryOptions};
use futures::StreamExt;

use crate::fixture::{
    CONFIG, DELETED, LAYERS, OBJECT, PART, PASSWORD, RULE, UPLOAD, UPLOADED, append, authority,
    content, digest, folders, image, index, name, pack_newest, registry, unpack,
};

async fn collect(mut stream: ByteStream<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(frame) = stream.next().await {
        bytes.extend_from_slice(&frame.unwrap());
    }
    bytes
}

/// What a check of the open store finds.
async fn damages(storage: &LocalStorageEngine) -> Vec<String> {
    let store = storage.to_check().unwrap();
    let options = VerifyOptions {
        depth: Depth::Full,
        repairs: Repairs::Nothing,
        bytes_per_second: None,
        bucket: RegistryOptions::default().bucket,
        missing_references: MissingReferences::Refuse,
        others: drift::auth::tables::TABLES.to_vec(),
        expendable: drift::audit::table::TABLES.to_vec(),
    };
    let check = move || {
        let mut damages = Vec::new();
        let mut tell = |report| {
            if let Report::Damage(damage) = report {
                damages.push(format!("{}: {}", damage.what, damage.reason));
            }
            true
        };
        verify(store, &options, &mut tell).unwrap();
        damages
    };
    tokio::task::spawn_blocking(check).await.unwrap()
}

/// Reads everything that the fixture holds, and goes on with what it had begun.
pub async fn check(directory: &Path) {
    let storage = LocalStorageEngine::new(directory).await.unwrap();
    let registry = registry(&storage);
    let repositories = [name("fixture/image"), name("fixture/second")];
    for repository in &repositories {
        for length in LAYERS.into_iter().chain([CONFIG]) {
            let blob = registry.blob(repository, &digest(length)).unwrap();
            assert_eq!(blob.size, length as u64);
            assert!(collect(blob.read(0..blob.size)).await == content(length));
        }
        assert!(registry.blob(repository, &digest(DELETED)).is_err());
    }
    let counted = registry.usage(&repositories[0]).unwrap();
    let blobs: usize = LAYERS.into_iter().chain([CONFIG]).sum();
    assert_eq!((counted.blobs, counted.manifests, counted.tags), (3, 4, 4));
    assert!(counted.bytes > blobs as u64, "{counted:?}");
    assert_eq!(damages(&storage).await, [""; 0]);
    let one = image("one", None);
    let tagged = |repository: usize, tag: &str| {
        let tag = Reference::Tag(tag.parse().unwrap());
        registry
            .manifest(&repositories[repository], &tag)
            .map(|manifest| manifest.bytes)
    };
    for (repository, tag, bytes) in [
        (0, "one", one.clone()),
        (0, "moved", image("two", None)),
        (0, "index", index(&one)),
        (0, "about", image("about", Some(&one))),
        (1, "one", one.clone()),
    ] {
        assert_eq!(tagged(repository, tag).unwrap(), bytes, "{tag}");
    }
    assert!(tagged(0, "deleted").is_err() && tagged(0, "gone").is_err());
    let gone = Digest::of(Algorithm::Sha256, &image("deleted", None));
    assert!(
        registry
            .manifest(&repositories[0], &Reference::Digest(gone))
            .is_err()
    );
    let subject = Digest::of(Algorithm::Sha256, &one);
    let referrers = registry
        .referrers(&repositories[0], &subject, None)
        .unwrap();
    let about = Digest::of(Algorithm::Sha256, &image("about", Some(&one)));
    let listed = String::from_utf8(referrers.index_json).unwrap();
    assert!(listed.contains(&about.to_string()), "{listed}");
    let (found, _) = registry
        .find_annotations("note=ABO", 10, |_| true, || true)
        .unwrap();
    let digests: Vec<_> = found.iter().map(|it| (it.digest, &*it.value)).collect();
    assert_eq!(digests, [(about, "about")]);

    let object = storage
        .get_object(GetObjectRequest {
            bucket: "things".into(),
            key: "a/b".into(),
            range: None,
        })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(object.object.content_type, "text/plain");
    assert!(collect(object.data).await == content(OBJECT));

    go_on(&storage).await;
    storage.close().await;
}

async fn go_on(storage: &LocalStorageEngine) {
    let registry = registry(storage);
    let repository = name("fixture/image");
    let rows = storage.catalog().read().unwrap();
    let upload = rows.scan(&UPLOADS, &[], None).unwrap().next();
    let (id, _) = upload.expect("the upload is there").unwrap();
    drop(rows);
    let status = registry.upload_status(&repository, &id).unwrap();
    assert_eq!(status.offset, UPLOADED as u64);
    let rest: Bytes = content(UPLOAD).slice(UPLOADED..);
    registry
        .finish_upload(&repository, &id, &digest(UPLOAD), Some(append(rest)))
        .await
        .unwrap();
    let blob = registry.blob(&repository, &digest(UPLOAD)).unwrap();
    assert!(collect(blob.read(0..blob.size)).await == content(UPLOAD));

    let uploads = storage.list_multipart_uploads("things", "").await.unwrap();
    let upload_id = uploads[0].upload_id.clone();
    let parts = storage
        .list_parts("things", "parts", &upload_id)
        .await
        .unwrap();
    storage
        .complete_multipart_upload(CompleteMultipartUploadRequest {
            bucket: "things".into(),
            key: "parts".into(),
            upload_id,
            parts,
        })
        .await
        .unwrap();
    let joined = storage
        .get_object(GetObjectRequest {
            bucket: "things".into(),
            key: "parts".into(),
            range: None,
        })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(joined.object.metadata["note"], "in parts");
    assert!(collect(joined.data).await == content(PART));
}

/// What holds from the schema on that has accounts.
#[tokio::test]
async fn accounts_and_rules_are_still_there() {
    for folder in &folders()[2..] {
        println!("{}", folder.display());
        let directory = tempfile::tempdir().unwrap();
        unpack(folder, directory.path());
        let storage = LocalStorageEngine::new(directory.path()).await.unwrap();
        let authority = Arc::new(authority(&storage, directory.path()));
        let service = AuthService::with(authority);
        let basic = |login: &str| format!("Basic {}", STANDARD.encode(login));
        let header = basic(&format!("fixture:{PASSWORD}"));
        let identity = service.check(Some(&header), None).await.unwrap();
        let decided = identity.decide(Action::PushNew, &name("fixture/image"));
        assert!(decided.allowed, "{decided:?}");
        assert!(decided.reason.to_string().ends_with(RULE), "{decided:?}");
        assert!(!identity.may(Action::Delete, &name("fixture/image")));
        assert!(
            service
                .check(Some(&basic("fixture:x")), None)
                .await
                .is_err()
        );
        storage.close().await;
    }
}

/// What holds from the schema on that has the audit log's table.
#[tokio::test]
async fn events_are_still_there() {
    for folder in &folders()[3..] {
        println!("{}", folder.display());
        let directory = tempfile::tempdir().unwrap();
        unpack(folder, directory.path());
        let storage = LocalStorageEngine::new(directory.path()).await.unwrap();
        let mut who = Vec::new();
        let mut tell = |event: drift::audit::Event| {
            who.push(event.who);
            true
        };
        let query = drift::audit::Query::default();
        query.run(storage.catalog(), &mut tell).unwrap();
        assert_eq!(who, ["user:fixture"]);
        storage.close().await;
    }
}

#[tokio::test]
async fn a_store_of_every_schema_opens_with_all_that_was_in_it() {
    if std::env::var_os("DRIFT_WRITE_FIXTURE").is_some() {
        pack_newest().await;
    }
    for folder in folders() {
        println!("{}", folder.display());
        let directory = tempfile::tempdir().unwrap();
        unpack(&folder, directory.path());
        check(directory.path()).await;
    }
}
