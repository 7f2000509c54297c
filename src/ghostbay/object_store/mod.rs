//! [`StorageEngine`] on a local store.

mod incoming;
mod list;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use futures::StreamExt;

use super::catalog::{Rows, Transaction};
use super::clock::now_ms;
use super::engine::*;
use super::error::StorageError;
use super::local::LocalStorageEngine;
use super::multipart::{self, MULTIPART, MultipartKey, MultipartRow, PartKey};
use super::objects::{
    self, BUCKETS, OBJECTS, ObjectKey, ObjectRow, addressed_digest, check_bucket_name, check_key,
};
use super::pack::accounts;
use super::uploads::UploadId;
use crate::digest::{Digest, Hasher};

use incoming::{Content, Head, Incoming, Target, put, verify};
use list::{bucket_prefix, list};

impl From<(String, ObjectRow)> for ObjectInfo {
    fn from((key, row): (String, ObjectRow)) -> Self {
        ObjectInfo {
            key,
            size: row.size,
            etag: row.etag,
            content_type: row.content_type,
            modified_ms: row.modified_ms,
            metadata: row.metadata.into_iter().collect(),
        }
    }
}

fn multipart_key(bucket: &str, key: &str, upload_id: &str) -> Result<MultipartKey, StorageError> {
    check_bucket_name(bucket)?;
    Ok(MultipartKey {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        id: upload_id.parse()?,
    })
}

impl LocalStorageEngine {
    /// What is known of an object to be, if bucket and key can be.
    fn head(
        &self,
        bucket: &str,
        key: &str,
        content_type: String,
        metadata: HashMap<String, String>,
    ) -> Result<Head, StorageError> {
        check_bucket_name(bucket)?;
        check_key(key)?;
        let expected = if self.is_addressed(bucket) {
            addressed_digest(key)?
        } else {
            None
        };
        Ok(Head {
            key: ObjectKey::new(bucket, key),
            expected,
            content_type,
            metadata,
        })
    }

    /// Reads stored extents once and sees that their content has the digest.
    async fn verify_stored(
        &self,
        extents: &[super::pack::Extent],
        size: u64,
        expected: Digest,
    ) -> Result<()> {
        let mut hasher = Hasher::new(expected.algorithm());
        let mut stored =
            super::read::stream(self.ingest().space.clone(), extents, &(0..size), |_| ());
        while let Some(bytes) = stored.next().await {
            hasher.update(&bytes?);
        }
        Ok(verify(expected, hasher)?)
    }

    async fn transact<T: Send + 'static>(
        &self,
        operation: impl Fn(&mut Transaction<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T> {
        Ok(self.catalog().transact(operation).await?)
    }
}

#[async_trait]
impl StorageEngine for LocalStorageEngine {
    async fn put_object(&self, request: PutObjectRequest<'_>) -> Result<String> {
        let head = self.head(
            &request.bucket,
            &request.key,
            request.content_type,
            HashMap::new(),
        )?;
        let receiver = Incoming::new(Target::Object(head));
        Ok(self
            .ingest()
            .receive(request.data, request.content_length, receiver)
            .await?)
    }

    async fn get_object(&self, request: GetObjectRequest) -> Result<Option<GetObjectResponse>> {
        let rows = self.catalog().read()?;
        let Some(row) = self.object(&rows, &request.bucket, &request.key)? else {
            return Ok(None);
        };
        let range = match request.range {
            None => 0..row.size,
            Some(range) => range
                .resolve(row.size)
                .ok_or_else(|| StorageError::Invalid {
                    what: "range",
                    value: format!("{range:?}"),
                    reason: format!("the object has {} bytes", row.size),
                })?,
        };
        let key = ObjectKey::new(request.bucket, request.key.as_str());
        let data = self.read_object(key, &row, range.clone());
        Ok(Some(GetObjectResponse {
            object: (request.key, row).into(),
            range,
            data,
        }))
    }

    async fn head_object(&self, bucket: &str, key: &str) -> Result<Option<ObjectInfo>> {
        let row = self.object(&self.catalog().read()?, bucket, key)?;
        Ok(row.map(|row| (key.to_owned(), row).into()))
    }

