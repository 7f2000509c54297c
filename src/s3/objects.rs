//! Objects: stored and deleted.

use axum::http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::attributes::{self, FULL_OBJECT, description_of};
use super::caller::Caller;
use super::checksums::{Algorithm, Said};
use super::conditions::{self, etag};
use super::error;
use super::service::{ObjectStore, refuse, refuse_of_writes};
use crate::auth::Action;
use crate::ghostbay::engine::{PutObjectRequest, StorageEngine};
use crate::ghostbay::terms::{AtEnd, Terms};

/// Media type of an object of which none is said.
const MEDIA_TYPE_DEFAULT: &str = "binary/octet-stream";

/// Fills the fields of an answer that hold a checksum.
macro_rules! fill_checksum {
    ($output:expr, $sum:expr) => {
        if let Some(sum) = $sum {
            let sum: &$crate::s3::checksums::Sum = sum;
            let value = Some(sum.value.clone());
            match sum.algorithm {
                $crate::s3::checksums::Algorithm::Crc32 => $output.checksum_crc32 = value,
                $crate::s3::checksums::Algorithm::Crc32c => $output.checksum_crc32c = value,
                $crate::s3::checksums::Algorithm::Crc64Nvme => $output.checksum_crc64nvme = value,
                $crate::s3::checksums::Algorithm::Sha1 => $output.checksum_sha1 = value,
                $crate::s3::checksums::Algorithm::Sha256 => $output.checksum_sha256 = value,
            }
        }
    };
}
/// The fields of a request that hold a checksum.
macro_rules! checksum_fields {
    ($input:expr) => {{
        use $crate::s3::checksums::Algorithm;
        [
            (Algorithm::Crc32, $input.checksum_crc32.as_deref()),
            (Algorithm::Crc32c, $input.checksum_crc32c.as_deref()),
            (Algorithm::Crc64Nvme, $input.checksum_crc64nvme.as_deref()),
            (Algorithm::Sha1, $input.checksum_sha1.as_deref()),
            (Algorithm::Sha256, $input.checksum_sha256.as_deref()),
        ]
    }};
}
pub(super) use {checksum_fields, fill_checksum};

/// The media type of an object to be.
pub fn media_type(said: Option<String>) -> String {
    said.filter(|text| !text.is_empty())
        .unwrap_or_else(|| MEDIA_TYPE_DEFAULT.to_owned())
}

/// The length that a body is announced with. `s3s` gives the length of the content, whatever pieces it
/// comes in.
pub fn announced(length: Option<i64>) -> S3Result<Option<u64>> {
    let length = length.map(u64::try_from).transpose();
    length.map_err(|_| s3_error!(InvalidArgument, "Content-Length is no length"))
}

/// Refuses versions: there are none.
pub fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "there are no versions of objects")),
    }
}

