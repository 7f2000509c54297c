use drift::ghostbay::engine::*;
use drift::ghostbay::{StorageError, blob_key};
use drift::range::ByteRange;

use crate::support::*;

#[tokio::test]
async fn objects_of_every_length_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    for length in [0, 1, 1000, 262_144, 262_145, 3_000_000] {
        let bytes = pattern(length as u64, length);
        put(&engine, "things", "key", &bytes).await;
        assert_eq!(get(&engine, "things", "key").await, Some(bytes));
        let head = engine.head_object("things", "key").await.unwrap().unwrap();
        assert_eq!(head.size, length as u64);
    }
    assert_eq!(get(&engine, "things", "other").await, None);
    assert_eq!(get(&engine, "nowhere", "key").await, None);
}

#[tokio::test]
async fn the_etag_is_the_md5_of_the_content() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let etag = put(&engine, "things", "key", &"abc".into()).await;
    assert_eq!(etag, "900150983cd24fb0d6963f7d28e17f72");
}

#[tokio::test]
async fn ranges_give_exactly_their_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let bytes = pattern(1, 2_500_000);
    put(&engine, "things", "key", &bytes).await;
    let read = |range| {
        let engine = engine.clone();
        async move {
            let request = GetObjectRequest {
                bucket: "things".into(),
                key: "key".into(),
                range: Some(range),
            };
            let response = engine.get_object(request).await?.unwrap();
            collect(response.data).await
        }
    };
    let cut = ByteRange::FromTo {
        first: 1_048_570,
        last: 2_097_160,
    };
    assert_eq!(read(cut).await.unwrap(), bytes.slice(1_048_570..2_097_161));
    let open_ended = ByteRange::From { first: 2_499_999 };
    assert_eq!(read(open_ended).await.unwrap(), bytes.slice(2_499_999..));
    let suffix = ByteRange::Suffix { length: 10 };
    assert_eq!(read(suffix).await.unwrap(), bytes.slice(2_499_990..));
    let behind = ByteRange::From { first: 2_500_000 };
    assert!(read(behind).await.is_err());
}

#[tokio::test]
async fn a_put_replaces_and_a_delete_frees() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    put(&engine, "things", "key", &pattern(1, 500_000)).await;
    let one = live_bytes(&engine);
    put(&engine, "things", "key", &pattern(2, 500_000)).await;
    assert_eq!(live_bytes(&engine), one, "the replaced bytes still count");
    assert_eq!(freed_bytes(&engine), 500_000);
    assert!(engine.delete_object("things", "key").await.unwrap());
    assert!(!engine.delete_object("things", "key").await.unwrap());
    assert_eq!(get(&engine, "things", "key").await, None);
    assert_eq!(live_bytes(&engine), 0);
    assert_eq!(freed_bytes(&engine), 1_000_000);
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    for announced in [99, 101, 400_000] {
        let error = engine
            .put_object(PutObjectRequest {
                bucket: "things".into(),
                key: "key".into(),
                content_type: String::new(),
                content_length: Some(announced),
                data: body(&pattern(1, 100)),
            })
            .await
            .unwrap_err();
        assert!(matches!(
            storage_error(&error),
            StorageError::SizeMismatch { expected, .. } if *expected == announced
        ));
    }
    assert_eq!(get(&engine, "things", "key").await, None);
    assert_eq!(live_bytes(&engine), 0);
}

#[tokio::test]
async fn what_breaks_off_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    put(&engine, "things", "first", &pattern(1, 300_000)).await;
    let before = pack_bytes(&engine);
    let error = engine
        .put_object(PutObjectRequest {
            bucket: "things".into(),
            key: "key".into(),
            content_type: String::new(),
            content_length: None,
            data: broken(&pattern(2, 5_000_000)),
        })
        .await
        .unwrap_err();
    assert!(matches!(
        storage_error(&error),
        StorageError::BodyBroken { .. }
    ));
    assert_eq!(get(&engine, "things", "key").await, None);
    // The cut is at the tail, which keeps room for the longest trailer.
    assert!(pack_bytes(&engine) <= before + 4096);
}

#[tokio::test]
async fn nothing_lies_under_a_digest_that_is_not_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let (bytes, other) = (pattern(1, 1000), pattern(2, 1000));
    let key = blob_key(&sha256(&bytes));
    let refused = engine
        .put_object(PutObjectRequest {
            bucket: BUCKET.into(),
            key: key.clone(),
            content_type: String::new(),
            content_length: None,
            data: body(&other),
        })
        .await
        .unwrap_err();
    assert!(matches!(
        storage_error(&refused),
        StorageError::DigestMismatch { .. }
    ));
    // Nor by a copy, nor by a completion, which move no bytes but are looked at.
    put(&engine, "things", "other", &other).await;
    let copy = |key: &str, source: &str| CopyObjectRequest {
        source_bucket: "things".into(),
        source_key: source.into(),
        bucket: BUCKET.into(),
        key: key.into(),
    };
    assert!(engine.copy_object(copy(&key, "other")).await.is_err());
    assert_eq!(get(&engine, BUCKET, &key).await, None);
    put(&engine, "things", "right", &bytes).await;
    engine.copy_object(copy(&key, "right")).await.unwrap();
    assert_eq!(get(&engine, BUCKET, &key).await, Some(bytes));
    // And no other key below blobs/ can be.
    assert!(engine.copy_object(copy("blobs/x", "right")).await.is_err());
}

