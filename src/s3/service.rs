//! The operations that there are, on one screen. Every other is answered NotImplemented, by its name.

use std::sync::Arc;

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::error;
use crate::auth::AuthService;
use crate::ghostbay::LocalStorageEngine;
use crate::registry::Registry;

/// What the operations work on. Cheap to clone.
#[derive(Clone)]
pub struct ObjectStore {
    /// The store.
    pub engine: Arc<LocalStorageEngine>,
    /// The registry, whose own bucket is a view of its tables.
    pub registry: Registry,
    /// That bucket.
    pub registry_bucket: String,
    /// Whose requests they are.
    pub auth: Arc<AuthService>,
    /// The region that requests are signed for.
    pub region: String,
    /// Whether writes are refused.
    pub read_only: bool,
}

impl ObjectStore {
    /// Whether the bucket is the registry's.
    pub fn is_registrys(&self, bucket: &str) -> bool {
        bucket == self.registry_bucket
    }

    /// Refuses writes to what the registry owns, whoever asks and whatever the policy says of it: its own
    /// API is the only way in.
    pub fn check_writable(&self, bucket: &str) -> S3Result<()> {
        if self.is_registrys(bucket) {
            return Err(s3_error!(
                AccessDenied,
                "the registry's bucket is written by the registry's API alone"
            ));
        }
        if self.read_only {
            return Err(s3_error!(MethodNotAllowed, "the server takes no writes"));
        }
        Ok(())
    }

    /// Refuses a bucket that is not there.
    pub async fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        use crate::ghostbay::engine::StorageEngine;
        let found = self.engine.head_bucket(bucket).await;
        match found.map_err(error::of_engine)? {
            Some(_) => Ok(()),
            None => Err(s3_error!(NoSuchBucket, "there is no bucket {bucket:?}")),
        }
    }
}

/// Hands an operation to the method that does it.
macro_rules! operations {
    ($($name:ident($input:ident) -> $output:ident: $method:ident;)*) => {
        #[async_trait]
        impl S3 for ObjectStore {
            $(
                async fn $name(
                    &self,
                    request: S3Request<$input>,
                ) -> S3Result<S3Response<$output>> {
                    self.$method(request).await
                }
            )*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput: buckets;
    create_bucket(CreateBucketInput) -> CreateBucketOutput: make_bucket;
    head_bucket(HeadBucketInput) -> HeadBucketOutput: look_at_bucket;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput: locate_bucket;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput: remove_bucket;
    list_objects(ListObjectsInput) -> ListObjectsOutput: list_v1;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output: list_v2;
    put_object(PutObjectInput) -> PutObjectOutput: put;
    get_object(GetObjectInput) -> GetObjectOutput: get;
    head_object(HeadObjectInput) -> HeadObjectOutput: head;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput: describe;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput: delete;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput: delete_many;
    copy_object(CopyObjectInput) -> CopyObjectOutput: copy;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput: put_tags;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput: get_tags;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput: delete_tags;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput: begin_upload;
    upload_part(UploadPartInput) -> UploadPartOutput: put_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput: copy_part;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput: complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput: abort;
    list_parts(ListPartsInput) -> ListPartsOutput: list_upload_parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput: list_uploads;
}

/// Refuses what a request asks for and would not get.
macro_rules! refuse {
    ($($what:expr => $name:literal),* $(,)?) => {
        $(
            if $what {
                return Err(s3s::s3_error!(NotImplemented, concat!($name, " is not implemented")));
            }
        )*
    };
}
pub(super) use refuse;

/// Refuses what no operation that makes an object takes.
macro_rules! refuse_of_writes {
    ($input:expr) => {
        $crate::s3::service::refuse! {
            $input.acl.as_ref().is_some_and(|acl| !$crate::s3::buckets::is_private(acl.as_str())) => "an ACL other than private",
            $input.sse_customer_algorithm.is_some() || $input.server_side_encryption.is_some() => "server-side encryption",
            $input.storage_class.as_ref().is_some_and(|it| it.as_str() != "STANDARD") => "a storage class other than STANDARD",
            $input.object_lock_mode.is_some() => "object lock",
        }
    };
}
pub(super) use refuse_of_writes;
