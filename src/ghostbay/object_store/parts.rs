//! Multipart uploads: begun, fed and completed, on terms.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::Result;

use super::incoming::{Content, Incoming, Target, admit, put};
use super::{ATTEMPTS, multipart_key};
use crate::ghostbay::catalog::{Rows, Snapshot};
use crate::ghostbay::clock::now_ms;
use crate::ghostbay::engine::{
    CompleteMultipartUploadRequest, CreateMultipartUploadRequest, MultipartUploadPart,
    UploadPartRequest,
};
use crate::ghostbay::error::StorageError;
use crate::ghostbay::local::LocalStorageEngine;
use crate::ghostbay::multipart::{
    self, MULTIPART, MultipartKey, MultipartRow, PARTS, PartKey, PartRow, hex,
};
use crate::ghostbay::objects::{self, BUCKETS, OBJECTS, ObjectKey};
use crate::ghostbay::pack::accounts;
use crate::ghostbay::pinned::{Pinned, pinned};
use crate::ghostbay::terms::{AtEnd, AtJoin, Completed, Condition, JoinedPart, PartSaid, Terms};
use crate::ghostbay::uploads::UploadId;

impl LocalStorageEngine {
    /// As [`create_multipart_upload`](crate::ghostbay::engine::StorageEngine::create_multipart_upload);
    /// `in_bucket` refuses one for a bucket that is not there.
    pub async fn create_multipart_upload_on(
        &self,
        request: CreateMultipartUploadRequest,
        in_bucket: bool,
    ) -> Result<String> {
        let metadata = request.metadata.unwrap_or_default();
        let head = self.head(
            &request.bucket,
            &request.key,
            request.content_type,
            Terms {
                metadata,
                in_bucket,
                ..Terms::default()
            },
        )?;
        let id = UploadId::random();
        let key = MultipartKey {
            bucket: head.key.bucket,
            key: head.key.key,
            id,
        };
        let row = MultipartRow {
            content_type: head.content_type,
            metadata: head.terms.metadata.into_iter().collect(),
            created_ms: now_ms(),
        };
        self.transact(move |transaction| {
            if in_bucket && !transaction.contains(&BUCKETS, &key.bucket)? {
                return Err(StorageError::NoSuchBucket {
                    bucket: key.bucket.clone(),
                });
            }
            objects::ensure_bucket(transaction, &key.bucket, row.created_ms)?;
            Ok(transaction.put(&MULTIPART, &key, &row)?)
        })
        .await?;
        Ok(id.to_string())
    }

    /// As [`upload_part`](crate::ghostbay::engine::StorageEngine::upload_part), of `announced` bytes where
    /// that is known; `said` notes with the upload what is known of the part at its end.
    pub async fn upload_part_on(
        &self,
        request: UploadPartRequest<'_>,
        announced: Option<u64>,
        said: Option<(PartSaid, AtEnd)>,
    ) -> Result<String> {
        let upload = multipart_key(&request.bucket, &request.key, &request.upload_id)?;
        let number = multipart::check_part_number(request.part_number)?;
        multipart::find(&self.catalog().read()?, &upload)?;
        let part = PartKey {
            id: upload.id,
            number,
        };
        let receiver = Incoming::new(Target::Part(upload, part, said));
        Ok(self
            .ingest()
            .receive(request.data, announced, receiver)
            .await?)
    }

    /// What was said of an upload, and when it was begun, in milliseconds since 1970.
    pub fn multipart_row(&self, bucket: &str, key: &str, upload_id: &str) -> Result<MultipartRow> {
        let upload = multipart_key(bucket, key, upload_id)?;
        Ok(multipart::find(&self.catalog().read()?, &upload)?)
    }

    /// The same, and the parts that there are.
    pub fn multipart_upload(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
    ) -> Result<(MultipartRow, Vec<MultipartUploadPart>)> {
        let upload = multipart_key(bucket, key, upload_id)?;
        let snapshot = self.catalog().read()?;
        let row = multipart::find(&snapshot, &upload)?;
        let parts = multipart::parts(&snapshot, &upload.id)?;
        Ok((row, parts.iter().map(part_info).collect()))
    }

