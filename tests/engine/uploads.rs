use std::time::Duration;

use drift::digest::{Algorithm, Digest};
use drift::ghostbay::StorageError;
use drift::ghostbay::catalog::Transaction;
use drift::ghostbay::uploads::{Append, FINISHED_KEPT_MS};
use futures::StreamExt;

use crate::support::*;

fn append(bytes: &bytes::Bytes) -> Append<'static> {
    Append {
        start: None,
        length: None,
        body: body(bytes),
    }
}

#[tokio::test]
async fn pieces_of_every_size_become_the_blob() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let bytes = pattern(1, 5_000_000);
    let digest = sha256(&bytes);
    let uploads = engine.uploads();
    let id = uploads.begin("a/b", Algorithm::Sha256).await.unwrap().id;
    let mut at = 0;
    for length in [1, 0, 262_144, 1_500_000, 10, 3_000_000] {
        let piece = bytes.slice(at..at + length);
        let status = uploads
            .append(
                "a/b",
                &id,
                Append {
                    start: Some(at as u64),
                    length: Some(length as u64),
                    body: body(&piece),
                },
            )
            .await
            .unwrap();
        at += length;
        assert_eq!(status.offset, at as u64);
        assert_eq!(uploads.status("a/b", &id).unwrap(), status);
    }
    assert_eq!(blob(&engine, &digest).await, None);
    let last = append(&bytes.slice(at..));
    uploads
        .finish("a/b", &id, &digest, BUCKET, Some(last), nothing)
        .await
        .unwrap();
    assert_eq!(blob(&engine, &digest).await, Some(bytes));
    assert!(uploads.status("a/b", &id).is_err());
}

#[tokio::test]
async fn a_piece_that_begins_elsewhere_is_refused_with_the_offset() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let uploads = engine.uploads();
    let id = uploads.begin("a", Algorithm::Sha256).await.unwrap().id;
    uploads
        .append("a", &id, append(&"12345".into()))
        .await
        .unwrap();
    for start in [0, 4, 6] {
        let piece = Append {
            start: Some(start),
            ..append(&"x".into())
        };
        let error = uploads.append("a", &id, piece).await.unwrap_err();
        assert!(matches!(error, StorageError::OutOfOrder { offset: 5, .. }));
    }
}

#[tokio::test]
async fn what_came_of_a_broken_piece_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let uploads = engine.uploads();
    let bytes = pattern(1, 3_000_000);
    let digest = sha256(&bytes);
    for cut in [1000, 2_000_000] {
        let id = uploads.begin("a", Algorithm::Sha256).await.unwrap().id;
        let piece = Append {
            start: None,
            length: Some(3_000_000),
            body: broken(&bytes.slice(..cut)),
        };
        let error = uploads.append("a", &id, piece).await.unwrap_err();
        assert!(
            matches!(error, StorageError::BodyBroken { offset, .. } if offset == cut as u64),
            "{error}"
        );
        assert_eq!(uploads.status("a", &id).unwrap().offset, cut as u64);
        let rest = append(&bytes.slice(cut..));
        uploads
            .finish("a", &id, &digest, BUCKET, Some(rest), nothing)
            .await
            .unwrap();
        assert_eq!(blob(&engine, &digest).await, Some(bytes.clone()));
    }
}

#[tokio::test]
async fn a_wrong_digest_drops_the_upload_and_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let uploads = engine.uploads();
    let wrong = sha256(b"something else");
    for length in [100, 1_000_000] {
        let id = uploads.begin("a", Algorithm::Sha256).await.unwrap().id;
        let bytes = pattern(1, length);
        uploads.append("a", &id, append(&bytes)).await.unwrap();
        let error = uploads
            .finish("a", &id, &wrong, BUCKET, Some(append(&bytes)), nothing)
            .await
            .unwrap_err();
        assert!(matches!(error, StorageError::DigestMismatch { .. }));
        assert!(uploads.status("a", &id).is_err());
        let error = uploads
            .put(&wrong, BUCKET, append(&bytes), nothing)
            .await
            .unwrap_err();
        assert!(matches!(error, StorageError::DigestMismatch { .. }));
        assert_eq!(blob(&engine, &wrong).await, None);
        assert_eq!(live_bytes(&engine), 0);
    }
}

