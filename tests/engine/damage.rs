use std::os::unix::fs::FileExt;
use std::path::Path;

use drift::ghostbay::catalog::Rows;
use drift::ghostbay::objects::{OBJECTS, ObjectKey};
use drift::ghostbay::uploads::Append;
use drift::ghostbay::{LocalStorageEngine, StorageError, blob_key};

use crate::support::*;

/// Flips a bit of an object's stored bytes.
fn damage(engine: &LocalStorageEngine, directory: &Path, bucket: &str, key: &str, at: u64) {
    let rows = engine.catalog().read().unwrap();
    let row = rows.get(&OBJECTS, &ObjectKey::new(bucket, key)).unwrap();
    let extent = row.unwrap().extents[0];
    let path = directory.join(format!("packs/{}.pack", extent.pack));
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, extent.offset + at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], extent.offset + at)
        .unwrap();
}

/// Reads an object to its end or its error.
async fn read(
    engine: &LocalStorageEngine,
    bucket: &str,
    key: &str,
) -> anyhow::Result<bytes::Bytes> {
    use drift::ghostbay::engine::{GetObjectRequest, StorageEngine};
    let request = GetObjectRequest {
        bucket: bucket.into(),
        key: key.into(),
        range: None,
    };
    let response = engine.get_object(request).await?.expect("an object");
    collect(response.data).await
}

/// Waits until the damage that a read found is noted.
async fn until_gone(engine: &LocalStorageEngine, digest: &drift::digest::Digest) {
    for _ in 0..500 {
        let rows = engine.catalog().read().unwrap();
        let found = engine.object(&rows, BUCKET, &blob_key(digest)).unwrap();
        if found.is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the damage was never noted");
}

#[tokio::test]
async fn a_damaged_blob_is_gone_until_it_is_pushed_again() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    for (length, at) in [(1000, 999), (3_000_000, 2_500_000)] {
        let bytes = pattern(length, length as usize);
        let digest = sha256(&bytes);
        let push = || {
            let append = Append {
                start: None,
                length: None,
                body: body(&bytes),
            };
            engine.uploads().put(&digest, BUCKET, append, nothing)
        };
        push().await.unwrap();
        let live = live_bytes(&engine);
        let key = blob_key(&digest);
        damage(&engine, directory.path(), BUCKET, &key, at);

        let error = read(&engine, BUCKET, &key).await.unwrap_err();
        assert!(matches!(storage_error(&error), StorageError::Read(_)));
        until_gone(&engine, &digest).await;
        assert_eq!(blob(&engine, &digest).await, None);

        push().await.unwrap();
        assert_eq!(blob(&engine, &digest).await, Some(bytes.clone()));
        assert_eq!(live_bytes(&engine), live, "the damaged bytes still count");
    }
}

#[tokio::test]
async fn a_damaged_object_is_an_error_not_an_absence() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let bytes = pattern(1, 2_000_000);
    put(&engine, "things", "key", &bytes).await;
    damage(&engine, directory.path(), "things", "key", 5);
    for _ in 0..2 {
        let error = read(&engine, "things", "key").await.unwrap_err();
        assert!(matches!(storage_error(&error), StorageError::Read(_)));
    }
    // Nobody but its owner knows what it was; a new one takes its place.
    put(&engine, "things", "key", &bytes).await;
    assert_eq!(get(&engine, "things", "key").await, Some(bytes));
}
