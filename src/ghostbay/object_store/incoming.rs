//! Receiving the content of an object or of a part.

use md5::{Digest as _, Md5};

use crate::digest::{Digest, Hasher};
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::ghostbay::clock::now_ms;
use crate::ghostbay::engine::ObjectInfo;
use crate::ghostbay::error::StorageError;
use crate::ghostbay::ingest::{Commit, Ended, Ending, Receive};
use crate::ghostbay::multipart::{
    MULTIPART, MultipartKey, PARTS, PartKey, PartRow, hex, no_such_upload,
};
use crate::ghostbay::objects::{self, BUCKETS, OBJECTS, ObjectKey, ObjectRow};
use crate::ghostbay::pack::Extent;
use crate::ghostbay::pack::accounts::{self, Written};
use crate::ghostbay::terms::{AtEnd, Terms};
use crate::ghostbay::uploads::UploadId;

/// What is known of an object before its bytes have come.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) key: ObjectKey,
    /// The digest that the content must have, under a content-addressed key.
    pub(super) expected: Option<Digest>,
    pub(super) content_type: String,
    pub(super) terms: Terms,
}

impl Head {
    pub(super) fn row(self, content: Content) -> (ObjectKey, ObjectRow) {
        let row = ObjectRow {
            size: content.size,
            extents: content.extents,
            digest: self.expected,
            etag: content.etag,
            content_type: self.content_type,
            modified_ms: now_ms(),
            metadata: self.terms.metadata.into_iter().collect(),
            damaged_ms: None,
        };
        (self.key, row)
    }
}

pub(super) struct Content {
    pub(super) size: u64,
    pub(super) extents: Vec<Extent>,
    pub(super) etag: String,
}

/// Refuses a write that is not wanted by what is there now. Content under its digest that was found
/// damaged is as good as none, as it is to readers.
pub(super) fn admit(rows: &impl Rows, key: &ObjectKey, terms: &Terms) -> Result<(), StorageError> {
    if terms.in_bucket && !rows.contains(&BUCKETS, &key.bucket)? {
        return Err(StorageError::NoSuchBucket {
            bucket: key.bucket.clone(),
        });
    }
    let Some(condition) = &terms.condition else {
        return Ok(());
    };
    let row = rows.get_sound(&OBJECTS, key)?;
    let row = row.filter(|row| row.digest.is_none() || row.damaged_ms.is_none());
    let info: Option<ObjectInfo> = row.map(|row| (key.key.clone(), row).into());
    condition(info.as_ref()).map_err(StorageError::Unwanted)
}

/// Puts an object: in place of any other, or once and for all where the key is its digest.
pub(super) fn put(
    transaction: &mut Transaction<'_>,
    key: &ObjectKey,
    row: &ObjectRow,
) -> Result<(), CatalogError> {
    if row.digest.is_some() {
        objects::put_addressed(transaction, key, row)
    } else {
        objects::replace(transaction, key, row)
    }
}

/// Receives the content of an object or of a part.
pub(super) struct Incoming {
    pub(super) owner: [u8; 16],
    pub(super) md5: Md5,
    pub(super) hasher: Option<Hasher>,
    pub(super) size: u64,
    pub(super) target: Option<Target>,
}

pub(super) enum Target {
    Object(Head, Option<AtEnd>),
    Part(MultipartKey, PartKey, Option<AtEnd>),
}

impl Incoming {
    pub(super) fn new(target: Target) -> Self {
        let hasher = match &target {
            Target::Object(head, _) => head.expected.map(|digest| Hasher::new(digest.algorithm())),
            Target::Part(..) => None,
        };
        Incoming {
            owner: *UploadId::random().as_bytes(),
            md5: Md5::new(),
            hasher,
            size: 0,
            target: Some(target),
        }
    }
}

pub(super) fn verify(expected: Digest, hasher: Hasher) -> Result<(), StorageError> {
    let computed = hasher.finish();
    if computed == expected {
        return Ok(());
    }
    Err(StorageError::DigestMismatch { expected, computed })
}

impl Receive for Incoming {
    type Output = String;
    type Error = StorageError;

    fn place(&self) -> ([u8; 16], u64) {
        (self.owner, 0)
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.size += bytes.len() as u64;
    }

    fn checkpoint(&mut self) -> Option<Commit<(), StorageError>> {
        None
    }

    fn end(&mut self, ending: Ending) -> Ended<String, StorageError> {
        let (Ending::Complete, Some(target)) = (&ending, self.target.take()) else {
            return Err(ending.into_error(0));
        };
        let md5: [u8; 16] = self.md5.finalize_reset().into();
        let etag = hex(&md5);
        let size = self.size;
        match target {
            Target::Object(mut head, at_end) => {
                let digest = head.expected;
                if let (Some(expected), Some(hasher)) = (digest, self.hasher.take()) {
                    verify(expected, hasher)?;
                }
                if let Some(at_end) = at_end {
                    head.terms.metadata.extend(at_end());
                }
                let terms = head.terms.clone();
                let content = Content {
                    size,
                    extents: Vec::new(),
                    etag: etag.clone(),
                };
                let (key, row) = head.row(content);
                let commit: Commit<_, _> = Box::new(move |transaction, written: &Written| {
                    admit(transaction, &key, &terms)?;
                    accounts::add(transaction, written)?;
                    let extents = written.extents.clone();
                    put(
                        transaction,
                        &key,
                        &ObjectRow {
                            extents,
                            ..row.clone()
                        },
                    )?;
                    Ok(etag.clone())
                });
                Ok((commit, digest))
            }
            Target::Part(upload, part, at_end) => {
                let row = PartRow {
                    size,
                    md5,
                    extents: Vec::new(),
                    modified_ms: now_ms(),
                    metadata: at_end
                        .map(|it| it().into_iter().collect())
                        .unwrap_or_default(),
                };
                let commit: Commit<_, _> = Box::new(move |transaction, written: &Written| {
                    // The upload may have been completed or aborted while the part came.
                    if !transaction.contains(&MULTIPART, &upload)? {
                        return Err(no_such_upload(&upload.id));
                    }
                    accounts::add(transaction, written)?;
                    if let Some(old) = transaction.get(&PARTS, &part)? {
                        accounts::release(transaction, &old.extents)?;
                    }
                    let extents = written.extents.clone();
                    transaction.put(
                        &PARTS,
                        &part,
                        &PartRow {
                            extents,
                            ..row.clone()
                        },
                    )?;
                    Ok(etag.clone())
                });
                Ok((commit, None))
            }
        }
    }
}
