use bytes::Bytes;
use drift::ghostbay::engine::*;
use drift::ghostbay::{StorageError, blob_key};

use crate::support::*;

async fn create(engine: &impl StorageEngine, bucket: &str, key: &str) -> String {
    engine
        .create_multipart_upload(CreateMultipartUploadRequest {
            bucket: bucket.into(),
            key: key.into(),
            content_type: "text/plain".into(),
            metadata: None,
        })
        .await
        .unwrap()
}

async fn upload(
    engine: &impl StorageEngine,
    (bucket, key, upload_id): (&str, &str, &str),
    part_number: i32,
    bytes: &Bytes,
) -> anyhow::Result<MultipartUploadPart> {
    let etag = engine
        .upload_part(UploadPartRequest {
            bucket: bucket.into(),
            key: key.into(),
            upload_id: upload_id.into(),
            part_number,
            data: body(bytes),
        })
        .await?;
    Ok(MultipartUploadPart {
        part_number,
        etag,
        size: bytes.len() as u64,
    })
}

fn completion(
    (bucket, key, upload_id): (&str, &str, &str),
    parts: &[MultipartUploadPart],
) -> CompleteMultipartUploadRequest {
    CompleteMultipartUploadRequest {
        bucket: bucket.into(),
        key: key.into(),
        upload_id: upload_id.into(),
        parts: parts.to_vec(),
    }
}

#[tokio::test]
async fn a_completion_joins_the_named_parts_and_moves_no_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let id = create(&engine, "things", "key").await;
    let at = ("things", "key", id.as_str());
    let (a, b) = (pattern(1, 400_000), pattern(2, 1000));
    let second = upload(&engine, at, 7, &b).await.unwrap();
    upload(&engine, at, 3, &pattern(9, 2_000_000))
        .await
        .unwrap();
    let first = upload(&engine, at, 3, &a).await.unwrap();
    upload(&engine, at, 9, &pattern(3, 300_000)).await.unwrap();
    let listed = engine.list_parts(at.0, at.1, at.2).await.unwrap();
    let numbers: Vec<_> = listed.iter().map(|part| part.part_number).collect();
    assert_eq!(numbers, [3, 7, 9]);
    assert_eq!(listed[0], first);
    assert_eq!(get(&engine, "things", "key").await, None);

    let packs = pack_bytes(&engine);
    let etag = engine
        .complete_multipart_upload(completion(at, &[first, second]))
        .await
        .unwrap();
    assert!(etag.ends_with("-2"));
    assert_eq!(pack_bytes(&engine), packs);
    let joined: Bytes = [a, b].concat().into();
    assert_eq!(get(&engine, "things", "key").await, Some(joined.clone()));
    // Replaced and unused parts do not count any more.
    assert!(live_bytes(&engine) < joined.len() as u64 + 10_000);
    assert!(engine.list_parts(at.0, at.1, at.2).await.is_err());
    engine.delete_object("things", "key").await.unwrap();
    assert_eq!(live_bytes(&engine), 0);
}

#[tokio::test]
async fn a_completion_of_other_parts_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let id = create(&engine, "things", "key").await;
    let at = ("things", "key", id.as_str());
    let one = upload(&engine, at, 1, &pattern(1, 1000)).await.unwrap();
    let two = upload(&engine, at, 2, &pattern(2, 1000)).await.unwrap();
    let mut forged = one.clone();
    forged.etag = two.etag.clone();
    let mut missing = one.clone();
    missing.part_number = 5;
    for parts in [
        vec![],
        vec![forged],
        vec![missing],
        vec![two.clone(), one.clone()],
        vec![one.clone(), one.clone()],
    ] {
        let refused = engine
            .complete_multipart_upload(completion(at, &parts))
            .await;
        assert!(refused.is_err(), "{parts:?}");
    }
    for number in [0, -1, 10_001] {
        assert!(upload(&engine, at, number, &"x".into()).await.is_err());
    }
    engine
        .complete_multipart_upload(completion(at, &[one, two]))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_content_addressed_completion_is_verified() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let bytes = pattern(1, 900_000);
    let key = blob_key(&sha256(&bytes));
    let id = create(&engine, BUCKET, &key).await;
    let at = (BUCKET, key.as_str(), id.as_str());
    let one = upload(&engine, at, 1, &bytes.slice(..400_000))
        .await
        .unwrap();
    let two = upload(&engine, at, 2, &bytes.slice(400_000..))
        .await
        .unwrap();
    let error = engine
        .complete_multipart_upload(completion(at, std::slice::from_ref(&one)))
        .await
        .unwrap_err();
    assert!(matches!(
        storage_error(&error),
        StorageError::DigestMismatch { .. }
    ));
    engine
        .complete_multipart_upload(completion(at, &[one, two]))
        .await
        .unwrap();
    assert_eq!(get(&engine, BUCKET, &key).await, Some(bytes));
}

#[tokio::test]
async fn an_aborted_upload_is_gone_with_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let id = create(&engine, "things", "a/key").await;
    create(&engine, "things", "b/key").await;
    let at = ("things", "a/key", id.as_str());
    upload(&engine, at, 1, &pattern(1, 500_000)).await.unwrap();
    let uploads = engine.list_multipart_uploads("things", "a/").await.unwrap();
    assert_eq!(uploads.len(), 1);
    assert_eq!(uploads[0].upload_id, id);
    engine
        .abort_multipart_upload(at.0, at.1, at.2)
        .await
        .unwrap();
    assert_eq!(live_bytes(&engine), 0);
    assert!(upload(&engine, at, 2, &"x".into()).await.is_err());
    assert!(
        engine
            .abort_multipart_upload(at.0, at.1, at.2)
            .await
            .is_err()
    );
    // Nor is an upload found under another key.
    let id = create(&engine, "things", "key").await;
    let elsewhere = ("things", "other", id.as_str());
    assert!(upload(&engine, elsewhere, 1, &"x".into()).await.is_err());
}
