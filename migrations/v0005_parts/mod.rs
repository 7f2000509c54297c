//! Parts of multipart uploads learn what is said of them and when they came, and uploads lie in the order in
//! which they are listed.
//!
//! Until here what was said of a part lay in its upload's row, which was written again with each part.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ghostbay::catalog::schema::Step;
use crate::ghostbay::catalog::{
    CatalogError, Key, KeyReader, KeyWriter, Rows, Table, Transaction, Value,
};

pub(super) const STEP: Step = Step {
    version: 5,
    name: "parts",
    apply: |transaction| {
        move_uploads(transaction)?;
        rewrite_parts(transaction, &[], &Said::default())
    },
};

/// Rows that are read before they are written again: a scan and a put cannot go on at once.
const PAGE_ROWS: usize = 100;

/// Names under which the S3 endpoint kept a part's checksum with its upload: five digits follow.
const OLD_PART: &str = ":part-";
/// The name under which it keeps it with the part.
const CHECKSUM: &str = ":checksum";

const OLD_UPLOADS: Table<OldUploadKey, UploadRow> = Table::new(0x09, "multipart_uploads");
const UPLOADS: Table<UploadKey, UploadRow> = Table::new(0x0c, "multipart_uploads");
const OLD_PARTS: Table<PartKey, OldPartRow> = Table::new(0x0a, "multipart_parts");
const PARTS: Table<PartKey, PartRow> = Table::new(0x0a, "multipart_parts");

/// What an upload's row said of its parts.
#[derive(Default)]
struct Said {
    modified_ms: u64,
    checksums: BTreeMap<u32, String>,
}

fn move_uploads(transaction: &mut Transaction<'_>) -> Result<(), CatalogError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page: Vec<_> = transaction
            .inspect(&OLD_UPLOADS, &[], after.as_deref())?
            .take(PAGE_ROWS)
            .collect::<Result<_, _>>()?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.bytes[1..].to_vec());
        for row in page {
            // A damaged one stays where it is, which a check finds to be no table's row.
            let (Some(old), Ok(mut upload)) = (row.key, row.row) else {
                continue;
            };
            let mut said = Said {
                modified_ms: upload.created_ms,
                ..Said::default()
            };
            upload.metadata.retain(|name, text| {
                let Some(number) = name.strip_prefix(OLD_PART) else {
                    return true;
                };
                if let Ok(number) = number.parse() {
                    said.checksums.insert(number, format!("{text} FULL_OBJECT"));
                }
                false
            });
            rewrite_parts(transaction, &old.id, &said)?;
            transaction.delete(&OLD_UPLOADS, &old)?;
            transaction.put(&UPLOADS, &UploadKey(old), &upload)?;
        }
    }
}

/// Rewrites the parts of the upload with that id, or those of none that are left.
fn rewrite_parts(
    transaction: &mut Transaction<'_>,
    id: &[u8],
    said: &Said,
) -> Result<(), CatalogError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page: Vec<_> = transaction
            .inspect(&OLD_PARTS, id, after.as_deref())?
            .take(PAGE_ROWS)
            .collect::<Result<_, _>>()?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.bytes[1..].to_vec());
        for row in page {
            // One that is rewritten already is none of the old ones; a damaged one stays so.
            let (Some(key), Ok(old)) = (row.key, row.row) else {
                continue;
            };
            let checksum = said.checksums.get(&key.number);
            let part = PartRow {
                size: old.size,
                md5: old.md5,
                extents: old.extents,
                modified_ms: said.modified_ms,
                metadata: checksum
                    .map(|text| (CHECKSUM.to_owned(), text.clone()))
                    .into_iter()
                    .collect(),
            };
            transaction.put(&PARTS, &key, &part)?;
        }
    }
}

struct OldUploadKey {
    bucket: String,
    key: String,
    id: [u8; 16],
}

impl Key for OldUploadKey {
    const LAYOUT: &'static str = "bucket text, key bytes, upload 16 bytes";

    fn encode(&self, out: &mut KeyWriter) {
        out.text(&self.bucket)
            .raw(self.key.as_bytes())
            .raw(&self.id);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        let bucket = input.text()?.to_owned();
        let (key, id) = input.raw().split_last_chunk::<16>()?;
        Some(OldUploadKey {
            bucket,
            key: std::str::from_utf8(key).ok()?.to_owned(),
            id: *id,
        })
    }
}

/// The same, in the order of keys whatever follows them.
struct UploadKey(OldUploadKey);

