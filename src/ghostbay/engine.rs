//! GhostBay's public face: an object store with buckets, keys and multipart uploads.
//!
//! The requests are plain structs, to be written as literals. Errors are `anyhow::Error` and
//! carry a [`StorageError`](super::StorageError); what is absent is `Ok(None)`.

use std::collections::HashMap;
use std::pin::Pin;

use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

use crate::range::ByteRange;

/// A body: bytes as they come, or why they stop coming.
pub type ByteStream<'a> = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send + 'a>>;

/// Stores an object. The bucket comes into being with its first object.
pub struct PutObjectRequest<'a> {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Media type of the content.
    pub content_type: String,
    /// Length of the content in bytes, where known; another length is refused.
    pub content_length: Option<u64>,
    /// The content.
    pub data: ByteStream<'a>,
}

/// Asks for an object's content.
pub struct GetObjectRequest {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The part of the content that is wanted; all of it if `None`.
    pub range: Option<ByteRange>,
}

/// An object's content.
pub struct GetObjectResponse {
    /// What the object is.
    pub object: ObjectInfo,
    /// The bytes that `data` gives: first and behind the last, within the object.
    pub range: std::ops::Range<u64>,
    /// The content, checked as it is read.
    pub data: ByteStream<'static>,
}

/// What an object is, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// ETag as S3 computes it: the content's MD5, or that of the parts' MD5s and their number.
    pub etag: String,
    /// Media type.
    pub content_type: String,
    /// When it was stored, in milliseconds since 1970.
    pub modified_ms: u64,
    /// What the caller said of it.
    pub metadata: HashMap<String, String>,
}

/// Asks for a page of a bucket's keys, in the order of their bytes.
#[derive(Clone, Debug, Default)]
pub struct ListObjectsRequest {
    /// The bucket.
    pub bucket: String,
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that share what stands up to this behind the prefix are rolled up into one.
    pub delimiter: Option<String>,
    /// Where to go on: a token of the page before, or any key.
    pub start_after: Option<String>,
    /// Most entries of the page, 1 to 1000; 1000 if `None`.
    pub max_keys: Option<usize>,
}

/// A page of a bucket's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListObjectsResponse {
    /// The objects.
    pub objects: Vec<ObjectInfo>,
    /// What was rolled up.
    pub common_prefixes: Vec<String>,
    /// To be given as `start_after` for the next page; `None` on the last.
    pub next_token: Option<String>,
}

/// Copies an object by reference: the copy shares the stored bytes.
#[derive(Clone, Debug)]
pub struct CopyObjectRequest {
    /// Bucket of the original.
    pub source_bucket: String,
    /// Key of the original.
    pub source_key: String,
    /// Bucket of the copy.
    pub bucket: String,
    /// Key of the copy.
    pub key: String,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// When it came into being, in milliseconds since 1970.
    pub created_ms: u64,
}

/// Begins a multipart upload.
#[derive(Clone, Debug)]
pub struct CreateMultipartUploadRequest {
    /// The bucket.
    pub bucket: String,
    /// The key of the object to be.
    pub key: String,
    /// Media type of the object to be.
    pub content_type: String,
    /// What the caller says of it.
    pub metadata: Option<HashMap<String, String>>,
}

/// Uploads a part. A part of the same number is replaced.
pub struct UploadPartRequest<'a> {
    /// The bucket.
    pub bucket: String,
    /// The key of the object to be.
    pub key: String,
    /// The upload.
    pub upload_id: String,
    /// 1 to 10,000; parts are joined in the order of their numbers.
    pub part_number: i32,
    /// The part's content.
    pub data: ByteStream<'a>,
}

/// A part, as a completion names it and a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultipartUploadPart {
    /// The part's number.
    pub part_number: i32,
    /// The ETag that its upload answered.
    pub etag: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Makes an object of parts. No bytes are moved.
