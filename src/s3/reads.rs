//! Objects: read, whole, by range or by part, and described.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::attributes::Shown;
use super::body::outgoing;
use super::boundaries::{self, Asked, Made};
use super::caller::Caller;
use super::checksums::Sum;
use super::conditions::{Reading, etag, timestamp};
use super::error;
use super::listing::page_length;
use super::objects::{check_version, fill_checksum};
use super::service::{ObjectStore, refuse};
use crate::ghostbay::StorageError;
use crate::ghostbay::engine::{
    ByteStream, GetObjectRequest, GetObjectResponse, ObjectInfo, StorageEngine,
};
use crate::range::ByteRange;

/// How often an object is looked at again that was replaced while its part was looked for.
const ATTEMPTS: usize = 5;

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

/// What of an object is asked for.
#[derive(Clone, Copy)]
pub enum Wanted {
    /// All of it.
    All,
    /// A range of it.
    Range(ByteRange),
    /// A part of it, by number.
    Part(i32),
}

impl Wanted {
    fn of(range: Option<Range>, part: Option<i32>) -> S3Result<Self> {
        match (range, part) {
            (None, None) => Ok(Wanted::All),
            (Some(range), None) => Ok(Wanted::Range(byte_range(range))),
            (None, Some(number)) => Ok(Wanted::Part(number)),
            (Some(_), Some(_)) => Err(s3_error!(InvalidRequest, "Range or partNumber, not both")),
        }
    }

    /// What that is of an object.
    pub fn resolve(self, object: &ObjectInfo) -> S3Result<Asked> {
        let size = object.size;
        let range = match self {
            Wanted::Part(number) => return boundaries::part(object, number),
            Wanted::All => Some(0..size),
            Wanted::Range(range) => range.resolve(size),
        };
        Ok(Asked {
            range: range.ok_or_else(|| s3_error!(InvalidRange, "the object has {size} bytes"))?,
            count: None,
            sum: None,
        })
    }

    /// Whether the answer is one of a piece, although it may be all there is.
    fn is_piece(self) -> bool {
        !matches!(self, Wanted::All)
    }
}

/// An object, what of it was asked for, and those bytes.
pub type Opened = (ObjectInfo, Asked, ByteStream<'static>);

impl Asked {
    /// `Content-Range`. Of nothing there is none.
    fn content_range(&self, size: u64) -> Option<String> {
        let (first, behind) = (self.range.start, self.range.end);
        (behind > first).then(|| format!("bytes {first}-{}/{size}", behind - 1))
    }

    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn parts_count(&self) -> Option<i32> {
        self.count.and_then(|count| count.try_into().ok())
    }

    /// The checksum of what is asked for, and its kind, where that is known.
    fn sum(&self, shown: &Shown, wanted: Wanted) -> Option<(Sum, String)> {
        let kind = |(_, kind): &(Sum, String)| kind.clone();
        match wanted {
            Wanted::All => shown.checksum.clone(),
            Wanted::Range(_) => None,
            Wanted::Part(_) if self.count.is_none() => shown.checksum.clone(),
            Wanted::Part(_) => self.sum.clone().zip(shown.checksum.as_ref().map(kind)),
        }
    }
}

fn is_asked(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|it| it.as_str() == "ENABLED")
}