#[tokio::test]
async fn a_closing_request_can_be_repeated_for_an_hour() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let uploads = engine.uploads();
    let bytes = pattern(1, 1000);
    let digest = sha256(&bytes);
    let id = uploads.begin("a", Algorithm::Sha256).await.unwrap().id;
    uploads.append("a", &id, append(&bytes)).await.unwrap();
    let finish = |scope: &'static str, digest: Digest| {
        uploads.finish(
            scope,
            &id,
            Box::leak(Box::new(digest)),
            BUCKET,
            None,
            nothing,
        )
    };
    finish("a", digest).await.unwrap();
    finish("a", digest).await.unwrap();
    assert!(finish("b", digest).await.is_err(), "another's upload");
    assert!(finish("a", sha256(b"x")).await.is_err(), "another digest");
    let now = drift::ghostbay::now_ms();
    assert_eq!(uploads.forget_finished(now).await.unwrap(), 0);
    let later = now + FINISHED_KEPT_MS + 1000;
    assert_eq!(uploads.forget_finished(later).await.unwrap(), 1);
    assert!(finish("a", digest).await.is_err());
    assert_eq!(blob(&engine, &digest).await, Some(bytes));
}

#[tokio::test]
async fn another_algorithm_than_was_hinted_still_closes() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let uploads = engine.uploads();
    let bytes = pattern(1, 1_200_000);
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    let id = uploads.begin("a", Algorithm::Sha256).await.unwrap().id;
    let first = append(&bytes.slice(..1_100_000));
    uploads.append("a", &id, first).await.unwrap();
    let rest = append(&bytes.slice(1_100_000..));
    uploads
        .finish("a", &id, &digest, BUCKET, Some(rest), nothing)
        .await
        .unwrap();
    assert_eq!(blob(&engine, &digest).await, Some(bytes));
}

#[tokio::test]
async fn the_same_content_twice_is_kept_once() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let bytes = pattern(1, 600_000);
    let digest = sha256(&bytes);
    engine
        .uploads()
        .put(&digest, BUCKET, append(&bytes), nothing)
        .await
        .unwrap();
    let live = live_bytes(&engine);
    let twice = (0..8).map(|_| {
        engine
            .uploads()
            .put(&digest, BUCKET, append(&bytes), nothing)
    });
    for result in futures::future::join_all(twice).await {
        result.unwrap();
    }
    assert_eq!(live_bytes(&engine), live);
    assert_eq!(blob(&engine, &digest).await, Some(bytes));
}

#[tokio::test]
async fn what_is_recorded_with_a_blob_stands_or_falls_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let bytes = pattern(1, 600_000);
    let digest = sha256(&bytes);
    let refuse = |_: &mut Transaction<'_>, _: u64| -> Result<(), StorageError> {
        Err(StorageError::NoSuchBucket {
            bucket: "refused".into(),
        })
    };
    let error = engine
        .uploads()
        .put(&digest, BUCKET, append(&bytes), refuse)
        .await
        .unwrap_err();
    assert!(matches!(error, StorageError::NoSuchBucket { .. }));
    assert_eq!(blob(&engine, &digest).await, None);
    assert_eq!(live_bytes(&engine), 0);
}