#[derive(Clone, Debug)]
pub struct CompleteMultipartUploadRequest {
    /// The bucket.
    pub bucket: String,
    /// The key of the object to be.
    pub key: String,
    /// The upload.
    pub upload_id: String,
    /// The parts that make the object, by ascending number. Others are dropped.
    pub parts: Vec<MultipartUploadPart>,
}

/// An upload that was begun and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultipartUploadInfo {
    /// The key of the object to be.
    pub key: String,
    /// The upload.
    pub upload_id: String,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: u64,
}

/// Asks for a page of the uploads that a bucket has under way, by key and id.
#[derive(Clone, Debug, Default)]
pub struct ListUploadsRequest {
    /// The bucket.
    pub bucket: String,
    /// Only those of keys that begin so.
    pub prefix: String,
    /// Keys that share what stands up to this behind the prefix are rolled up into one.
    pub delimiter: Option<String>,
    /// Where to go on: behind all uploads of that key, or behind what is rolled up to it.
    pub key_marker: Option<String>,
    /// Where to go on among the uploads of the key that `key_marker` is.
    pub upload_id_marker: Option<String>,
    /// Most entries of the page.
    pub max_uploads: usize,
}

/// A page of the uploads that a bucket has under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListUploadsResponse {
    /// The uploads.
    pub uploads: Vec<MultipartUploadInfo>,
    /// What was rolled up.
    pub common_prefixes: Vec<String>,
    /// The markers of the next page, of key and upload; `None` on the last page.
    pub next: Option<(String, Option<String>)>,
}

/// An object store.
///
/// What a method acknowledges is durable. Errors carry a
/// [`StorageError`](super::StorageError).
#[async_trait]
pub trait StorageEngine: Send + Sync {
    /// Stores an object, in place of any other under the key. Answers its ETag.
    async fn put_object(&self, request: PutObjectRequest<'_>) -> Result<String>;

    /// An object's content, or a range of it. `None` if there is no such object; an error if the
    /// range begins behind its end.
    async fn get_object(&self, request: GetObjectRequest) -> Result<Option<GetObjectResponse>>;

    /// What an object is.
    async fn head_object(&self, bucket: &str, key: &str) -> Result<Option<ObjectInfo>>;

    /// Deletes an object; whether there was one.
    async fn delete_object(&self, bucket: &str, key: &str) -> Result<bool>;

    /// A page of a bucket's keys.
    async fn list_objects(&self, request: ListObjectsRequest) -> Result<ListObjectsResponse>;

    /// Copies an object by reference. Answers the copy.
    async fn copy_object(&self, request: CopyObjectRequest) -> Result<ObjectInfo>;

    /// Makes a bucket; whether it is new.
    async fn create_bucket(&self, bucket: &str) -> Result<bool>;

    /// A bucket.
    async fn head_bucket(&self, bucket: &str) -> Result<Option<BucketInfo>>;

    /// All buckets, by name.
    async fn list_buckets(&self) -> Result<Vec<BucketInfo>>;

    /// Deletes an empty bucket; whether there was one.
    async fn delete_bucket(&self, bucket: &str) -> Result<bool>;

    /// Begins a multipart upload. Answers its id.
    async fn create_multipart_upload(
        &self,
        request: CreateMultipartUploadRequest,
    ) -> Result<String>;

    /// Uploads a part. Answers its ETag.
    async fn upload_part(&self, request: UploadPartRequest<'_>) -> Result<String>;

    /// Makes an object of an upload's parts. Answers its ETag.
    async fn complete_multipart_upload(
        &self,
        request: CompleteMultipartUploadRequest,
    ) -> Result<String>;

    /// Drops an upload and its parts.
    async fn abort_multipart_upload(&self, bucket: &str, key: &str, upload_id: &str) -> Result<()>;

    /// The parts that an upload holds, by number.
    async fn list_parts(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
    ) -> Result<Vec<MultipartUploadPart>>;

    /// The uploads of a bucket whose keys begin with `prefix`, by key.
    async fn list_multipart_uploads(
        &self,
        bucket: &str,
        prefix: &str,
    ) -> Result<Vec<MultipartUploadInfo>>;
}
