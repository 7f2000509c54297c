//! Multipart uploads as rows: parts are bodies of their own until a completion joins their
//! extents into an object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::catalog::{CatalogError, Key, KeyReader, KeyWriter, Rows, Table, Transaction, Value};
use super::engine::MultipartUploadPart;
use super::error::StorageError;
use super::pack::{Extent, accounts};
use super::uploads::UploadId;

/// Multipart uploads under way, by bucket, key and id: in the order in which they are listed.
pub const MULTIPART: Table<MultipartKey, MultipartRow> = Table::new(0x0c, "multipart_uploads");

/// Their parts, by upload and number.
pub const PARTS: Table<PartKey, PartRow> = Table::new(0x0a, "multipart_parts");

/// The greatest number of a part (S3, "Amazon S3 multipart upload limits").
pub const PART_NUMBER_MAX: i32 = 10_000;

/// A multipart upload's place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MultipartKey {
    /// The bucket.
    pub bucket: String,
    /// The key of the object to be.
    pub key: String,
    /// The upload.
    pub id: UploadId,
}

impl Key for MultipartKey {
    const LAYOUT: &'static str = "bucket text, key any text, upload 16 bytes";

    fn encode(&self, out: &mut KeyWriter) {
        out.text(&self.bucket)
            .any_text(&self.key)
            .raw(self.id.as_bytes());
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(MultipartKey {
            bucket: input.text()?.to_owned(),
            key: input.any_text()?,
            id: UploadId::from_slice(input.raw())?,
        })
    }
}

/// A multipart upload.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct MultipartRow {
    /// Media type of the object to be.
    pub content_type: String,
    /// What the caller says of it.
    pub metadata: BTreeMap<String, String>,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: u64,
}

impl Value for MultipartRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "content_type text, metadata map(text, text), created_ms u64";
}

/// A part's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartKey {
    /// The upload.
    pub id: UploadId,
    /// The part's number, 1 to [`PART_NUMBER_MAX`].
    pub number: u32,
}

impl Key for PartKey {
    const LAYOUT: &'static str = "upload 16 bytes, number u32";

    fn encode(&self, out: &mut KeyWriter) {
        out.raw(self.id.as_bytes()).u32(self.number);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        let (id, number) = input.raw().split_last_chunk::<4>()?;
        Some(PartKey {
            id: UploadId::from_slice(id)?,
            number: u32::from_be_bytes(*number),
        })
    }
}

/// A part.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PartRow {
    /// Length in bytes.
    pub size: u64,
    /// MD5 of the content.
    pub md5: [u8; 16],
    /// Where the bytes lie.
    pub extents: Vec<Extent>,
    /// When it was stored, in milliseconds since 1970.
    pub modified_ms: u64,
    /// What the caller says of it.
    pub metadata: BTreeMap<String, String>,
}

impl Value for PartRow {
    const VERSION: u8 = 2;
    const LAYOUT: &'static str = "size u64, md5 16 bytes, extents [pack u64, offset u64, length u64], modified_ms u64, metadata map(text, text)";
}

impl PartRow {
    /// The part's ETag: its MD5 in hex.
    pub fn etag(&self) -> String {
        hex(&self.md5)
    }
}