impl Key for UploadKey {
    const LAYOUT: &'static str = "bucket text, key any text, upload 16 bytes";

    fn encode(&self, out: &mut KeyWriter) {
        let UploadKey(old) = self;
        out.text(&old.bucket);
        for byte in old.key.bytes() {
            out.u8(byte);
            if byte == 0 {
                out.u8(1);
            }
        }
        out.raw(&[0, 0]).raw(&old.id);
    }

    /// It is written alone.
    fn decode(_: &mut KeyReader<'_>) -> Option<Self> {
        None
    }
}

struct PartKey {
    id: [u8; 16],
    number: u32,
}

impl Key for PartKey {
    const LAYOUT: &'static str = "upload 16 bytes, number u32";

    fn encode(&self, out: &mut KeyWriter) {
        out.raw(&self.id).u32(self.number);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        let (id, number) = input.raw().split_last_chunk::<4>()?;
        Some(PartKey {
            id: id.try_into().ok()?,
            number: u32::from_be_bytes(*number),
        })
    }
}

/// Pack, offset and length.
type Extent = (u64, u64, u64);

#[derive(Serialize, Deserialize)]
struct UploadRow {
    content_type: String,
    metadata: BTreeMap<String, String>,
    created_ms: u64,
}

impl Value for UploadRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "";
}

#[derive(Serialize, Deserialize)]
struct OldPartRow {
    size: u64,
    md5: [u8; 16],
    extents: Vec<Extent>,
}

impl Value for OldPartRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "";
}

#[derive(Serialize, Deserialize)]
struct PartRow {
    size: u64,
    md5: [u8; 16],
    extents: Vec<Extent>,
    modified_ms: u64,
    metadata: BTreeMap<String, String>,
}

impl Value for PartRow {
    const VERSION: u8 = 2;
    const LAYOUT: &'static str = "";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::catalog::schema;

    #[test]
    fn checksums_move_from_the_upload_to_its_parts() {
        let (id, other) = ([7; 16], [8; 16]);
        schema::on_an_empty_index(|transaction| {
            let upload = UploadRow {
                content_type: "t".into(),
                metadata: BTreeMap::from([
                    ("note".to_owned(), "x".to_owned()),
                    (":upload-checksum".to_owned(), "CRC32 COMPOSITE".to_owned()),
                    (":part-00001".to_owned(), "CRC32 AAAAAA==".to_owned()),
                    (":part-00150".to_owned(), "CRC32 AAAAAQ==".to_owned()),
                ]),
                created_ms: 5,
            };
            let key = OldUploadKey {
                bucket: "b".into(),
                key: "k\0".into(),
                id,
            };
            transaction.put(&OLD_UPLOADS, &key, &upload)?;
            let part = |size| OldPartRow {
                size,
                md5: [1; 16],
                extents: vec![(1, 4160, size)],
            };
            for number in 1..=250 {
                transaction.put(&OLD_PARTS, &PartKey { id, number }, &part(number.into()))?;
            }
            // Of an upload that is gone.
            let orphan = PartKey {
                id: other,
                number: 3,
            };
            transaction.put(&OLD_PARTS, &orphan, &part(9))?;
            (STEP.apply)(transaction)?;

            assert_eq!(transaction.inspect(&OLD_UPLOADS, &[], None)?.count(), 0);
            let written = crate::ghostbay::multipart::MultipartKey {
                bucket: "b".into(),
                key: "k\0".into(),
                id: crate::ghostbay::uploads::UploadId::from_slice(&id).unwrap(),
            };
            let table = crate::ghostbay::multipart::MULTIPART;
            let row = transaction.get(&table, &written)?.unwrap();
            let names: Vec<_> = row.metadata.keys().collect();
            assert_eq!(names, [":upload-checksum", "note"]);
            let parts: Vec<_> =
                crate::ghostbay::multipart::parts(transaction, &written.id).unwrap();
            assert_eq!(parts.len(), 250);
            for (number, part) in &parts {
                let expected = match number {
                    1 => Some("CRC32 AAAAAA== FULL_OBJECT"),
                    150 => Some("CRC32 AAAAAQ== FULL_OBJECT"),
                    _ => None,
                };
                let found = part.metadata.get(CHECKSUM).map(String::as_str);
                assert_eq!((part.size, found), (u64::from(*number), expected));
                assert_eq!(part.modified_ms, 5);
            }
            let orphan = transaction.get(&PARTS, &orphan)?.unwrap();
            assert_eq!((orphan.size, orphan.modified_ms), (9, 0));
            Ok(())
        });
    }
}
