//! Objects: stored, read and deleted.

use axum::http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::attributes::{self, FULL_OBJECT, Shown, description_of};
use super::body::outgoing;
use super::caller::Caller;
use super::checksums::{Algorithm, Said, Sum};
use super::conditions::{self, Reading, etag, timestamp};
use super::error;
use super::service::{ObjectStore, refuse, refuse_of_writes};
use crate::auth::Action;
use crate::ghostbay::engine::{
    GetObjectRequest, GetObjectResponse, ObjectInfo, PutObjectRequest, StorageEngine,
};
use crate::ghostbay::terms::{AtEnd, Terms};
use crate::range::ByteRange;

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
/// Fills the fields of an answer that say what an object is.
macro_rules! describe {
    ($output:expr, $object:expr, $description:expr) => {{
        let description = $description;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.e_tag = Some(etag(&$object.etag));
        $output.last_modified = Some(timestamp($object.modified_ms));
        $output.content_type = Some($object.content_type);
        $output.cache_control = description.cache_control;
        $output.content_disposition = description.content_disposition;
        $output.content_encoding = description.content_encoding;
        $output.content_language = description.content_language;
        $output.expires = description.expires;
        $output.metadata = description.metadata;
    }};
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

    pub(super) async fn get(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let is_signed = request.credentials.is_some();
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        refuse! {
            input.part_number.is_some() => "GetObject with partNumber",
            !is_signed && overrides(&input) => "response-* without a signature",
            input.sse_customer_algorithm.is_some() => "server-side encryption",
        }
        let reading = Reading {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let range = input.range.map(byte_range);
        let (object, range, data) = match self.is_registrys(&input.bucket) {
            true => self.view(&caller).get(&input.key, range, &reading)?,
            false => self.read(&input.bucket, input.key, range, &reading).await?,
        };
        let mut output = GetObjectOutput::default();
        let is_part = range.end - range.start < object.size || input.range.is_some();
        output.content_length = Some((range.end - range.start) as i64);
        if is_part {
            let (first, last) = (range.start, range.end.saturating_sub(1));
            output.content_range = Some(format!("bytes {first}-{last}/{}", object.size));
        }
        output.body = Some(outgoing(data, range.end - range.start));
        let shown = Shown::of(&object.metadata);
        let sum = shown.checksum.as_ref().filter(|_| {
            !is_part
                && input
                    .checksum_mode
                    .is_some_and(|it| it.as_str() == "ENABLED")
        });
        fill_checksum!(output, sum.map(|(sum, _)| sum));
        output.checksum_type = sum.map(|(_, kind)| ChecksumType::from(kind.clone()));
        output.tag_count = (shown.tags > 0).then_some(shown.tags as i32);
        describe!(output, object, shown.description);
        // What a presigned link says of the answer, S3 puts into it.
        output.cache_control = input.response_cache_control.or(output.cache_control);
        output.content_disposition = input
            .response_content_disposition
            .or(output.content_disposition);
        output.content_encoding = input.response_content_encoding.or(output.content_encoding);
        output.content_language = input.response_content_language.or(output.content_language);
        output.content_type = input.response_content_type.or(output.content_type);
        output.expires = input.response_expires.or(output.expires);
        Ok(S3Response::new(output))
    }

    /// An object, or a range of it, to be read.
    pub(super) async fn open(
        &self,
        bucket: &str,
        key: &str,
        range: Option<ByteRange>,
    ) -> S3Result<GetObjectResponse> {
        let get = GetObjectRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            range,
        };
        let got = self.engine.get_object(get).await;
        let got = got.map_err(error::of_engine)?;
        got.ok_or_else(|| error::no_such_key(key))
    }

    /// An object that is wanted, the range of it, and its bytes.
    async fn read(
        &self,
        bucket: &str,
        key: String,
        range: Option<ByteRange>,
        reading: &Reading,
    ) -> S3Result<Opened> {
        let found = self.engine.head_object(bucket, &key).await;
        let found = found.map_err(error::of_engine)?;
        if found.is_none() {
            self.check_bucket(bucket).await?;
        }
        let known = found.ok_or_else(|| error::no_such_key(&key))?;
        reading.check(&known.etag, known.modified_ms)?;
        let got = self.open(bucket, &key, range).await?;
        // It may have been replaced since; the bytes are those of what is said of it here.
        reading.check(&got.object.etag, got.object.modified_ms)?;
        Ok((got.object, got.range, got.data))
    }

    pub(super) async fn head(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        refuse! {
            input.part_number.is_some() => "HeadObject with partNumber",
            input.sse_customer_algorithm.is_some() => "server-side encryption",
        }
        let object = match self.is_registrys(&input.bucket) {
            true => self.view(&caller).head(&input.key)?,
            false => {
                let found = self.engine.head_object(&input.bucket, &input.key).await;
                let found = found.map_err(error::of_engine)?;
                found.ok_or_else(|| error::no_such_key(&input.key))?
            }
        };
        let reading = Reading {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        reading.check(&object.etag, object.modified_ms)?;
        let mut output = HeadObjectOutput {
            content_length: Some(object.size as i64),
            ..HeadObjectOutput::default()
        };
        let mut status = StatusCode::OK;
        if let Some(range) = input.range {
            let range = byte_range(range).resolve(object.size);
            let range = range.ok_or_else(|| s3_error!(InvalidRange))?;
            output.content_length = Some((range.end - range.start) as i64);
            let (first, last) = (range.start, range.end - 1);
            output.content_range = Some(format!("bytes {first}-{last}/{}", object.size));
            status = StatusCode::PARTIAL_CONTENT;
        }
        let shown = Shown::of(&object.metadata);
        let is_asked = input
            .checksum_mode
            .is_some_and(|it| it.as_str() == "ENABLED");
        let sum = shown
            .checksum
            .as_ref()
            .filter(|_| is_asked && input.range.is_none());
        fill_checksum!(output, sum.map(|(sum, _): &(Sum, String)| sum));
        output.checksum_type = sum.map(|(_, kind)| ChecksumType::from(kind.clone()));
        describe!(output, object, shown.description);
        Ok(S3Response::with_status(output, status))
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

/// Whether a request says what the answer's headers are to be.
fn overrides(input: &GetObjectInput) -> bool {
    input.response_cache_control.is_some()
        || input.response_content_disposition.is_some()
        || input.response_content_encoding.is_some()
        || input.response_content_language.is_some()
        || input.response_content_type.is_some()
        || input.response_expires.is_some()
}

/// The most keys that one request deletes (S3, DeleteObjects).
const KEYS_DELETED_MAX: usize = 1000;

/// An object, a range of it, and its bytes.
pub type Opened = (
    ObjectInfo,
    std::ops::Range<u64>,
    crate::ghostbay::engine::ByteStream<'static>,
);

fn byte_range(range: Range) -> ByteRange {
    match range {
        Range::Int { first, last: None } => ByteRange::From { first },
        Range::Int {
            first,
            last: Some(last),
        } => ByteRange::FromTo { first, last },
        Range::Suffix { length } => ByteRange::Suffix { length },
    }
}