    /// Makes an object a part by reference: its bytes are shared. `None` if that cannot be: its ETag is
    /// not the MD5 of its content, which a part needs.
    pub async fn share_as_part(
        &self,
        source: (&str, &str),
        upload: (&str, &str, &str),
        number: i32,
        condition: Option<Condition>,
        said: PartSaid,
    ) -> Result<Option<MultipartUploadPart>> {
        let key = multipart_key(upload.0, upload.1, upload.2)?;
        let number = multipart::check_part_number(number)?;
        let part = PartKey { id: key.id, number };
        let source = ObjectKey::new(source.0, source.1);
        self.transact(move |transaction| {
            let mut upload = multipart::find(transaction, &key)?;
            let row = transaction.get(&OBJECTS, &source)?;
            let row = row.ok_or_else(|| StorageError::NoSuchKey {
                bucket: source.bucket.clone(),
                key: source.key.clone(),
            })?;
            let Some(md5) = md5_of(&row.etag) else {
                return Ok(None);
            };
            if let Some(condition) = &condition {
                let info = (source.key.clone(), row.clone()).into();
                condition(Some(&info)).map_err(StorageError::Unwanted)?;
            }
            said(&mut upload.metadata, &HashMap::new());
            transaction.put(&MULTIPART, &key, &upload)?;
            accounts::share(transaction, &row.extents)?;
            if let Some(old) = transaction.get(&PARTS, &part)? {
                accounts::release(transaction, &old.extents)?;
            }
            let new = PartRow {
                size: row.size,
                md5,
                extents: row.extents,
            };
            transaction.put(&PARTS, &part, &new)?;
            Ok(Some(part_info(&(number, new))))
        })
        .await
    }

    /// As [`complete_multipart_upload`](crate::ghostbay::engine::StorageEngine::complete_multipart_upload),
    /// on terms; what is said of the object is what was said of the upload, or what `at_join` makes of it.
    pub async fn complete_multipart_upload_on(
        &self,
        request: CompleteMultipartUploadRequest,
        terms: Terms,
        at_join: Option<AtJoin>,
    ) -> Result<Completed> {
        let upload = multipart_key(&request.bucket, &request.key, &request.upload_id)?;
        let row = multipart::find(&self.catalog().read()?, &upload)?;
        let head = self.head(
            &request.bucket,
            &request.key,
            row.content_type,
            Terms {
                metadata: HashMap::new(),
                ..terms
            },
        )?;
        let named = Arc::new(request.parts);
        for _ in 0..ATTEMPTS {
            // The bytes that were read and found to have the digest.
            let mut verified = None;
            if let Some(expected) = head.expected {
                let look = |rows: &Snapshot| {
                    multipart::find(rows, &upload)?;
                    multipart::join(&named, &multipart::parts(rows, &upload.id)?).map(Some)
                };
                let space = &self.ingest().space;
                if let Some(Pinned { row, pin }) = pinned(self.catalog(), space, look)? {
                    self.verify_stored(&row.extents, row.size, pin, expected)
                        .await?;
                    verified = Some(row.extents);
                }
            }
            let (upload, named, head) = (upload.clone(), named.clone(), head.clone());
            let at_join = at_join.clone();
            let completed = self
                .transact(move |transaction| {
                    let row = multipart::find(transaction, &upload)?;
                    let parts = multipart::parts(transaction, &upload.id)?;
                    let joined = multipart::join(&named, &parts)?;
                    // A part was replaced or compacted since it was read.
                    if head.expected.is_some() && verified.as_ref() != Some(&joined.extents) {
                        return Ok(None);
                    }
                    admit(transaction, &head.key, &head.terms)?;
                    let metadata = match &at_join {
                        None => row.metadata,
                        Some(at_join) => at_join(&joined_parts(&named, &parts), row.metadata)
                            .map_err(StorageError::Unwanted)?,
                    };
                    multipart::remove(transaction, &upload, &parts)?;
                    let numbers: BTreeSet<i32> =
                        named.iter().map(|part| part.part_number).collect();
                    let unused = |number: u32| !numbers.contains(&(number as i32));
                    multipart::release(
                        transaction,
                        parts.iter().filter(|(number, _)| unused(*number)),
                    )?;
                    let etag = joined.etag.clone();
                    let mut head = head.clone();
                    head.terms.metadata = metadata.clone().into_iter().collect();
                    let (key, object) = head.row(Content {
                        size: joined.size,
                        extents: joined.extents,
                        etag: joined.etag,
                    });
                    put(transaction, &key, &object)?;
                    Ok(Some(Completed { etag, metadata }))
                })
                .await?;
            if let Some(completed) = completed {
                return Ok(completed);
            }
        }
        Err(StorageError::Changing {
            what: "multipart upload",
            key: request.upload_id,
        }
        .into())
    }
}

/// The MD5 that an ETag is, if it is one.
fn md5_of(etag: &str) -> Option<[u8; 16]> {
    let mut md5 = [0; 16];
    if etag.len() != 32 || !etag.is_ascii() {
        return None;
    }
    for (byte, digits) in md5.iter_mut().zip(etag.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (hex(&md5) == etag).then_some(md5)
}

fn part_info((number, row): &(u32, PartRow)) -> MultipartUploadPart {
    MultipartUploadPart {
        part_number: *number as i32,
        etag: row.etag(),
        size: row.size,
    }
}

fn joined_parts(named: &[MultipartUploadPart], parts: &[(u32, PartRow)]) -> Vec<JoinedPart> {
    let named: BTreeSet<_> = named.iter().map(|part| part.part_number as u32).collect();
    let joined = parts.iter().filter(|(number, _)| named.contains(number));
    joined
        .map(|(number, row)| JoinedPart {
            number: *number,
            size: row.size,
        })
        .collect()
}
