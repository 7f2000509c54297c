//! Buckets and objects as rows, and what may be done to them within a transaction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::catalog::{CatalogError, Key, KeyReader, KeyWriter, Rows, Table, Transaction, Value};
use super::error::{StorageError, excerpt};
use super::pack::{Extent, accounts};
use crate::digest::{Algorithm, Digest};

/// All buckets, by name.
pub const BUCKETS: Table<String, BucketRow> = Table::new(0x04, "buckets");

/// All objects, by bucket and key.
pub const OBJECTS: Table<ObjectKey, ObjectRow> = Table::new(0x05, "objects");

/// A bucket.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct BucketRow {
    /// When it came into being, in milliseconds since 1970.
    pub created_ms: u64,
}

impl Value for BucketRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "created_ms u64";
}

/// An object's place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectKey {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

impl ObjectKey {
    /// The object `key` of `bucket`.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        ObjectKey {
            bucket: bucket.into(),
            key: key.into(),
        }
    }
}

impl Key for ObjectKey {
    const LAYOUT: &'static str = "bucket text, key bytes";

    fn encode(&self, out: &mut KeyWriter) {
        out.text(&self.bucket).raw(self.key.as_bytes());
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        let bucket = input.text()?.to_owned();
        let key = std::str::from_utf8(input.raw()).ok()?.to_owned();
        Some(ObjectKey { bucket, key })
    }
}

/// An object.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ObjectRow {
    /// Length in bytes.
    pub size: u64,
    /// Where the bytes lie, in order.
    pub extents: Vec<Extent>,
    /// Digest of the content, where it was computed.
    pub digest: Option<Digest>,
    /// ETag as S3 computes it, or the digest of a blob that came through the registry.
    pub etag: String,
    /// Media type.
    pub content_type: String,
    /// When it was stored, in milliseconds since 1970.
    pub modified_ms: u64,
    /// What the caller said of it.
    pub metadata: BTreeMap<String, String>,
    /// When its bytes were found not to be those that were written, in milliseconds since 1970.
    pub damaged_ms: Option<u64>,
}

impl Value for ObjectRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "size u64, extents [pack u64, offset u64, length u64], digest option(algorithm u8, raw bytes), etag text, content_type text, modified_ms u64, metadata map(text, text), damaged_ms option(u64)";
}

/// Where content-addressed objects lie within their bucket.
pub const BLOBS_PREFIX: &str = "blobs/";

/// Media type of bytes of which nothing else is known.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// The key of the blob with that digest: `blobs/<algorithm>/<hex>`.
pub fn blob_key(digest: &Digest) -> String {
    format!("{BLOBS_PREFIX}{}/{}", digest.algorithm(), digest.hex())
}

/// The digest that content under a content-addressed key must have.
pub fn addressed_digest(key: &str) -> Result<Option<Digest>, StorageError> {
    let Some(path) = key.strip_prefix(BLOBS_PREFIX) else {
        return Ok(None);
    };
    path.split_once('/')
        .and_then(|(algorithm, hex)| {
            let algorithm: Algorithm = algorithm.parse().ok()?;
            format!("{algorithm}:{hex}").parse().ok()
        })
        .map(Some)
        .ok_or_else(|| StorageError::Invalid {
            what: "key",
            value: excerpt(key),
            reason: "keys below blobs/ are blobs/<algorithm>/<hex digits of the content's digest>"
                .into(),
        })
}

/// The most bytes that a key may have (S3, "Object key naming guidelines").
pub const KEY_BYTES_MAX: usize = 1024;

/// Sees that a bucket's name is one (S3, "General purpose bucket naming rules").
pub fn check_bucket_name(bucket: &str) -> Result<(), StorageError> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = bucket.as_bytes();
    let valid = (3..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| inner(*byte) || matches!(byte, b'-' | b'.'))
        && inner(bytes[0])
        && inner(bytes[bytes.len() - 1])
        && !bucket.contains("..");
    if valid {
        return Ok(());
    }
    Err(StorageError::Invalid {
        what: "bucket",
        value: excerpt(bucket),
        reason: "a bucket's name has 3 to 63 lower-case letters, digits, hyphens and single dots, and begins and ends with a letter or digit".into(),
    })
}

/// Sees that a key is one.
pub fn check_key(key: &str) -> Result<(), StorageError> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    Err(StorageError::Invalid {
        what: "key",
        value: excerpt(key),
        reason: format!(
            "a key has 1 to {KEY_BYTES_MAX} bytes, this one has {}",
            key.len()
        ),
    })
}

/// Makes the bucket if it is not there; whether it is new.
pub fn ensure_bucket(
    transaction: &mut Transaction<'_>,
    bucket: &str,
    now_ms: u64,
) -> Result<bool, CatalogError> {
    let name = bucket.to_owned();
    if transaction.contains(&BUCKETS, &name)? {
        return Ok(false);
    }
    transaction.put(&BUCKETS, &name, &BucketRow { created_ms: now_ms })?;
    Ok(true)
}

