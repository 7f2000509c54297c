//! [`StorageEngine`] on a local store.

mod completed;
mod copy;
mod incoming;
mod list;
mod list_uploads;
mod parts;
mod writes;

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use futures::StreamExt;

use super::catalog::{KeyWriter, Rows, Transaction};
use super::clock::now_ms;
use super::engine::*;
use super::error::StorageError;
use super::local::LocalStorageEngine;
use super::multipart::{self, MULTIPART, MultipartKey};
use super::objects::{
    self, BUCKETS, OBJECTS, ObjectKey, ObjectRow, addressed_digest, check_bucket_name, check_key,
};
use super::pack::Extent;
use super::pack::pins::Pin;
use super::read::{self, Delivery};
use super::terms::{CopyTerms, Terms};
use crate::digest::{Digest, Hasher};

use incoming::{Head, verify};
use list::{bucket_prefix, list};
use list_uploads::list_uploads;

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

/// How often bytes are read again that were replaced or compacted while they were read.
const ATTEMPTS: usize = 5;

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
        terms: Terms,
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
            terms,
        })
    }

    /// Reads stored extents once and sees that their content has the digest.
    async fn verify_stored(
        &self,
        extents: &[Extent],
        size: u64,
        pin: Pin,
        expected: Digest,
    ) -> Result<()> {
        let mut hasher = Hasher::new(expected.algorithm());
        let (space, pin) = (self.ingest().space.clone(), Arc::new(pin));
        let mut stored = read::stream(space, extents, &(0..size), pin, Delivery::Copied, |_| ());
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

impl LocalStorageEngine {
    /// As [`StorageEngine::list_objects`], of the keys that are visible alone.
    pub async fn list_visible(
        &self,
        request: ListObjectsRequest,
        is_visible: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<ListObjectsResponse> {
        let engine = self.clone();
        // A listing reads up to a page of rows, and with a delimiter many more.
        let listed = move || Ok(list(&engine.catalog().read()?, &request, &is_visible)?);
        tokio::task::spawn_blocking(listed).await?
    }

    /// A page of the uploads under way whose keys are visible.
    pub async fn list_uploads(
        &self,
        request: ListUploadsRequest,
        is_visible: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<ListUploadsResponse> {
        let engine = self.clone();
        let listed = move || {
            Ok(list_uploads(
                &engine.catalog().read()?,
                &request,
                &is_visible,
            )?)
        };
        tokio::task::spawn_blocking(listed).await?
    }
}

#[async_trait]
impl StorageEngine for LocalStorageEngine {
    async fn put_object(&self, request: PutObjectRequest<'_>) -> Result<String> {
        self.put_object_on(request, Terms::default(), None).await
    }

    async fn get_object(&self, request: GetObjectRequest) -> Result<Option<GetObjectResponse>> {
        let Some(object) = self.open_object(&request.bucket, &request.key)? else {
            return Ok(None);
        };
        let size = object.row.size;
        let range = match request.range {
            None => 0..size,
            Some(range) => range.resolve(size).ok_or_else(|| StorageError::Invalid {
                what: "range",
                value: format!("{range:?}"),
                reason: format!("the object has {size} bytes"),
            })?,
        };
        let data = object.read(range.clone(), Delivery::Copied);
        Ok(Some(GetObjectResponse {
            object: (request.key, object.row).into(),
            range,
            data,
        }))
    }

    async fn head_object(&self, bucket: &str, key: &str) -> Result<Option<ObjectInfo>> {
        let row = self.object(&self.catalog().read()?, bucket, key)?;
        Ok(row.map(|row| (key.to_owned(), row).into()))
    }

    async fn delete_object(&self, bucket: &str, key: &str) -> Result<bool> {
        self.delete_object_on(bucket, key, None).await
    }

    async fn list_objects(&self, request: ListObjectsRequest) -> Result<ListObjectsResponse> {
        self.list_visible(request, |_| true).await
    }

    async fn copy_object(&self, request: CopyObjectRequest) -> Result<ObjectInfo> {
        self.copy_object_on(request, CopyTerms::default()).await
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
        self.create_multipart_upload_on(request, false).await
    }

    async fn upload_part(&self, request: UploadPartRequest<'_>) -> Result<String> {
        self.upload_part_on(request, None, None).await
    }

    async fn complete_multipart_upload(
        &self,
        request: CompleteMultipartUploadRequest,
    ) -> Result<String> {
        let completed = self.complete_multipart_upload_on(request, Terms::default(), None);
        Ok(completed.await?.etag)
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
        let mut from = KeyWriter::new();
        from.raw(&bucket_prefix(bucket))
            .part_of_any_text(prefix.as_bytes());
        let mut uploads = Vec::new();
        for row in snapshot.scan(&MULTIPART, from.as_bytes(), None)? {
            let (key, row) = row?;
            uploads.push(MultipartUploadInfo {
                key: key.key,
                upload_id: key.id.to_string(),
                created_ms: row.created_ms,
            });
        }
        Ok(uploads)
    }
}