    async fn delete_object(&self, bucket: &str, key: &str) -> Result<bool> {
        if check_bucket_name(bucket).is_err() {
            return Ok(false);
        }
        let key = ObjectKey::new(bucket, key);
        self.transact(move |transaction| {
            let Some(row) = transaction.get(&OBJECTS, &key)? else {
                return Ok(false);
            };
            transaction.delete(&OBJECTS, &key)?;
            accounts::release(transaction, &row.extents)?;
            Ok(true)
        })
        .await
    }

    async fn list_objects(&self, request: ListObjectsRequest) -> Result<ListObjectsResponse> {
        let engine = self.clone();
        // A listing reads up to a page of rows, and with a delimiter many more.
        tokio::task::spawn_blocking(move || Ok(list(&engine.catalog().read()?, &request)?)).await?
    }

    async fn copy_object(&self, request: CopyObjectRequest) -> Result<ObjectInfo> {
        let source = ObjectKey::new(request.source_bucket, request.source_key);
        let head = self.head(&request.bucket, &request.key, String::new(), HashMap::new())?;
        let no_such_key = |source: &ObjectKey| StorageError::NoSuchKey {
            bucket: source.bucket.clone(),
            key: source.key.clone(),
        };
        let original = self
            .object(&self.catalog().read()?, &source.bucket, &source.key)?
            .ok_or_else(|| no_such_key(&source))?;
        if let Some(expected) = head.expected
            && original.digest != Some(expected)
        {
            self.verify_stored(&original.extents, original.size, expected)
                .await?;
        }
        let (key, digest) = (head.key, head.expected);
        let now = now_ms();
        self.transact(move |transaction| {
            let row = transaction
                .get(&OBJECTS, &source)?
                // Replaced since it was verified: what is there now is another object.
                .filter(|row| digest.is_none() || row.extents == original.extents)
                .ok_or_else(|| no_such_key(&source))?;
            accounts::share(transaction, &row.extents)?;
            let copy = ObjectRow {
                digest,
                modified_ms: now,
                ..row
            };
            put(transaction, &key, &copy)?;
            Ok((key.key.clone(), copy).into())
        })
        .await
    }

    async fn create_bucket(&self, bucket: &str) -> Result<bool> {
        check_bucket_name(bucket)?;
        let (bucket, now) = (bucket.to_owned(), now_ms());
        self.transact(move |transaction| Ok(objects::ensure_bucket(transaction, &bucket, now)?))
            .await
    }

    async fn head_bucket(&self, bucket: &str) -> Result<Option<BucketInfo>> {
        if check_bucket_name(bucket).is_err() {
            return Ok(None);
        }
        let row = self.catalog().read()?.get(&BUCKETS, &bucket.to_owned())?;
        Ok(row.map(|row| BucketInfo {
            name: bucket.to_owned(),
            created_ms: row.created_ms,
        }))
    }

    async fn list_buckets(&self) -> Result<Vec<BucketInfo>> {
        let rows = self.catalog().read()?;
        let mut buckets = Vec::new();
        for row in rows.scan(&BUCKETS, &[], None)? {
            let (name, row) = row?;
            buckets.push(BucketInfo {
                name,
                created_ms: row.created_ms,
            });
        }
        Ok(buckets)
    }

    async fn delete_bucket(&self, bucket: &str) -> Result<bool> {
        if check_bucket_name(bucket).is_err() {
            return Ok(false);
        }
        let bucket = bucket.to_owned();
        self.transact(move |transaction| {
            if !transaction.contains(&BUCKETS, &bucket)? {
                return Ok(false);
            }
            let prefix = bucket_prefix(&bucket);
            let objects = transaction.scan(&OBJECTS, &prefix, None)?.next().is_some();
            let uploads = transaction
                .scan(&MULTIPART, &prefix, None)?
                .next()
                .is_some();
            if objects || uploads {
                return Err(StorageError::BucketNotEmpty {
                    bucket: bucket.clone(),
                });
            }
            Ok(transaction.delete(&BUCKETS, &bucket)?)
        })
        .await
    }

    async fn create_multipart_upload(
        &self,
        request: CreateMultipartUploadRequest,
    ) -> Result<String> {
        let metadata = request.metadata.unwrap_or_default();
        let head = self.head(
            &request.bucket,
            &request.key,
            request.content_type,
            metadata,
        )?;
        let id = UploadId::random();
        let key = MultipartKey {
            bucket: head.key.bucket,
            key: head.key.key,
            id,
        };
        let row = MultipartRow {
            content_type: head.content_type,
            metadata: head.metadata.into_iter().collect(),
            created_ms: now_ms(),
        };
        self.transact(move |transaction| {
            objects::ensure_bucket(transaction, &key.bucket, row.created_ms)?;
            Ok(transaction.put(&MULTIPART, &key, &row)?)
        })
        .await?;
        Ok(id.to_string())
    }