/// The MD5 that an ETag is, if it is one.
pub fn md5_of(etag: &str) -> Option<[u8; 16]> {
    let mut md5 = [0; 16];
    if etag.len() != 32 || !etag.is_ascii() {
        return None;
    }
    for (byte, digits) in md5.iter_mut().zip(etag.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (hex(&md5) == etag).then_some(md5)
}

/// The ETag of an object of parts with these MD5s: the MD5 over them, and their number.
pub fn joined_etag(md5s: impl IntoIterator<Item = [u8; 16]>) -> String {
    use md5::{Digest, Md5};

    let (mut all, mut number) = (Md5::new(), 0);
    for md5 in md5s {
        all.update(md5);
        number += 1;
    }
    format!("{}-{number}", hex(&all.finalize()))
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sees that a part's number is one.
pub fn check_part_number(number: i32) -> Result<u32, StorageError> {
    match u32::try_from(number) {
        Ok(valid) if (1..=PART_NUMBER_MAX).contains(&number) => Ok(valid),
        _ => Err(StorageError::Invalid {
            what: "part number",
            value: number.to_string(),
            reason: format!("parts are numbered 1 to {PART_NUMBER_MAX}"),
        }),
    }
}

/// The upload, if it is one of that bucket and key.
pub fn find(rows: &impl Rows, key: &MultipartKey) -> Result<MultipartRow, StorageError> {
    rows.get(&MULTIPART, key)?
        .ok_or_else(|| no_such_upload(&key.id))
}

/// There is no such upload, or it has ended.
pub fn no_such_upload(id: &UploadId) -> StorageError {
    StorageError::NoSuchUpload {
        upload: id.to_string(),
    }
}

/// All parts of an upload, by number.
pub fn parts(rows: &impl Rows, id: &UploadId) -> Result<Vec<(u32, PartRow)>, StorageError> {
    let mut parts = Vec::new();
    for row in rows.scan(&PARTS, id.as_bytes(), None)? {
        let (key, part) = row?;
        parts.push((key.number, part));
    }
    Ok(parts)
}

/// What a completion joins.
pub struct Joined {
    /// Length of the object in bytes.
    pub size: u64,
    /// Its extents.
    pub extents: Vec<Extent>,
    /// Its ETag: MD5 over the parts' MD5s, and their number.
    pub etag: String,
}

/// Joins the parts that a completion names, in its order. `uploaded` is sorted by number.
pub fn join(
    named: &[MultipartUploadPart],
    uploaded: &[(u32, PartRow)],
) -> Result<Joined, StorageError> {
    let refuse = |part: &MultipartUploadPart, reason: String| StorageError::InvalidPart {
        part_number: part.part_number,
        reason,
    };
    if named.is_empty() {
        return Err(StorageError::Invalid {
            what: "list of parts",
            value: String::new(),
            reason: "a completion names at least one part".into(),
        });
    }
    let mut md5s = Vec::new();
    let (mut size, mut extents, mut before) = (0, Vec::new(), 0);
    for part in named {
        let number = check_part_number(part.part_number)?;
        if number <= before {
            return Err(refuse(part, format!("it is named behind part {before}")));
        }
        before = number;
        let (_, row) = uploaded
            .binary_search_by_key(&number, |(uploaded, _)| *uploaded)
            .map(|position| &uploaded[position])
            .map_err(|_| refuse(part, "it was not uploaded".into()))?;
        let etag = row.etag();
        if part.etag.trim_matches('"') != etag {
            return Err(refuse(
                part,
                format!("its ETag is {etag}, not {}", part.etag),
            ));
        }
        if part.size != row.size {
            return Err(refuse(
                part,
                format!("it has {} bytes, not {}", row.size, part.size),
            ));
        }
        md5s.push(row.md5);
        size += row.size;
        extents.extend_from_slice(&row.extents);
    }
    Ok(Joined {
        size,
        extents,
        etag: joined_etag(md5s),
    })
}

/// How many uploads are under way. Damaged ones are passed over.
pub fn under_way(rows: &impl Rows) -> Result<u64, CatalogError> {
    let mut count = 0;
    for row in rows.scan_sound(&MULTIPART, &[], None)? {
        row?;
        count += 1;
    }
    Ok(count)
}

/// An upload under way, without what would let anybody go on with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenMultipart {
    /// The bucket.
    pub bucket: String,
    /// The key of the object to be.
    pub key: String,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: u64,
    /// Its parts and their bytes; `None` where there were too many before it to look at.
    pub parts: Option<(u64, u64)>,
}

/// The uploads under way that were begun last, at most `limit`, the latest first, of which `parts_max` parts
/// are looked at; and how many uploads there are in all. Damaged rows are passed over.
pub fn latest(
    rows: &impl Rows,
    limit: usize,
    parts_max: usize,
) -> Result<(Vec<OpenMultipart>, u64), CatalogError> {
    let (mut latest, mut count) = (Vec::new(), 0);
    let cut = |latest: &mut Vec<(u64, MultipartKey)>| {
        latest.sort_unstable_by_key(|(begun_ms, _)| std::cmp::Reverse(*begun_ms));
        latest.truncate(limit);
    };
    for row in rows.scan_sound(&MULTIPART, &[], None)? {
        let (key, row) = row?;
        count += 1;
        latest.push((row.created_ms, key));
        // However many there are, few are held.
        if latest.len() > limit.saturating_mul(2) {
            cut(&mut latest);
        }
    }
    cut(&mut latest);
    let mut left = parts_max;
    let mut open = Vec::new();
    for (begun_ms, MultipartKey { bucket, key, id }) in latest {
        let (mut parts, mut bytes) = (0, 0);
        for row in rows.scan_sound(&PARTS, id.as_bytes(), None)?.take(left) {
            let (_, part) = row?;
            parts += 1;
            bytes += part.size;
        }
        left -= parts;
        open.push(OpenMultipart {
            bucket,
            key,
            begun_ms,
            // All of it was looked at if there was room for one more.
            parts: (left > 0).then_some((parts as u64, bytes)),
        });
    }
    Ok((open, count))
}

/// Takes an upload and its parts out of the catalog; their extents are not released.
pub fn remove(
    transaction: &mut Transaction<'_>,
    key: &MultipartKey,
    parts: &[(u32, PartRow)],
) -> Result<(), StorageError> {
    transaction.delete(&MULTIPART, key)?;
    for (number, _) in parts {
        let part = PartKey {
            id: key.id,
            number: *number,
        };
        transaction.delete(&PARTS, &part)?;
    }
    Ok(())
}

/// Takes owners from the extents of those parts that no completion took over.
pub fn release<'a>(
    transaction: &mut Transaction<'_>,
    parts: impl Iterator<Item = &'a (u32, PartRow)>,
) -> Result<(), StorageError> {
    for (_, part) in parts {
        accounts::release(transaction, &part.extents)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::catalog::codec;
    use crate::ghostbay::pack::PackId;

    #[test]
    fn the_bytes_of_the_rows_are_pinned() {
        let said = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let upload = MultipartRow {
            content_type: "t".into(),
            metadata: said.clone(),
            created_ms: 7,
        };
        let golden = [1, 1, b't', 1, 1, b'a', 1, b'b', 7];
        assert_eq!(codec::encode(&upload).unwrap(), golden);
        assert_eq!(codec::decode::<MultipartRow>(&golden), Ok(upload));
        let part = PartRow {
            size: 5,
            md5: [3; 16],
            extents: vec![Extent {
                pack: PackId::new(1, 2),
                offset: 4160,
                length: 5,
            }],
            modified_ms: 9,
            metadata: said,
        };
        let mut golden = vec![2, 5];
        golden.extend([3; 16]);
        golden.extend([1, 253, 2, 0, 0, 0, 0, 0, 1, 0, 251, 64, 16, 5]);
        golden.extend([9, 1, 1, b'a', 1, b'b']);
        assert_eq!(codec::encode(&part).unwrap(), golden);
        assert_eq!(codec::decode::<PartRow>(&golden), Ok(part));
    }

    #[test]
    fn the_bytes_of_an_uploads_key_are_pinned() {
        let id = UploadId::from_slice(&[5; 16]).unwrap();
        let key = MultipartKey {
            bucket: "b".into(),
            key: "k\0".into(),
            id,
        };
        let mut golden = vec![b'b', 0, b'k', 0, 1, 0, 0];
        golden.extend([5; 16]);
        assert_eq!(MULTIPART.encode_key(&key), golden);
        assert_eq!(
            MultipartKey::decode(&mut KeyReader::new(&golden)),
            Some(key)
        );
    }
}