impl ObjectStore {
    pub(super) async fn get(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let is_signed = request.credentials.is_some();
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        refuse! {
            !is_signed && overrides(&input) => "response-* without a signature",
            input.sse_customer_algorithm.is_some() => "server-side encryption",
        }
        let reading = Reading {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let wanted = Wanted::of(input.range, input.part_number)?;
        let (object, asked, data) = match self.is_registrys(&input.bucket) {
            true => self.view(&caller).get(&input.key, wanted, &reading)?,
            false => {
                self.read(&input.bucket, input.key, wanted, &reading)
                    .await?
            }
        };
        let mut output = GetObjectOutput {
            content_length: Some(asked.length() as i64),
            parts_count: asked.parts_count(),
            ..GetObjectOutput::default()
        };
        if wanted.is_piece() {
            output.content_range = asked.content_range(object.size);
        }
        output.body = Some(outgoing(data, asked.length()));
        let shown = Shown::of(&object.metadata);
        let sum = asked.sum(&shown, wanted);
        let sum = sum.filter(|_| is_asked(input.checksum_mode.as_ref()));
        fill_checksum!(output, sum.as_ref().map(|(sum, _)| sum));
        output.checksum_type = sum.map(|(_, kind)| ChecksumType::from(kind));
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

    /// What is said of an object.
    async fn look(&self, bucket: &str, key: &str) -> S3Result<ObjectInfo> {
        let found = self.engine.head_object(bucket, key).await;
        let found = found.map_err(error::of_engine)?;
        if found.is_none() {
            self.check_bucket(bucket).await?;
        }
        found.ok_or_else(|| error::no_such_key(key))
    }

    /// An object that is wanted, what of it is, and those bytes.
    async fn read(
        &self,
        bucket: &str,
        key: String,
        wanted: Wanted,
        reading: &Reading,
    ) -> S3Result<Opened> {
        for _ in 0..ATTEMPTS {
            let known = self.look(bucket, &key).await?;
            reading.check(&known.etag, known.modified_ms)?;
            let asked = wanted.resolve(&known)?;
            let range = match wanted {
                Wanted::All => None,
                Wanted::Range(range) => Some(range),
                // Of an empty one there is no range.
                Wanted::Part(_) if asked.length() == 0 => None,
                Wanted::Part(_) => Some(ByteRange::FromTo {
                    first: asked.range.start,
                    last: asked.range.end.saturating_sub(1),
                }),
            };
            let mut got = self.open(bucket, &key, range).await?;
            // It may have been replaced since; the bytes are those of what is said of it here.
            reading.check(&got.object.etag, got.object.modified_ms)?;
            let asked = wanted.resolve(&got.object)?;
            if asked.length() == 0 {
                (got.range, got.data) = (asked.range.clone(), Box::pin(futures::stream::empty()));
            }
            if asked.range == got.range {
                return Ok((got.object, asked, got.data));
            }
        }
        Err(error::of_engine(
            StorageError::Changing {
                what: "object",
                key,
            }
            .into(),
        ))
    }

    pub(super) async fn head(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        refuse! {
            input.sse_customer_algorithm.is_some() => "server-side encryption",
        }
        let wanted = Wanted::of(input.range, input.part_number)?;
        let object = match self.is_registrys(&input.bucket) {
            true => self.view(&caller).head(&input.key)?,
            false => self.look(&input.bucket, &input.key).await?,
        };
        let reading = Reading {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        reading.check(&object.etag, object.modified_ms)?;
        let asked = wanted.resolve(&object)?;
        let mut output = HeadObjectOutput {
            content_length: Some(asked.length() as i64),
            parts_count: asked.parts_count(),
            ..HeadObjectOutput::default()
        };
        if wanted.is_piece() {
            output.content_range = asked.content_range(object.size);
        }
        let shown = Shown::of(&object.metadata);
        let sum = asked.sum(&shown, wanted);
        let sum = sum.filter(|_| is_asked(input.checksum_mode.as_ref()));
        fill_checksum!(output, sum.as_ref().map(|(sum, _)| sum));
        output.checksum_type = sum.map(|(_, kind)| ChecksumType::from(kind));
        describe!(output, object, shown.description);
        Ok(S3Response::new(output))
    }

    /// What of an object is asked for by name.
    pub(super) async fn describe(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        refuse! {
            input.sse_customer_algorithm.is_some() => "server-side encryption",
        }
        let length = page_length(input.max_parts, "x-amz-max-parts")?;
        let after = input.part_number_marker.unwrap_or(0);
        let object = match self.is_registrys(&input.bucket) {
            true => self.view(&caller).head(&input.key)?,
            false => self.look(&input.bucket, &input.key).await?,
        };
        let mut output = GetObjectAttributesOutput {
            last_modified: Some(timestamp(object.modified_ms)),
            ..GetObjectAttributesOutput::default()
        };
        // `s3s` leaves them as they came, in one header.
        let names = input.object_attributes.iter();
        let names = names.flat_map(|it| it.as_str().split(','));
        let names: Vec<&str> = names.map(str::trim).filter(|it| !it.is_empty()).collect();
        if names.is_empty() {
            return Err(s3_error!(
                InvalidArgument,
                "x-amz-object-attributes names nothing"
            ));
        }
        for name in names {
            match name {
                "ETag" => output.e_tag = Some(etag(&object.etag)),
                "Checksum" => {
                    output.checksum = Shown::of(&object.metadata).checksum.map(|(sum, kind)| {
                        let mut checksum = Checksum::default();
                        fill_checksum!(checksum, Some(&sum));
                        checksum.checksum_type = Some(ChecksumType::from(kind));
                        checksum
                    });
                }
                "ObjectParts" => output.object_parts = parts_of(&object, after, length),
                "StorageClass" => {
                    output.storage_class = Some(StorageClass::from_static(StorageClass::STANDARD));
                }
                "ObjectSize" => output.object_size = Some(object.size as i64),
                other => {
                    return Err(s3_error!(
                        InvalidArgument,
                        "{other:?} is no attribute of an object"
                    ));
                }
            }
        }
        Ok(S3Response::new(output))
    }
}

/// A page of the parts of an object; `None` if it was made at once.
fn parts_of(object: &ObjectInfo, after: i32, length: usize) -> Option<GetObjectAttributesParts> {
    let made = Made::of(object);
    let count = made.count()?;
    let mut shown = GetObjectAttributesParts {
        total_parts_count: i32::try_from(count).ok(),
        ..GetObjectAttributesParts::default()
    };
    if let Made::OfParts(parts) = made {
        let mut behind = parts.0.into_iter().filter(|it| it.number as i32 > after);
        let page: Vec<ObjectPart> = behind
            .by_ref()
            .take(length)
            .map(|part| {
                let mut entry = ObjectPart {
                    part_number: Some(part.number as i32),
                    size: Some((part.range.end - part.range.start) as i64),
                    ..ObjectPart::default()
                };
                fill_checksum!(entry, part.sum.as_ref());
                entry
            })
            .collect();
        let more = behind.next().is_some();
        shown.is_truncated = Some(more);
        shown.max_parts = Some(length as i32);
        shown.part_number_marker = Some(after);
        let last = page.last().and_then(|part| part.part_number);
        shown.next_part_number_marker = last.or(Some(after));
        shown.parts = Some(page);
    }
    Some(shown)
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
