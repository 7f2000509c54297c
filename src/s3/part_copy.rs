//! Parts that are copies: by reference where all of an object becomes a part, and read where a range of it
//! does, since what is stored together stays together.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::caller::Caller;
use super::conditions::{Reading, etag, timestamp};
use super::copy::source;
use super::error;
use super::service::ObjectStore;
use crate::ghostbay::engine::UploadPartRequest;
use crate::ghostbay::{StorageError, now_ms};
use crate::range::ByteRange;

impl ObjectStore {
    pub(super) async fn copy_part(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        let (bucket, key) = source(input.copy_source)?;
        self.admit_source(&caller, &bucket, &key).await?;
        let reading = Reading {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let wanted = reading.of_source();
        let shared = match &input.copy_source_range {
            Some(_) => None,
            None => self
                .engine
                .share_as_part(
                    (&bucket, &key),
                    (&input.bucket, &input.key, &input.upload_id),
                    input.part_number,
                    Some(wanted.clone()),
                )
                .await
                .map_err(error::of_engine)?
                .map(|part| part.etag),
        };
        let stored = match shared {
            Some(etag) => etag,
            None => {
                let range = input
                    .copy_source_range
                    .as_deref()
                    .map(range_of)
                    .transpose()?;
                let got = self.open(&bucket, &key, range).await?;
                wanted(Some(&got.object))
                    .map_err(|unmet| error::of_engine(StorageError::Unwanted(unmet).into()))?;
                if let Some(ByteRange::FromTo { last, .. }) = range
                    && last >= got.object.size
                {
                    return Err(s3_error!(
                        InvalidArgument,
                        "x-amz-copy-source-range ends behind byte {}, the last of the original",
                        got.object.size.saturating_sub(1)
                    ));
                }
                let length = got.range.end - got.range.start;
                let put = UploadPartRequest {
                    bucket: input.bucket,
                    key: input.key,
                    upload_id: input.upload_id,
                    part_number: input.part_number,
                    data: got.data,
                };
                let stored = self.engine.upload_part_on(put, Some(length), None).await;
                stored.map_err(error::of_engine)?
            }
        };
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(etag(&stored)),
                last_modified: Some(timestamp(now_ms())),
                ..CopyPartResult::default()
            }),
            ..UploadPartCopyOutput::default()
        }))
    }
}

/// `bytes=first-last`, the only form that S3 takes here.
fn range_of(text: &str) -> S3Result<ByteRange> {
    match ByteRange::parse_header(text) {
        Ok(Some(range @ ByteRange::FromTo { first, last })) if first <= last => Ok(range),
        _ => Err(s3_error!(
            InvalidArgument,
            "{text:?} is no range: x-amz-copy-source-range is bytes=first-last"
        )),
    }
}