/// Puts an object in place of any other under its key, whose bytes lose an owner.
pub fn replace(
    transaction: &mut Transaction<'_>,
    key: &ObjectKey,
    row: &ObjectRow,
) -> Result<(), CatalogError> {
    // Where the bytes of a damaged row lie is not known: they count as live until a check.
    if let Some(old) = transaction.get_sound(&OBJECTS, key)? {
        accounts::release(transaction, &old.extents)?;
    }
    ensure_bucket(transaction, &key.bucket, row.modified_ms)?;
    transaction.put(&OBJECTS, key, row)
}

/// Puts a content-addressed object, unless its content is there already: then the bytes of the
/// newcomer lose their owner. What is there but damaged is replaced. Either way the content is
/// there afterwards.
pub fn put_addressed(
    transaction: &mut Transaction<'_>,
    key: &ObjectKey,
    row: &ObjectRow,
) -> Result<(), CatalogError> {
    match transaction.get_sound(&OBJECTS, key)? {
        Some(whole) if whole.damaged_ms.is_none() => {
            return accounts::release(transaction, &row.extents);
        }
        Some(damaged) => accounts::release(transaction, &damaged.extents)?,
        None => {}
    }
    ensure_bucket(transaction, &key.bucket, row.modified_ms)?;
    transaction.put(&OBJECTS, key, row)
}

/// Takes an object out, whose bytes lose an owner; how many those are. Nothing happens if there is
/// none.
pub fn remove(transaction: &mut Transaction<'_>, key: &ObjectKey) -> Result<u64, CatalogError> {
    // As in `replace`: where the bytes of a damaged row lie is not known.
    let row = transaction.get_sound(&OBJECTS, key)?;
    if let Some(row) = &row {
        accounts::release(transaction, &row.extents)?;
    }
    transaction.delete(&OBJECTS, key)?;
    Ok(row.map_or(0, |row| row.size))
}

/// Notes that an extent of an object could not be read as it was written. Nothing happens if the
/// object has been replaced since.
pub fn mark_damaged(
    transaction: &mut Transaction<'_>,
    key: &ObjectKey,
    extent: &Extent,
    now_ms: u64,
) -> Result<(), CatalogError> {
    if let Some(mut row) = transaction.get_sound(&OBJECTS, key)?
        && row.damaged_ms.is_none()
        && row.extents.contains(extent)
    {
        row.damaged_ms = Some(now_ms);
        transaction.put(&OBJECTS, key, &row)?;
    }
    Ok(())
}

/// The row of a blob that was hashed on its way in.
pub fn blob_row(digest: &Digest, size: u64, extents: Vec<Extent>, now_ms: u64) -> ObjectRow {
    ObjectRow {
        size,
        extents,
        digest: Some(*digest),
        etag: digest.to_string(),
        content_type: OCTET_STREAM.to_owned(),
        modified_ms: now_ms,
        metadata: BTreeMap::new(),
        damaged_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::catalog::codec;
    use crate::ghostbay::pack::PackId;

    #[test]
    fn keys_below_blobs_are_digests() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        assert_eq!(addressed_digest(&blob_key(&digest)).unwrap(), Some(digest));
        assert_eq!(addressed_digest("manifests/a/b").unwrap(), None);
        for key in [
            "blobs/",
            "blobs/sha256",
            "blobs/sha256/",
            "blobs/sha256/abc",
            "blobs/md5/d41d8cd98f00b204e9800998ecf8427e",
            "blobs/sha256/../x",
        ] {
            assert!(addressed_digest(key).is_err(), "{key}");
        }
    }

    #[test]
    fn bucket_names_follow_the_rules() {
        for name in ["abc", "drift-registry", "a.b", "0-9"] {
            check_bucket_name(name).unwrap();
        }
        let long = "a".repeat(64);
        for name in [
            "", "ab", "Abc", "-abc", "abc-", "a..b", "a_b", "a/b", "a\0b", &long,
        ] {
            assert!(check_bucket_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_bytes_of_an_object_row_are_pinned() {
        let row = ObjectRow {
            size: 5,
            extents: vec![Extent {
                pack: PackId::new(1, 2),
                offset: 4160,
                length: 5,
            }],
            digest: None,
            etag: "e".into(),
            content_type: "t".into(),
            modified_ms: 7,
            metadata: BTreeMap::from([("a".into(), "b".into())]),
            damaged_ms: Some(9),
        };
        let golden = [
            1, 5, 1, 253, 2, 0, 0, 0, 0, 0, 1, 0, 251, 64, 16, 5, 0, 1, b'e', 1, b't', 7, 1, 1,
            b'a', 1, b'b', 1, 9,
        ];
        assert_eq!(codec::encode(&row).unwrap(), golden);
        assert_eq!(codec::decode::<ObjectRow>(&golden), Ok(row));
    }
}
