//! Multipart uploads. Parts are bodies of their own; a completion joins them and moves no byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::attributes::{self, COMPOSITE, FULL_OBJECT, description_of};
use super::boundaries::Boundaries;
use super::caller::Caller;
use super::checksums::{Algorithm, Said};
use super::conditions::{self, etag};
use super::error::{self, Unmet};
use super::joined;
use super::objects::{announced, checksum_fields, fill_checksum, media_type};
use super::service::{ObjectStore, refuse_of_writes};
use crate::ghostbay::engine::{
    CompleteMultipartUploadRequest, CreateMultipartUploadRequest, StorageEngine, UploadPartRequest,
};
use crate::ghostbay::terms::{AtEnd, AtJoin, Terms, Unwanted};

impl ObjectStore {
    pub(super) async fn begin_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        refuse_of_writes!(input);
        let description = description_of!(input);
        let mut metadata = description.into_map()?;
        let algorithm = input.checksum_algorithm.as_ref().map(|it| it.as_str());
        let kind = input.checksum_type.as_ref().map(|it| it.as_str());
        let wanted = wanted_checksum(algorithm, kind)?;
        if let Some((algorithm, kind)) = wanted {
            metadata.extend([attributes::upload_checksum(algorithm, kind)]);
        }
        let begin = CreateMultipartUploadRequest {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            content_type: media_type(input.content_type),
            metadata: Some(metadata),
        };
        let id = self.engine.create_multipart_upload_on(begin, true).await;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id.map_err(error::of_engine)?),
            checksum_algorithm: wanted.map(|(it, _)| ChecksumAlgorithm::from_static(it.name())),
            checksum_type: wanted.map(|(_, kind)| ChecksumType::from_static(kind)),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn put_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let is_signed = request.credentials.is_some();
        let input = request.input;
        let said = Said::of(
            checksum_fields!(input),
            input.content_md5.as_deref(),
            &request.headers,
            request.trailing_headers,
            is_signed,
        )?;
        let upload = self
            .engine
            .multipart_row(&input.bucket, &input.key, &input.upload_id)
            .map_err(error::of_engine)?;
        let wanted = attributes::upload_checksum_of(&upload.metadata).map(|(it, _)| it);
        let found = said.algorithm();
        if let (Some(wanted), Some(found)) = (wanted, found)
            && wanted != found
        {
            return Err(s3_error!(
                InvalidRequest,
                "the parts of this upload are checked by {}, not by {}",
                wanted.name(),
                found.name()
            ));
        }
        let body = input
            .body
            .ok_or_else(|| s3_error!(IncompleteBody, "there is no body"))?;
        let (data, outcome) = said.watch(body, wanted.unwrap_or(Algorithm::Crc64Nvme));
        let at_end: AtEnd = {
            let outcome = outcome.clone();
            Box::new(move || {
                let sum = outcome.sum();
                sum.iter()
                    .map(|sum| attributes::checksum(sum, FULL_OBJECT))
                    .collect()
            })
        };
        let put = UploadPartRequest {
            bucket: input.bucket,
            key: input.key,
            upload_id: input.upload_id,
            part_number: input.part_number,
            data,
        };
        let length = announced(input.content_length)?;
        let stored = self.engine.upload_part_on(put, length, Some(at_end)).await;
        let stored = stored.map_err(|error| error::of_body(error, &outcome))?;
        let mut output = UploadPartOutput {
            e_tag: Some(etag(&stored)),
            ..UploadPartOutput::default()
        };
        let sum = outcome
            .sum()
            .filter(|_| wanted.is_some() || found.is_some());
        fill_checksum!(output, sum.as_ref());
        Ok(S3Response::new(output))
    }

    pub(super) async fn complete(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        let whole = joined::whole(checksum_fields!(input))?;
        let named = input
            .multipart_upload
            .and_then(|it| it.parts)
            .unwrap_or_default();
        let at = (&*input.bucket, &*input.key, &*input.upload_id);
        let uploaded = self.engine.list_parts(at.0, at.1, at.2).await;
        let uploaded = match uploaded.map_err(error::of_engine) {
            // It may have been completed by the same request, whose answer was lost.
            Err(error) if *error.code() == S3ErrorCode::NoSuchUpload => Vec::new(),
            uploaded => uploaded?,
        };
        let parts = joined::parts(&named, &uploaded)?;
        let sums = joined::sums(&named)?;
        let said = input.mpu_object_size;
        let check_size = move |found: u64| match said {
            Some(said) if u64::try_from(said) != Ok(found) => Err(Unmet::Size(found, said)),
            _ => Ok(()),
        };
        let at_join: AtJoin = Arc::new(move |parts, mut map: BTreeMap<String, String>| {
            let unwanted = |unmet: Unmet| Arc::new(unmet) as Unwanted;
            joined::check_sizes(parts).map_err(unwanted)?;
            check_size(parts.iter().map(|part| part.size).sum()).map_err(unwanted)?;
            let sum = joined::checksum(parts, &map, &sums, whole.as_ref()).map_err(unwanted)?;
            Boundaries::of_upload(parts, &map).note(&mut map);
            attributes::forget_upload(&mut map);
            if let Some((sum, kind)) = sum {
                map.extend([attributes::checksum(&sum, kind)]);
            }
            Ok(map)
        });
        let condition = conditions::writing(input.if_match, input.if_none_match)?;
        let terms = Terms {
            condition: Some(caller.may_write(&input.bucket, &input.key, condition)),
            in_bucket: true,
            ..Terms::default()
        };
        let complete = CompleteMultipartUploadRequest {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            upload_id: input.upload_id,
            parts,
        };
        let completed = self
            .engine
            .complete_multipart_upload_on(complete, terms, Some(at_join))
            .await
            .map_err(error::of_engine)?;
        // Of one that was completed before it was not asked.
        check_size(completed.size).map_err(|unmet| S3Error::from(&unmet))?;
        let mut output = CompleteMultipartUploadOutput {
            e_tag: Some(etag(&completed.etag)),
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            ..CompleteMultipartUploadOutput::default()
        };
        if let Some((sum, kind)) = attributes::checksum_of(&completed.metadata) {
            fill_checksum!(output, Some(&sum));
            output.checksum_type = Some(ChecksumType::from(kind));
        }
        Ok(S3Response::new(output))
    }

    pub(super) async fn abort(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let aborted =
            self.engine
                .abort_multipart_upload(&input.bucket, &input.key, &input.upload_id);
        aborted.await.map_err(error::of_engine)?;
        let output = AbortMultipartUploadOutput::default();
        Ok(S3Response::with_status(output, StatusCode::NO_CONTENT))
    }
}

