//! Stores that have lost index and change log.

use drift::ghostbay::pack::record::{Header, Trailer, body_offset};
use drift::ghostbay::salvage::{SalvageError, salvage};
use drift::ghostbay::uploads::Append;

use crate::support::*;

/// Bytes full of what looks like records, each whole with its checksums, at every place where one
/// could begin.
fn forged(secret: &[u8]) -> bytes::Bytes {
    let mut bytes = Vec::new();
    let digest = sha256(b"what the forger wants to own");
    while bytes.len() < 1_500_000 {
        let crc = crc32c::crc32c(secret);
        let header = Header {
            owner: [9; 16],
            position: 0,
            length: secret.len() as u64,
            body_crc: crc,
            block_aligned: false,
        };
        bytes.extend_from_slice(&header.encode());
        assert_eq!(body_offset(0, false), 64);
        bytes.extend_from_slice(secret);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let trailer = Trailer {
            windows: vec![crc],
            digest: Some(digest),
        };
        bytes.extend_from_slice(&trailer.encode());
        bytes.resize(bytes.len().next_multiple_of(64), 0);
    }
    bytes.into()
}

#[tokio::test]
async fn what_the_packs_prove_is_kept_and_what_bodies_forge_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let secret = pattern(77, 5000);
    let blobs = [
        pattern(1, 1000),
        pattern(2, 2_000_000),
        forged(&secret),
        pattern(3, 300_000),
    ];
    for bytes in &blobs {
        let key = drift::ghostbay::blob_key(&sha256(bytes));
        put(&engine, BUCKET, &key, bytes).await;
    }
    // As docker pushes: pieces without a digest, which only the closing request names.
    let pieces = pattern(4, 3_000_000);
    let uploads = engine.uploads();
    let algorithm = drift::digest::Algorithm::Sha256;
    let id = uploads.begin("a", algorithm).await.unwrap().id;
    for part in [pieces.slice(..1_200_000), pieces.slice(1_200_000..)] {
        let piece = Append {
            start: None,
            length: None,
            body: body(&part),
        };
        uploads.append("a", &id, piece).await.unwrap();
    }
    let digest = sha256(&pieces);
    uploads
        .finish("a", &id, &digest, BUCKET, None, nothing)
        .await
        .unwrap();
    let store = drift::ghostbay::catalog::schema::store_id(&engine.catalog().read().unwrap());
    engine.close().await;
    drop(engine);
    std::fs::remove_file(directory.path().join("index.redb")).unwrap();
    std::fs::remove_dir_all(directory.path().join("log")).unwrap();
    let packs = directory.path().join("packs");
    let length = || -> u64 {
        let files = std::fs::read_dir(&packs).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    };
    let before = length();

    let salvaged = salvage(directory.path(), BUCKET, &mut |_, _| {}).unwrap();
    let mut found: Vec<_> = salvaged.blobs.iter().map(|(digest, _)| *digest).collect();
    let mut expected: Vec<_> = blobs.iter().map(|bytes| sha256(bytes)).collect();
    expected.push(digest);
    found.sort_by_key(|digest| digest.to_string());
    expected.sort_by_key(|digest| digest.to_string());
    assert_eq!(found, expected, "{salvaged:?}");
    assert_eq!(salvaged.unproven, 0);
    let engine = open(directory.path()).await;
    assert_eq!(length(), before, "a pack was cut or removed");
    for bytes in blobs.iter().chain([&pieces]) {
        assert_eq!(blob(&engine, &sha256(bytes)).await.as_ref(), Some(bytes));
    }
    assert_eq!(
        blob(&engine, &sha256(&secret)).await,
        None,
        "a forged record was believed"
    );
    let now = drift::ghostbay::catalog::schema::store_id(&engine.catalog().read().unwrap());
    assert_eq!(now.unwrap(), store.unwrap());
    put(&engine, "things", "later", &pattern(5, 500_000)).await;
    engine.close().await;
    let rows = content_rows(&engine);
    drop(engine);
    // The new log gives all of it again.
    std::fs::remove_file(directory.path().join("index.redb")).unwrap();
    drift::ghostbay::rebuild::rebuild(directory.path()).unwrap();
    let engine = open(directory.path()).await;
    assert_eq!(content_rows(&engine), rows);
    engine.close().await;
}

#[tokio::test]
async fn a_damaged_body_is_not_salvaged_and_takes_no_other_along() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let blobs: Vec<_> = (0..5).map(|n| pattern(n, 400_000)).collect();
    for bytes in &blobs {
        let key = drift::ghostbay::blob_key(&sha256(bytes));
        put(&engine, BUCKET, &key, bytes).await;
    }
    engine.close().await;
    drop(engine);
    let pack = directory.path().join("packs/0001-000000000001.pack");
    let mut bytes = std::fs::read(&pack).unwrap();
    let at = bytes
        .windows(16)
        .position(|window| window == &blobs[2][1000..1016])
        .unwrap();
    bytes[at] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let salvaged = salvage(directory.path(), BUCKET, &mut |_, _| {}).unwrap();
    assert_eq!((salvaged.blobs.len(), salvaged.unproven), (4, 1));
    assert!(
        !salvaged
            .blobs
            .iter()
            .any(|(found, _)| *found == sha256(&blobs[2]))
    );
}

#[tokio::test]
async fn nothing_is_salvaged_of_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let error = salvage(directory.path(), BUCKET, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, SalvageError::NoPack));
    assert!(!directory.path().join("index.redb").exists());
}
