//! What each operation needs, decided before anything of the store is looked at. What depends on more than
//! bucket and key (a prefix, a source, what is there already) the operation decides itself.

use async_trait::async_trait;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use super::caller::Caller;
use super::error;
use super::service::ObjectStore;
use crate::auth::Action;

/// What an operation needs.
enum Need {
    /// That of the bucket.
    Bucket(Action),
    /// One of these of the object.
    Object(&'static [Action]),
    /// The operation decides.
    Own,
}

/// To make an object or to replace it: which of these, the transaction knows.
const WRITE: &[Action] = &[Action::PushNew, Action::Overwrite];

/// What an operation needs, and whether it changes anything; `None`: it is not implemented.
fn need(operation: &str) -> Option<(Need, bool)> {
    Some(match operation {
        "ListBuckets" | "ListObjects" | "ListObjectsV2" | "ListMultipartUploads" => {
            (Need::Own, false)
        }
        "HeadBucket" | "GetBucketLocation" => (Need::Bucket(Action::Pull), false),
        "CreateBucket" => (Need::Bucket(Action::PushNew), true),
        "DeleteBucket" => (Need::Bucket(Action::Delete), true),
        "GetObject" | "HeadObject" | "GetObjectTagging" | "GetObjectAttributes" => {
            (Need::Object(&[Action::Pull]), false)
        }
        "ListParts" => (Need::Object(WRITE), false),
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload" => (Need::Object(WRITE), true),
        "PutObjectTagging" | "DeleteObjectTagging" => (Need::Object(&[Action::Overwrite]), true),
        "DeleteObject" => (Need::Object(&[Action::Delete]), true),
        "DeleteObjects" => (Need::Own, true),
        _ => return None,
    })
}

#[async_trait]
impl S3Access for ObjectStore {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = cx.s3_op().name().to_owned();
        let is_signed = cx.credentials().is_some();
        let caller = Caller::of(cx.extensions_mut())?;
        caller.passed(&operation, is_signed)?;
        let Some((need, is_write)) = need(&operation) else {
            return Err(s3_error!(NotImplemented, "{operation} is not implemented"));
        };
        let path = cx.s3_path();
        let bucket = path.get_bucket_name().unwrap_or_default();
        let key = path.get_object_key().unwrap_or_default();
        if is_write {
            self.check_writable(bucket)?;
        }
        match need {
            // The registry's own rules decide what of it is to be seen.
            _ if self.is_registrys(bucket) => Ok(()),
            Need::Bucket(action) => caller.admit(action, bucket, ""),
            Need::Object(actions) => caller.admit_any(actions, bucket, key),
            // Its keys are in a body, which nobody is let in to send who may delete nothing.
            Need::Own if is_write && !is_signed => caller.admit(Action::Delete, bucket, ""),
            Need::Own => Ok(()),
        }
    }
}

#[async_trait]
impl S3Auth for ObjectStore {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.auth.access_key(access_key) {
            Some((secret, _)) => Ok(SecretKey::from(secret)),
            None => Err(error::unknown_key()),
        }
    }
}