    async fn upload_part(&self, request: UploadPartRequest<'_>) -> Result<String> {
        let upload = multipart_key(&request.bucket, &request.key, &request.upload_id)?;
        let number = multipart::check_part_number(request.part_number)?;
        multipart::find(&self.catalog().read()?, &upload)?;
        let part = PartKey {
            id: upload.id,
            number,
        };
        let receiver = Incoming::new(Target::Part(upload, part));
        Ok(self.ingest().receive(request.data, None, receiver).await?)
    }

    async fn complete_multipart_upload(
        &self,
        request: CompleteMultipartUploadRequest,
    ) -> Result<String> {
        let upload = multipart_key(&request.bucket, &request.key, &request.upload_id)?;
        let snapshot = self.catalog().read()?;
        let row = multipart::find(&snapshot, &upload)?;
        let joined = multipart::join(&request.parts, &multipart::parts(&snapshot, &upload.id)?)?;
        drop(snapshot);
        let head = self.head(
            &request.bucket,
            &request.key,
            row.content_type,
            row.metadata.into_iter().collect(),
        )?;
        if let Some(expected) = head.expected {
            self.verify_stored(&joined.extents, joined.size, expected)
                .await?;
        }
        let etag = joined.etag.clone();
        let (key, object) = head.row(Content {
            size: joined.size,
            extents: joined.extents,
            etag: joined.etag,
        });
        let named = Arc::new(request.parts);
        self.transact(move |transaction| {
            multipart::find(transaction, &upload)?;
            let parts = multipart::parts(transaction, &upload.id)?;
            // A part may have been replaced since it was read.
            let joined = multipart::join(&named, &parts)?;
            if joined.extents != object.extents {
                return Err(StorageError::InvalidPart {
                    part_number: 0,
                    reason: "a part was replaced while the upload was completed".into(),
                });
            }
            multipart::remove(transaction, &upload, &parts)?;
            let numbers: BTreeSet<i32> = named.iter().map(|part| part.part_number).collect();
            let unused = |number: u32| !numbers.contains(&(number as i32));
            multipart::release(
                transaction,
                parts.iter().filter(|(number, _)| unused(*number)),
            )?;
            Ok(put(transaction, &key, &object)?)
        })
        .await?;
        Ok(etag)
    }

    async fn abort_multipart_upload(&self, bucket: &str, key: &str, upload_id: &str) -> Result<()> {
        let upload = multipart_key(bucket, key, upload_id)?;
        self.transact(move |transaction| {
            multipart::find(transaction, &upload)?;
            let parts = multipart::parts(transaction, &upload.id)?;
            multipart::remove(transaction, &upload, &parts)?;
            multipart::release(transaction, parts.iter())
        })
        .await
    }

    async fn list_parts(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
    ) -> Result<Vec<MultipartUploadPart>> {
        let upload = multipart_key(bucket, key, upload_id)?;
        let snapshot = self.catalog().read()?;
        multipart::find(&snapshot, &upload)?;
        let parts = multipart::parts(&snapshot, &upload.id)?;
        Ok(parts
            .into_iter()
            .map(|(number, row)| MultipartUploadPart {
                part_number: number as i32,
                etag: row.etag(),
                size: row.size,
            })
            .collect())
    }

    async fn list_multipart_uploads(
        &self,
        bucket: &str,
        prefix: &str,
    ) -> Result<Vec<MultipartUploadInfo>> {
        check_bucket_name(bucket)?;
        let snapshot = self.catalog().read()?;
        let mut from = bucket_prefix(bucket);
        from.extend_from_slice(prefix.as_bytes());
        let mut uploads = Vec::new();
        for row in snapshot.scan(&MULTIPART, &from, None)? {
            let (key, row) = row?;
            // A short key is followed by its upload's id, which may look like the prefix.
            if key.key.starts_with(prefix) {
                uploads.push(MultipartUploadInfo {
                    key: key.key,
                    upload_id: key.id.to_string(),
                    created_ms: row.created_ms,
                });
            }
        }
        Ok(uploads)
    }
}
