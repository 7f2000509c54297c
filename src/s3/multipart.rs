//! Multipart uploads. Parts are bodies of their own; a completion joins them and moves no byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::attributes::{self, COMPOSITE, FULL_OBJECT, description_of};
use super::buckets::owner;
use super::caller::Caller;
use super::checksums::{Algorithm, Said, Sum};
use super::conditions::{self, etag, timestamp};
use super::error::{self, Unmet};
use super::joined;
use super::listing::page_length;
use super::objects::{announced, checksum_fields, fill_checksum, media_type};
use super::service::{ObjectStore, refuse, refuse_of_writes};
use crate::auth::Action;
use crate::ghostbay::engine::{
    CompleteMultipartUploadRequest, CreateMultipartUploadRequest, MultipartUploadInfo,
    MultipartUploadPart, StorageEngine, UploadPartRequest,
};
use crate::ghostbay::terms::{AtEnd, AtJoin, PartSaid, Terms, Unwanted};

/// The name under which what is known of a part goes from its body to its upload.
const OF_PART: &str = ":part";

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
                let text = |sum: Sum| format!("{} {}", sum.algorithm.name(), sum.value);
                sum.map(|sum| (OF_PART.to_owned(), text(sum)))
                    .into_iter()
                    .collect()
            })
        };
        let number = input.part_number as u32;
        let note: PartSaid = Arc::new(move |map, known| {
            let sum = known.get(OF_PART).and_then(|text| text.split_once(' '));
            let sum = sum.and_then(|(algorithm, value)| {
                Some(Sum {
                    algorithm: Algorithm::of_name(algorithm)?,
                    value: value.to_owned(),
                })
            });
            match sum {
                Some(sum) => attributes::note_part(map, number, &sum),
                None => attributes::forget_part(map, number),
            }
        });
        let put = UploadPartRequest {
            bucket: input.bucket,
            key: input.key,
            upload_id: input.upload_id,
            part_number: input.part_number,
            data,
        };
        let length = announced(input.content_length)?;
        let stored = self
            .engine
            .upload_part_on(put, length, Some((note, at_end)))
            .await;
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
        let (_, uploaded) = self
            .engine
            .multipart_upload(&input.bucket, &input.key, &input.upload_id)
            .map_err(error::of_engine)?;
        let parts = joined::parts(&named, &uploaded)?;
        let sums = joined::sums(&named)?;
        if let Some(size) = input.mpu_object_size {
            let found: u64 = parts.iter().map(|part| part.size).sum();
            if u64::try_from(size) != Ok(found) {
                return Err(s3_error!(
                    InvalidRequest,
                    "the parts have {found} bytes, and x-amz-mp-object-size says {size}"
                ));
            }
        }
        let at_join: AtJoin = Arc::new(move |parts, mut map: BTreeMap<String, String>| {
            let unwanted = |unmet: Unmet| Arc::new(unmet) as Unwanted;
            joined::check_sizes(parts).map_err(unwanted)?;
            let sum = joined::checksum(parts, &map, &sums, whole.as_ref()).map_err(unwanted)?;
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

    pub(super) async fn list_upload_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        if self.is_registrys(&input.bucket) {
            return Err(error::denied());
        }
        let length = page_length(input.max_parts, "max-parts")?;
        let (upload, parts) = self
            .engine
            .multipart_upload(&input.bucket, &input.key, &input.upload_id)
            .map_err(error::of_engine)?;
        let after = input.part_number_marker.unwrap_or(0);
        let mut parts = parts.into_iter().filter(|part| part.part_number > after);
        let shown: Vec<MultipartUploadPart> = parts.by_ref().take(length).collect();
        let more = length > 0 && parts.next().is_some();
        let last = shown.last().map(|part| part.part_number);
        let shown = shown.into_iter().map(|part| {
            let mut entry = Part {
                e_tag: Some(etag(&part.etag)),
                part_number: Some(part.part_number),
                size: Some(part.size as i64),
                // When each came is not kept; none came before this.
                last_modified: Some(timestamp(upload.created_ms)),
                ..Part::default()
            };
            let sum = attributes::part(&upload.metadata, part.part_number as u32);
            fill_checksum!(entry, sum.as_ref());
            entry
        });
        Ok(S3Response::new(ListPartsOutput {
            parts: Some(shown.collect()),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            part_number_marker: Some(after),
            next_part_number_marker: last.filter(|_| more),
            max_parts: Some(length as i32),
            is_truncated: Some(more),
            owner: Some(owner()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..ListPartsOutput::default()
        }))
    }

    pub(super) async fn list_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        let prefix = input.prefix.unwrap_or_default();
        if self.is_registrys(&input.bucket) {
            return Err(error::denied());
        }
        refuse! {
            input.delimiter.as_ref().is_some_and(|it| !it.is_empty()) => "ListMultipartUploads with a delimiter",
        }
        caller.admit(Action::Pull, &input.bucket, &prefix)?;
        self.check_bucket(&input.bucket).await?;
        let length = page_length(input.max_uploads, "max-uploads")?;
        let uploads = self
            .engine
            .list_multipart_uploads(&input.bucket, &prefix)
            .await;
        let mut uploads = uploads.map_err(error::of_engine)?;
        let place = |upload: &MultipartUploadInfo| (upload.key.clone(), upload.upload_id.clone());
        uploads.sort_by_key(place);
        let key_marker = input.key_marker.unwrap_or_default();
        let id_marker = input.upload_id_marker.unwrap_or_default();
        let is_behind = |upload: &MultipartUploadInfo| match id_marker.is_empty() {
            true => upload.key > key_marker,
            false => (upload.key.as_str(), upload.upload_id.as_str()) > (&key_marker, &id_marker),
        };
        let may_see = |key: &str| caller.may(Action::Pull, &input.bucket, key);
        let mut uploads = uploads
            .into_iter()
            .filter(|it| is_behind(it) && may_see(&it.key));
        let shown: Vec<MultipartUploadInfo> = uploads.by_ref().take(length).collect();
        let more = length > 0 && uploads.next().is_some();
        let last = shown.last().filter(|_| more).map(place);
        let (next_key_marker, next_upload_id_marker) = last.unzip();
        let shown = shown.into_iter().map(|upload| MultipartUpload {
            key: Some(upload.key),
            upload_id: Some(upload.upload_id),
            initiated: Some(timestamp(upload.created_ms)),
            owner: Some(owner()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..MultipartUpload::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(shown.collect()),
            bucket: Some(input.bucket),
            prefix: Some(prefix),
            key_marker: Some(key_marker),
            upload_id_marker: Some(id_marker),
            next_key_marker,
            next_upload_id_marker,
            max_uploads: Some(length as i32),
            is_truncated: Some(more),
            ..ListMultipartUploadsOutput::default()
        }))
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
