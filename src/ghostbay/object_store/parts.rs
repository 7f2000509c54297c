//! Multipart uploads: begun, fed and completed, on terms.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::Result;

use super::completed;
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
    self, MULTIPART, MultipartKey, MultipartRow, PARTS, PartKey, PartRow,
};
use crate::ghostbay::objects::{self, BUCKETS, OBJECTS, ObjectKey};
use crate::ghostbay::pack::accounts;
use crate::ghostbay::pinned::{Pinned, pinned};
use crate::ghostbay::terms::{AtEnd, AtJoin, Completed, Condition, Terms, UploadedPart};
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
    /// that is known; `at_end` says what is said of the part.
    pub async fn upload_part_on(
        &self,
        request: UploadPartRequest<'_>,
        announced: Option<u64>,
        at_end: Option<AtEnd>,
    ) -> Result<String> {
        let upload = multipart_key(&request.bucket, &request.key, &request.upload_id)?;
        let number = multipart::check_part_number(request.part_number)?;
        multipart::find(&self.catalog().read()?, &upload)?;
        let part = PartKey {
            id: upload.id,
            number,
        };
        let receiver = Incoming::new(Target::Part(upload, part, at_end));
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

    /// What was said of an upload, and `limit` of its parts behind the number `after`; whether there are more.
    pub fn multipart_parts(
        &self,
        (bucket, key, upload_id): (&str, &str, &str),
        after: u32,
        limit: usize,
    ) -> Result<(Vec<UploadedPart>, bool)> {
        let upload = multipart_key(bucket, key, upload_id)?;
        let snapshot = self.catalog().read()?;
        multipart::find(&snapshot, &upload)?;
        let after = PARTS.encode_key(&PartKey {
            id: upload.id,
            number: after,
        });
        let mut rows = snapshot.scan(&PARTS, upload.id.as_bytes(), Some(&after))?;
        let mut parts = Vec::new();
        for row in rows.by_ref().take(limit) {
            let (key, part) = row?;
            parts.push(uploaded((key.number, &part)));
        }
        Ok((parts, rows.next().is_some()))
    }

    /// Makes an object a part by reference: its bytes are shared. `None` if that cannot be: its ETag is
    /// not the MD5 of its content, which a part needs.
    pub async fn share_as_part(
        &self,
        source: (&str, &str),
        upload: (&str, &str, &str),
        number: i32,
        condition: Option<Condition>,
    ) -> Result<Option<MultipartUploadPart>> {
        let key = multipart_key(upload.0, upload.1, upload.2)?;
        let number = multipart::check_part_number(number)?;
        let part = PartKey { id: key.id, number };
        let (source, now) = (ObjectKey::new(source.0, source.1), now_ms());
        self.transact(move |transaction| {
            if !transaction.contains(&MULTIPART, &key)? {
                return Err(multipart::no_such_upload(&key.id));
            }
            let row = transaction.get(&OBJECTS, &source)?;
            let row = row.ok_or_else(|| StorageError::NoSuchKey {
                bucket: source.bucket.clone(),
                key: source.key.clone(),
            })?;
            let Some(md5) = multipart::md5_of(&row.etag) else {
                return Ok(None);
            };
            if let Some(condition) = &condition {
                let info = (source.key.clone(), row.clone()).into();
                condition(Some(&info)).map_err(StorageError::Unwanted)?;
            }
            accounts::share(transaction, &row.extents)?;
            if let Some(old) = transaction.get(&PARTS, &part)? {
                accounts::release(transaction, &old.extents)?;
            }
            let new = PartRow {
                size: row.size,
                md5,
                extents: row.extents,
                modified_ms: now,
                metadata: BTreeMap::new(),
            };
            transaction.put(&PARTS, &part, &new)?;
            Ok(Some(part_info(&(number, new))))
        })
        .await
    }

    /// As [`complete_multipart_upload`](crate::ghostbay::engine::StorageEngine::complete_multipart_upload),
    /// on terms; what is said of the object is what was said of the upload, or what `at_join` makes of it.
    /// One that is sent again within an hour is answered as the first time, for as long as the object is
    /// still what it made; the terms are not looked at again.
    pub async fn complete_multipart_upload_on(
        &self,
        request: CompleteMultipartUploadRequest,
        terms: Terms,
        at_join: Option<AtJoin>,
    ) -> Result<Completed> {
        let upload = multipart_key(&request.bucket, &request.key, &request.upload_id)?;
        let named = Arc::new(request.parts);
        let row = match find_or_recall(&self.catalog().read()?, &upload, &named)? {
            Found::Row(row) => row,
            Found::Completed(completed) => return Ok(completed),
        };
        let head = self.head(
            &request.bucket,
            &request.key,
            row.content_type,
            Terms {
                metadata: HashMap::new(),
                ..terms
            },
        )?;
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
                    let row = match find_or_recall(transaction, &upload, &named)? {
                        Found::Row(row) => row,
                        Found::Completed(completed) => return Ok(Some(completed)),
                    };
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
                    let (etag, size) = (joined.etag.clone(), joined.size);
                    let mut head = head.clone();
                    head.terms.metadata = metadata.clone().into_iter().collect();
                    let (key, object) = head.row(Content {
                        size: joined.size,
                        extents: joined.extents,
                        etag: joined.etag,
                    });
                    put(transaction, &key, &object)?;
                    completed::remember(transaction, &upload, &named, object.modified_ms)?;
                    Ok(Some(Completed {
                        etag,
                        size,
                        metadata,
                    }))
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

/// What a completion finds.
enum Found {
    Row(MultipartRow),
    Completed(Completed),
}

fn find_or_recall(
    rows: &impl Rows,
    upload: &MultipartKey,
    named: &[MultipartUploadPart],
) -> Result<Found, StorageError> {
    match multipart::find(rows, upload) {
        Err(gone @ StorageError::NoSuchUpload { .. }) => {
            let completed = completed::recall(rows, upload, named)?;
            completed.map(Found::Completed).ok_or(gone)
        }
        found => found.map(Found::Row),
    }
}

fn part_info((number, row): &(u32, PartRow)) -> MultipartUploadPart {
    MultipartUploadPart {
        part_number: *number as i32,
        etag: row.etag(),
        size: row.size,
    }
}

fn uploaded((number, row): (u32, &PartRow)) -> UploadedPart {
    UploadedPart {
        number,
        size: row.size,
        etag: row.etag(),
        modified_ms: row.modified_ms,
        metadata: row.metadata.clone(),
    }
}

fn joined_parts(named: &[MultipartUploadPart], parts: &[(u32, PartRow)]) -> Vec<UploadedPart> {
    let named: BTreeSet<_> = named.iter().map(|part| part.part_number as u32).collect();
    let joined = parts.iter().filter(|(number, _)| named.contains(number));
    joined
        .map(|(number, row)| uploaded((*number, row)))
        .collect()
}