impl ObjectStore {
    pub(super) async fn put(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let is_signed = request.credentials.is_some();
        let input = request.input;
        refuse_of_writes!(input);
        refuse! {
            input.grant_read.is_some() || input.grant_full_control.is_some() => "a grant",
            input.object_lock_legal_hold_status.is_some() => "object lock",
            input.website_redirect_location.is_some() => "x-amz-website-redirect-location",
            input.write_offset_bytes.is_some() => "x-amz-write-offset-bytes",
        }
        let said = Said::of(
            checksum_fields!(input),
            input.content_md5.as_deref(),
            &request.headers,
            request.trailing_headers,
            is_signed,
        )?;
        let description = description_of!(input);
        let metadata = description.into_map()?;
        let condition = conditions::writing(input.if_match, input.if_none_match)?;
        let condition = caller.may_write(&input.bucket, &input.key, condition);
        // Decided again in the transaction; here, so that nobody sends a content that is not wanted.
        self.check_bucket(&input.bucket).await?;
        let present = self.engine.head_object(&input.bucket, &input.key).await;
        let present = present.map_err(error::of_engine)?;
        condition(present.as_ref()).map_err(|unmet| {
            error::of_engine(crate::ghostbay::StorageError::Unwanted(unmet).into())
        })?;
        let body = input
            .body
            .ok_or_else(|| s3_error!(IncompleteBody, "there is no body"))?;
        let (data, outcome) = said.watch(body, Algorithm::Crc64Nvme);
        let at_end: AtEnd = {
            let outcome = outcome.clone();
            Box::new(move || {
                let sum = outcome.sum();
                sum.iter()
                    .map(|sum| attributes::checksum(sum, FULL_OBJECT))
                    .collect()
            })
        };
        let put = PutObjectRequest {
            bucket: input.bucket,
            key: input.key,
            content_type: media_type(input.content_type),
            content_length: announced(input.content_length)?,
            data,
        };
        let terms = Terms {
            metadata,
            condition: Some(condition),
            in_bucket: true,
        };
        let stored = self.engine.put_object_on(put, terms, Some(at_end)).await;
        let stored = stored.map_err(|error| error::of_body(error, &outcome))?;
        let mut output = PutObjectOutput {
            e_tag: Some(etag(&stored)),
            ..PutObjectOutput::default()
        };
        let sum = outcome.sum();
        fill_checksum!(output, sum.as_ref());
        output.checksum_type = sum.map(|_| ChecksumType::from_static(FULL_OBJECT));
        Ok(S3Response::new(output))
    }

    pub(super) async fn delete(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        refuse! {
            input.if_match_size.is_some() => "x-amz-if-match-size",
            input.if_match_last_modified_time.is_some() => "x-amz-if-match-last-modified-time",
        }
        self.check_bucket(&input.bucket).await?;
        let condition = conditions::writing(input.if_match, None)?;
        let deleted = self
            .engine
            .delete_object_on(&input.bucket, &input.key, condition);
        deleted.await.map_err(error::of_engine)?;
        let output = DeleteObjectOutput::default();
        Ok(S3Response::with_status(output, StatusCode::NO_CONTENT))
    }

    /// Each key is decided about on its own.
    pub(super) async fn delete_many(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        let wanted = input.delete.objects;
        if !(1..=KEYS_DELETED_MAX).contains(&wanted.len()) {
            return Err(s3_error!(
                MalformedXML,
                "a request deletes 1 to {KEYS_DELETED_MAX} keys, not {}",
                wanted.len()
            ));
        }
        let is_quiet = input.delete.quiet == Some(true);
        // A caller who may delete nothing is told nothing, not even whether there is the bucket.
        let is_any = wanted
            .iter()
            .any(|it| caller.may(Action::Delete, &input.bucket, &it.key));
        if !is_any {
            caller.admit(Action::Delete, &input.bucket, &wanted[0].key)?;
        }
        self.check_bucket(&input.bucket).await?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in wanted {
            match self.delete_one(&caller, &input.bucket, &object).await {
                Ok(()) if is_quiet => {}
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(object.key),
                    ..DeletedObject::default()
                }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(object.key),
                    version_id: None,
                }),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            request_charged: None,
        }))
    }

    async fn delete_one(
        &self,
        caller: &Caller,
        bucket: &str,
        object: &ObjectIdentifier,
    ) -> S3Result<()> {
        caller.admit(Action::Delete, bucket, &object.key)?;
        check_version(object.version_id.as_deref())?;
        refuse! {
            object.size.is_some() => "Size of a key to be deleted",
            object.last_modified_time.is_some() => "LastModifiedTime of a key to be deleted",
        }
        let condition = object.e_tag.clone().map(ETagCondition::ETag);
        let condition = conditions::writing(condition, None)?;
        let deleted = self.engine.delete_object_on(bucket, &object.key, condition);
        deleted.await.map(drop).map_err(error::of_engine)
    }
}

/// The most keys that one request deletes (S3, DeleteObjects).
const KEYS_DELETED_MAX: usize = 1000;