/// What the parts of an upload are to be checked by, and the kind of the object's checksum. Without a kind
/// it is over the parts' checksums where the algorithm allows both.
fn wanted_checksum(
    algorithm: Option<&str>,
    kind: Option<&str>,
) -> S3Result<Option<(Algorithm, &'static str)>> {
    let Some(name) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(s3_error!(
                InvalidRequest,
                "x-amz-checksum-type needs x-amz-checksum-algorithm"
            )),
        };
    };
    let algorithm = Algorithm::of_name(name)
        .ok_or_else(|| s3_error!(InvalidRequest, "{name:?} is no algorithm of checksums"))?;
    let kind = match (algorithm, kind) {
        (Algorithm::Crc64Nvme, None | Some(FULL_OBJECT)) => FULL_OBJECT,
        (Algorithm::Crc32 | Algorithm::Crc32c, Some(FULL_OBJECT)) => FULL_OBJECT,
        (Algorithm::Crc64Nvme, Some(_)) => {
            return Err(s3_error!(
                InvalidRequest,
                "CRC64NVME is of the whole object alone"
            ));
        }
        (_, None | Some(COMPOSITE)) => COMPOSITE,
        (_, Some(_)) => {
            return Err(s3_error!(InvalidRequest, "{name} is of the parts alone"));
        }
    };
    Ok(Some((algorithm, kind)))
}
