//! Room that pushes leave alone, and uploads that nobody goes on with.

use std::sync::Arc;
use std::time::Duration;

use drift::digest::Algorithm;
use drift::ghostbay::disk::Room;
use drift::ghostbay::engine::*;
use drift::ghostbay::room::MinFree;
use drift::ghostbay::sim::SimDisk;
use drift::ghostbay::uploads::Append;
use drift::ghostbay::{EngineOptions, LocalStorageEngine, StorageError, now_ms};

use crate::support::*;

/// A disk's answer holds for a second.
const UNTIL_ASKED_AGAIN: Duration = Duration::from_millis(1100);

#[tokio::test]
async fn with_too_little_room_pushes_are_refused_and_deletes_give_back_at_once() {
    let disk = SimDisk::default();
    let room = |available| Room {
        available,
        total: 1_000_000,
    };
    disk.set_room(room(60_000));
    let options = EngineOptions {
        min_free: MinFree::Percent(5),
        ..EngineOptions::default()
    };
    let engine = LocalStorageEngine::open_on(Arc::new(disk.clone()), "/store", options)
        .await
        .unwrap();
    let bytes = pattern(1, 400_000);
    put(&engine, "things", "key", &bytes).await;
    let uploads = engine.uploads();
    let id = uploads.begin("a", Algorithm::Sha256).await.unwrap().id;
    assert!(!engine.pressure());

    disk.set_room(room(49_999));
    tokio::time::sleep(UNTIL_ASKED_AGAIN).await;
    assert!(engine.pressure());
    let is_full = |error: &StorageError| {
        matches!(
            error,
            StorageError::Full {
                available: 49_999,
                minimum: 50_000
            }
        )
    };
    let error = uploads.begin("a", Algorithm::Sha256).await.unwrap_err();
    assert!(is_full(&error), "{error:?}");
    assert!(error.to_string().contains("49999"), "{error}");
    let append = Append {
        start: None,
        length: None,
        body: body(&pattern(2, 100)),
    };
    let error = uploads.append("a", &id, append).await.unwrap_err();
    assert!(is_full(&error), "{error:?}");
    let request = PutObjectRequest {
        bucket: "things".into(),
        key: "other".into(),
        content_type: String::new(),
        content_length: Some(100),
        data: body(&pattern(2, 100)),
    };
    let error = engine.put_object(request).await.unwrap_err();
    assert!(is_full(storage_error(&error)), "{error:?}");
    // Pulls go on, and deletes; what is deleted comes back, whatever a backup may need of it.
    assert_eq!(get(&engine, "things", "key").await, Some(bytes));
    uploads.cancel("a", &id).await.unwrap();
    engine.delete_object("things", "key").await.unwrap();
    let done = engine.reclaim().await.unwrap();
    assert!(done.punched_bytes > 390_000, "{done:?}");

    disk.set_room(room(70_000));
    tokio::time::sleep(UNTIL_ASKED_AGAIN).await;
    assert!(!engine.pressure());
    put(&engine, "things", "other", &pattern(2, 100)).await;
}

#[tokio::test]
async fn uploads_that_nobody_goes_on_with_end() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let uploads = engine.uploads();
    let begin = || uploads.begin("a", Algorithm::Sha256);
    let (old, held) = (begin().await.unwrap().id, begin().await.unwrap().id);
    let piece = || Append {
        start: None,
        length: None,
        body: body(&pattern(1, 300_000)),
    };
    uploads.append("a", &old, piece()).await.unwrap();
    let multipart = CreateMultipartUploadRequest {
        bucket: "things".into(),
        key: "parts".into(),
        content_type: String::new(),
        metadata: None,
    };
    let upload_id = engine.create_multipart_upload(multipart).await.unwrap();
    let part = UploadPartRequest {
        bucket: "things".into(),
        key: "parts".into(),
        upload_id: upload_id.clone(),
        part_number: 1,
        data: body(&pattern(2, 300_000)),
    };
    engine.upload_part(part).await.unwrap();
    // A request holds the other one.
    let stalled = Append {
        start: None,
        length: None,
        body: Box::pin(futures::stream::pending()),
    };
    let holding = tokio::spawn({
        let engine = engine.clone();
        async move { engine.uploads().append("a", &held, stalled).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(engine.end_abandoned(now_ms() - 3_600_000).await.unwrap(), 0);
    let now = now_ms();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let young = begin().await.unwrap().id;
    assert_eq!(engine.end_abandoned(now).await.unwrap(), 2);
    assert!(uploads.status("a", &old).is_err());
    uploads.status("a", &held).unwrap();
    uploads.status("a", &young).unwrap();
    assert!(
        engine
            .list_parts("things", "parts", &upload_id)
            .await
            .is_err()
    );
    assert_eq!(live_bytes(&engine), 0);
    assert_eq!(freed_bytes(&engine), 600_000);
    holding.abort();
}
