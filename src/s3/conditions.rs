//! Conditions on what is read and on what is replaced (RFC 9110, section 13; S3, "Conditional requests").

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderValue, header};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::error::Unmet;
use crate::ghostbay::engine::ObjectInfo;
use crate::ghostbay::terms::{Condition, Unwanted};

/// A moment in milliseconds since 1970 as answers have it.
pub fn timestamp(at_ms: u64) -> Timestamp {
    let at: SystemTime = UNIX_EPOCH + Duration::from_millis(at_ms);
    at.into()
}

/// The same to the second, as headers have it.
fn to_second(at_ms: u64) -> Timestamp {
    timestamp(at_ms / 1000 * 1000)
}

/// The conditions of a request that reads.
#[derive(Default)]
pub struct Reading {
    /// `If-Match`.
    pub if_match: Option<ETagCondition>,
    /// `If-None-Match`.
    pub if_none_match: Option<ETagCondition>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<Timestamp>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<Timestamp>,
}

/// What conditions come to.
enum Verdict {
    Holds,
    NotModified,
    Failed(&'static str),
}

fn is(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.value() == etag,
    }
}

impl Reading {
    fn judge(&self, etag: &str, modified_ms: u64) -> Verdict {
        let modified = to_second(modified_ms);
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) if !is(wanted, etag) => return Verdict::Failed("If-Match"),
            (None, Some(since)) if modified > *since => {
                return Verdict::Failed("If-Unmodified-Since");
            }
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(unwanted), _) if is(unwanted, etag) => Verdict::NotModified,
            (None, Some(since)) if modified <= *since => Verdict::NotModified,
            _ => Verdict::Holds,
        }
    }

    /// Refuses to show an object that is not wanted.
    pub fn check(&self, etag: &str, modified_ms: u64) -> S3Result<()> {
        match self.judge(etag, modified_ms) {
            Verdict::Holds => Ok(()),
            Verdict::Failed(header) => Err((&Unmet::Condition(header)).into()),
            Verdict::NotModified => {
                let mut error = S3Error::new(S3ErrorCode::NotModified);
                let mut headers = HeaderMap::new();
                if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
                    headers.insert(header::ETAG, etag);
                }
                error.set_headers(headers);
                Err(error)
            }
        }
    }

    /// The same of the original of a copy, where what would be a 304 is refused as well.
    pub fn of_source(self) -> Condition {
        Arc::new(move |present: Option<&ObjectInfo>| {
            let Some(present) = present else {
                return Err(Arc::new(Unmet::Missing(String::new())) as Unwanted);
            };
            let header = match self.judge(&present.etag, present.modified_ms) {
                Verdict::Holds => return Ok(()),
                Verdict::NotModified => "x-amz-copy-source-if-none-match or -if-modified-since",
                Verdict::Failed(_) => "x-amz-copy-source-if-match or -if-unmodified-since",
            };
            Err(Arc::new(Unmet::Condition(header)) as Unwanted)
        })
    }
}

/// The conditions of a request that writes: `If-Match` with an ETag, and `If-None-Match: *`.
pub fn writing(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Option<Condition>> {
    if if_none_match.as_ref().is_some_and(|it| !it.is_any()) {
        return Err(s3_error!(
            NotImplemented,
            "If-None-Match on a write takes * alone"
        ));
    }
    if if_match.is_none() && if_none_match.is_none() {
        return Ok(None);
    }
    let condition = move |present: Option<&ObjectInfo>| {
        let unmet = match (present, &if_match) {
            (Some(_), _) if if_none_match.is_some() => Unmet::Condition("If-None-Match"),
            (None, Some(_)) => Unmet::Missing(String::new()),
            (Some(present), Some(wanted)) if !is(wanted, &present.etag) => {
                Unmet::Condition("If-Match")
            }
            _ => return Ok(()),
        };
        Err(Arc::new(unmet) as Unwanted)
    };
    Ok(Some(Arc::new(condition)))
}

/// The ETag of an object as answers have it.
pub fn etag(text: &str) -> ETag {
    ETag::Strong(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::dto::TimestampFormat;

    fn date(text: &str) -> Option<Timestamp> {
        Timestamp::parse(TimestampFormat::HttpDate, text).ok()
    }

    #[test]
    fn conditions_are_judged_in_the_order_of_the_rfc() {
        let tag = |text: &str| Some(ETagCondition::ETag(etag(text)));
        // 1970-01-01 00:00:10.5
        let judge = |reading: Reading| match reading.judge("a", 10_500) {
            Verdict::Holds => 200,
            Verdict::NotModified => 304,
            Verdict::Failed(_) => 412,
        };
        let (before, same) = (
            date("Thu, 01 Jan 1970 00:00:09 GMT"),
            date("Thu, 01 Jan 1970 00:00:10 GMT"),
        );
        let of = |if_match, if_none_match, if_modified_since, if_unmodified_since| Reading {
            if_match,
            if_none_match,
            if_modified_since,
            if_unmodified_since,
        };
        assert_eq!(judge(Reading::default()), 200);
        assert_eq!(judge(of(tag("b"), None, None, None)), 412);
        assert_eq!(judge(of(tag("a"), None, None, before.clone())), 200);
        assert_eq!(judge(of(None, None, None, before.clone())), 412);
        assert_eq!(judge(of(None, None, None, same.clone())), 200);
        assert_eq!(judge(of(None, tag("a"), None, None)), 304);
        assert_eq!(judge(of(None, tag("b"), same.clone(), None)), 200);
        assert_eq!(judge(of(None, None, same, None)), 304);
        assert_eq!(judge(of(None, None, before, None)), 200);
        assert_eq!(judge(of(None, Some(ETagCondition::Any), None, None)), 304);
    }
}
