//! Copies, which share the bytes of their original.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::attributes::{self, FULL_OBJECT, TAGS, description_of};
use super::caller::Caller;
use super::conditions::{self, Reading, etag, timestamp};
use super::error;
use super::objects::{check_version, fill_checksum, media_type};
use super::service::{ObjectStore, refuse_of_writes};
use crate::auth::Action;
use crate::ghostbay::engine::CopyObjectRequest;
use crate::ghostbay::terms::{CopyTerms, Describe, Terms};

/// Bucket and key of an original.
pub fn source(source: CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => {
            check_version(version_id.as_deref())?;
            Ok((bucket.into(), key.into()))
        }
        _ => Err(s3_error!(
            NotImplemented,
            "x-amz-copy-source names a bucket and a key, and no access point"
        )),
    }
}

impl ObjectStore {
    /// Refuses an original that the caller may not read. What the registry owns is not copied: what has
    /// a repository's rules would get a bucket's.
    pub(super) async fn admit_source(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
    ) -> S3Result<()> {
        if self.is_registrys(bucket) {
            return Err(s3_error!(
                AccessDenied,
                "what the registry owns is not copied: pull it"
            ));
        }
        caller.admit(Action::Pull, bucket, key)?;
        self.check_bucket(bucket).await
    }

    pub(super) async fn copy(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        refuse_of_writes!(input);
        let (source_bucket, source_key) = source(input.copy_source)?;
        self.admit_source(&caller, &source_bucket, &source_key)
            .await?;
        self.check_bucket(&input.bucket).await?;
        let replaces = |directive: Option<&str>| directive == Some("REPLACE");
        let replaces_metadata = replaces(input.metadata_directive.as_ref().map(|it| it.as_str()));
        let replaces_tags = replaces(input.tagging_directive.as_ref().map(|it| it.as_str()));
        let is_same = source_bucket == input.bucket && source_key == input.key;
        if is_same && !replaces_metadata && !replaces_tags {
            return Err(s3_error!(
                InvalidRequest,
                "a copy onto itself takes x-amz-metadata-directive: REPLACE, or it would change nothing"
            ));
        }
        let description = description_of!(input);
        let said: BTreeMap<String, String> = description.into_map()?.into_iter().collect();
        let content_type = media_type(input.content_type);
        let describe: Describe = Arc::new(move |old_type, old| {
            let (new_type, mut new) = match replaces_metadata {
                true => (content_type.clone(), said.clone()),
                false => (old_type, old.clone()),
            };
            let tags = if replaces_tags {
                said.get(TAGS)
            } else {
                old.get(TAGS)
            };
            match tags {
                Some(tags) => drop(new.insert(TAGS.to_owned(), tags.clone())),
                None => drop(new.remove(TAGS)),
            }
            attributes::keep_of_content(&old, &mut new);
            (new_type, new)
        });
        let reading = Reading {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let condition = conditions::writing(
            condition_of(&request.headers, "if-match")?,
            condition_of(&request.headers, "if-none-match")?,
        )?;
        let terms = CopyTerms {
            terms: Terms {
                condition: Some(caller.may_write(&input.bucket, &input.key, condition)),
                in_bucket: true,
                ..Terms::default()
            },
            source: Some(reading.of_source()),
            describe: Some(describe),
        };
        let copy = CopyObjectRequest {
            source_bucket,
            source_key,
            bucket: input.bucket,
            key: input.key,
        };
        let copied = self.engine.copy_object_on(copy, terms).await;
        let copied = copied.map_err(error::of_engine)?;
        let mut result = CopyObjectResult {
            e_tag: Some(etag(&copied.etag)),
            last_modified: Some(timestamp(copied.modified_ms)),
            ..CopyObjectResult::default()
        };
        let map = copied.metadata.into_iter().collect();
        let sum = attributes::checksum_of(&map);
        fill_checksum!(result, sum.as_ref().map(|(sum, _)| sum));
        let kind = sum.map(|(_, kind)| kind);
        result.checksum_type = kind.map(|kind| match kind.as_str() {
            FULL_OBJECT => ChecksumType::from_static(FULL_OBJECT),
            _ => ChecksumType::from(kind),
        });
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(result),
            ..CopyObjectOutput::default()
        }))
    }
}

/// A condition that `s3s` does not read of a copy.
fn condition_of(headers: &axum::http::HeaderMap, name: &str) -> S3Result<Option<ETagCondition>> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let parsed = ETagCondition::parse_http_header(value.as_bytes());
    parsed
        .map(Some)
        .map_err(|_| s3_error!(InvalidRequest, "{name} holds no ETag"))
}
