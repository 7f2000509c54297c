//! Multipart uploads as listings show them: those of a bucket, and the parts of one.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::attributes;
use super::buckets::owner;
use super::caller::Caller;
use super::conditions::{etag, timestamp};
use super::error;
use super::listing::{Encoding, page_length};
use super::objects::fill_checksum;
use super::service::ObjectStore;
use crate::auth::Action;
use crate::ghostbay::engine::{ListUploadsRequest, ListUploadsResponse};

impl ObjectStore {
    pub(super) async fn list_upload_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        if self.is_registrys(&input.bucket) {
            return Err(error::denied());
        }
        let length = page_length(input.max_parts, "max-parts")?;
        let after = input.part_number_marker.unwrap_or(0);
        let at = (&*input.bucket, &*input.key, &*input.upload_id);
        let behind = u32::try_from(after).unwrap_or(0);
        let parts = self.engine.multipart_parts(at, behind, length);
        let (parts, more) = parts.map_err(error::of_engine)?;
        let more = more && length > 0;
        let last = parts.last().map(|part| part.number as i32);
        let shown = parts.into_iter().map(|part| {
            let mut entry = Part {
                e_tag: Some(etag(&part.etag)),
                part_number: Some(part.number as i32),
                size: Some(part.size as i64),
                last_modified: Some(timestamp(part.modified_ms)),
                ..Part::default()
            };
            let sum = attributes::checksum_of(&part.metadata);
            fill_checksum!(entry, sum.as_ref().map(|(sum, _)| sum));
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
        if self.is_registrys(&input.bucket) {
            return Err(error::denied());
        }
        let prefix = input.prefix.unwrap_or_default();
        caller.admit(Action::Pull, &input.bucket, &prefix)?;
        let encoding = Encoding::of(input.encoding_type.as_ref())?;
        let length = page_length(input.max_uploads, "max-uploads")?;
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let page = match length {
            0 => {
                self.check_bucket(&input.bucket).await?;
                ListUploadsResponse::default()
            }
            max_uploads => {
                let list = ListUploadsRequest {
                    bucket: input.bucket.clone(),
                    prefix: prefix.clone(),
                    delimiter: input.delimiter.clone(),
                    key_marker: some(&input.key_marker),
                    upload_id_marker: some(&input.upload_id_marker),
                    max_uploads,
                };
                let (caller, bucket) = (caller.clone(), input.bucket.clone());
                let may_see = move |key: &str| caller.may(Action::Pull, &bucket, key);
                let page = self.engine.list_uploads(list, may_see).await;
                page.map_err(error::of_engine)?
            }
        };
        let shown = page.uploads.into_iter().map(|upload| MultipartUpload {
            key: Some(encoding.text(upload.key)),
            upload_id: Some(upload.upload_id),
            initiated: Some(timestamp(upload.created_ms)),
            owner: Some(owner()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..MultipartUpload::default()
        });
        let prefixes = page.common_prefixes.into_iter().map(|prefix| CommonPrefix {
            prefix: Some(encoding.text(prefix)),
        });
        let is_truncated = page.next.is_some();
        let (next_key_marker, next_upload_id_marker) = page.next.unzip();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(shown.collect()),
            common_prefixes: Some(prefixes.collect()),
            bucket: Some(input.bucket),
            prefix: Some(encoding.text(prefix)),
            delimiter: input.delimiter.map(|text| encoding.text(text)),
            encoding_type: input.encoding_type,
            key_marker: Some(encoding.text(input.key_marker.unwrap_or_default())),
            upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
            next_key_marker: next_key_marker.map(|text| encoding.text(text)),
            next_upload_id_marker: next_upload_id_marker.map(Option::unwrap_or_default),
            max_uploads: Some(length as i32),
            is_truncated: Some(is_truncated),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}