#[tokio::test]
async fn a_copy_moves_no_bytes_and_outlives_the_original() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let bytes = pattern(1, 700_000);
    put(&engine, "things", "a", &bytes).await;
    let (live, packs) = (live_bytes(&engine), pack_bytes(&engine));
    for key in ["b", "c"] {
        let copy = CopyObjectRequest {
            source_bucket: "things".into(),
            source_key: "a".into(),
            bucket: "others".into(),
            key: key.into(),
        };
        engine.copy_object(copy).await.unwrap();
    }
    assert_eq!((live_bytes(&engine), pack_bytes(&engine)), (live, packs));
    engine.delete_object("things", "a").await.unwrap();
    engine.delete_object("others", "b").await.unwrap();
    assert_eq!(get(&engine, "others", "c").await, Some(bytes));
    assert_eq!(live_bytes(&engine), live);
    engine.delete_object("others", "c").await.unwrap();
    assert_eq!(live_bytes(&engine), 0);
}

async fn listed(engine: &LocalEngine, request: ListObjectsRequest) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
    let mut request = ListObjectsRequest {
        bucket: "things".into(),
        ..request
    };
    loop {
        let page = engine.list_objects(request.clone()).await.unwrap();
        keys.extend(page.objects.into_iter().map(|object| object.key));
        prefixes.extend(page.common_prefixes);
        match page.next_token {
            Some(token) => request.start_after = Some(token),
            None => return (keys, prefixes),
        }
    }
}

type LocalEngine = drift::ghostbay::LocalStorageEngine;

#[tokio::test]
async fn listings_keep_prefix_delimiter_and_order_at_every_page_size() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let keys = ["a", "a/1", "a/2", "b", "b/1/x", "b/1/y", "b/2", "c/é", "d"];
    for key in keys {
        put(&engine, "things", key, &"x".into()).await;
    }
    for max_keys in [Some(1), Some(2), Some(3), None] {
        let all = ListObjectsRequest {
            max_keys,
            ..ListObjectsRequest::default()
        };
        assert_eq!(listed(&engine, all.clone()).await.0, keys);
        let rolled_up = ListObjectsRequest {
            delimiter: Some("/".into()),
            ..all.clone()
        };
        let (keys, prefixes) = listed(&engine, rolled_up).await;
        assert_eq!(keys, ["a", "b", "d"]);
        assert_eq!(prefixes, ["a/", "b/", "c/"]);
        let below = ListObjectsRequest {
            prefix: "b/".into(),
            delimiter: Some("/".into()),
            ..all
        };
        let (keys, prefixes) = listed(&engine, below).await;
        assert_eq!(keys, ["b/2"]);
        assert_eq!(prefixes, ["b/1/"]);
    }
}

#[tokio::test]
async fn a_folder_that_is_a_key_hides_nothing_below_it() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    for key in ["b/", "b/1/x", "b/2"] {
        put(&engine, "things", key, &"x".into()).await;
    }
    for max_keys in [Some(1), Some(2), None] {
        let below = ListObjectsRequest {
            prefix: "b/".into(),
            delimiter: Some("/".into()),
            max_keys,
            ..ListObjectsRequest::default()
        };
        let (keys, prefixes) = listed(&engine, below).await;
        assert_eq!(keys, ["b/", "b/2"]);
        assert_eq!(prefixes, ["b/1/"]);
        let undivided = ListObjectsRequest {
            delimiter: Some(String::new()),
            max_keys,
            ..ListObjectsRequest::default()
        };
        let (keys, _) = listed(&engine, undivided).await;
        assert_eq!(keys, ["b/", "b/1/x", "b/2"]);
    }
}

#[tokio::test]
async fn buckets_come_with_their_first_object_and_go_when_empty() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    assert_eq!(engine.head_bucket("things").await.unwrap(), None);
    put(&engine, "things", "a", &"x".into()).await;
    assert!(engine.create_bucket("others").await.unwrap());
    assert!(!engine.create_bucket("others").await.unwrap());
    let names: Vec<_> = engine.list_buckets().await.unwrap();
    let names: Vec<_> = names.iter().map(|bucket| bucket.name.as_str()).collect();
    assert_eq!(names, ["others", "things"]);
    let error = engine.delete_bucket("things").await.unwrap_err();
    assert!(matches!(
        storage_error(&error),
        StorageError::BucketNotEmpty { .. }
    ));
    engine.delete_object("things", "a").await.unwrap();
    assert!(engine.delete_bucket("things").await.unwrap());
    assert!(!engine.delete_bucket("things").await.unwrap());
    assert!(engine.create_bucket("X").await.is_err());
}

#[tokio::test]
async fn a_bucket_that_cannot_be_holds_nothing_and_harms_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let id = "00000000-0000-4000-8000-000000000000";
    for bucket in ["", "a\0b", "things\0", "../x", "UPPER"] {
        assert_eq!(get(&engine, bucket, "key").await, None);
        assert_eq!(engine.head_object(bucket, "key").await.unwrap(), None);
        assert!(!engine.delete_object(bucket, "key").await.unwrap());
        assert_eq!(engine.head_bucket(bucket).await.unwrap(), None);
        assert!(!engine.delete_bucket(bucket).await.unwrap());
        assert!(
            engine
                .abort_multipart_upload(bucket, "key", id)
                .await
                .is_err()
        );
        assert!(engine.list_parts(bucket, "key", id).await.is_err());
        assert!(engine.list_multipart_uploads(bucket, "").await.is_err());
        let copy = CopyObjectRequest {
            source_bucket: bucket.into(),
            source_key: "key".into(),
            bucket: "things".into(),
            key: "copy".into(),
        };
        let error = engine.copy_object(copy).await.unwrap_err();
        assert!(matches!(
            storage_error(&error),
            StorageError::NoSuchKey { .. }
        ));
    }
    put(&engine, "things", "key", &pattern(1, 10)).await;
}