#[tokio::test]
async fn the_newest_request_takes_an_upload_over() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let uploads = engine.uploads().clone();
    let bytes = pattern(1, 1_000_000);
    let digest = sha256(&bytes);
    let id = uploads.begin("a", Algorithm::Sha256).await.unwrap().id;
    // A request whose connection died: half of the bytes, then silence.
    let half = body(&bytes.slice(..500_000));
    let silent = Append {
        start: None,
        length: Some(1_000_000),
        body: Box::pin(half.chain(futures::stream::pending())),
    };
    let old = tokio::spawn({
        let uploads = uploads.clone();
        async move { uploads.append("a", &id, silent).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let probe = Append {
        start: Some(0),
        ..append(&"x".into())
    };
    let error = uploads.append("a", &id, probe).await.unwrap_err();
    assert!(
        matches!(
            error,
            StorageError::OutOfOrder {
                offset: 500_000,
                ..
            }
        ),
        "{error}"
    );
    assert!(matches!(
        old.await.unwrap(),
        Err(StorageError::BodyBroken { .. })
    ));
    let rest = append(&bytes.slice(500_000..));
    uploads
        .finish("a", &id, &digest, BUCKET, Some(rest), nothing)
        .await
        .unwrap();
    assert_eq!(blob(&engine, &digest).await, Some(bytes));
}

#[tokio::test]
async fn a_cancelled_upload_is_gone_and_nobody_elses_can_be_reached() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let uploads = engine.uploads();
    let id = uploads.begin("a", Algorithm::Sha256).await.unwrap().id;
    let piece = pattern(1, 800_000);
    uploads.append("a", &id, append(&piece)).await.unwrap();
    assert!(uploads.status("b", &id).is_err());
    assert!(uploads.append("b", &id, append(&piece)).await.is_err());
    assert!(uploads.cancel("b", &id).await.is_err());
    uploads.cancel("a", &id).await.unwrap();
    assert!(uploads.status("a", &id).is_err());
    assert!(uploads.cancel("a", &id).await.is_err());
    assert_eq!(live_bytes(&engine), 0);
}

#[tokio::test]
async fn a_caller_that_goes_away_holds_its_upload_until_the_commit() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let uploads = engine.uploads();
    let id = uploads.begin("a", Algorithm::Sha256).await.unwrap().id;
    let bytes = pattern(1, 1000);
    // The committer is kept busy, so that the piece waits in its queue.
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let catalog = engine.catalog().clone();
    let busy = tokio::spawn(async move {
        let busy = move |_: &mut Transaction<'_>| {
            let _ = wait.recv();
            Ok::<_, StorageError>(())
        };
        catalog.transact(busy).await
    });
    let pause = || tokio::time::sleep(Duration::from_millis(100));
    pause().await;
    let gone = uploads.append("a", &id, append(&bytes));
    tokio::select! {
        _ = gone => panic!("the committer did not wait"),
        () = pause() => {}
    }
    let newcomer = tokio::spawn({
        let (uploads, piece) = (uploads.clone(), append(&bytes));
        async move { uploads.append("a", &id, piece).await }
    });
    pause().await;
    drop(go_on);
    busy.await.unwrap().unwrap();
    assert_eq!(newcomer.await.unwrap().unwrap().offset, 2000);
}

#[tokio::test]
async fn an_upload_in_more_pieces_than_a_row_should_name_is_refused() {
    use drift::ghostbay::catalog::{CatalogError, Rows};
    use drift::ghostbay::uploads::UPLOADS;

    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let uploads = engine.uploads();
    let id = uploads.begin("a", Algorithm::Sha256).await.unwrap().id;
    uploads
        .append("a", &id, append(&"12345".into()))
        .await
        .unwrap();
    // A hundred thousand pieces take too long to send; what counts is how many the row names.
    let result: Result<(), CatalogError> = engine
        .catalog()
        .transact(move |transaction| {
            let mut row = transaction.get(&UPLOADS, &id)?.unwrap();
            row.extents = vec![row.extents[0]; 100_000];
            transaction.put(&UPLOADS, &id, &row)
        })
        .await;
    result.unwrap();
    let error = uploads
        .append("a", &id, append(&"6".into()))
        .await
        .unwrap_err();
    assert!(matches!(error, StorageError::TooManyPieces { .. }));
    assert_eq!(uploads.status("a", &id).unwrap().offset, 5);
}
