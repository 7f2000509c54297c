//! What is said of an object beside its content, as texts in the map that the store keeps with it.
//!
//! What a user says (`x-amz-meta-*`) is there under the user's name. The rest is under names that begin with
//! a colon, which no header can, so that no user can set or see it, and that no row's layout changes with
//! what S3 comes up with:
//!
//! | name | text |
//! |---|---|
//! | `:cache-control`, `:content-disposition`, `:content-encoding`, `:content-language`, `:expires` | the header |
//! | `:tags` | the tags, as in `x-amz-tagging` |
//! | `:checksum` | algorithm, base64 and whether it is of all or of the parts: `CRC32 AAAAAA== FULL_OBJECT` |
//! | `:upload-checksum` | of an upload: algorithm and kind that were asked for |
//! | `:parts`, `:part-sums` | of an object of parts: their numbers, sizes and checksums (`boundaries`) |
//!
//! A part of an upload has a map of its own, with its `:checksum`.

use std::collections::{BTreeMap, HashMap};

use axum::http::HeaderName;
use s3s::dto::{Metadata, Timestamp, TimestampFormat};
use s3s::{S3Result, s3_error};

use super::checksums::{Algorithm, Sum};
use super::tags;

const CACHE_CONTROL: &str = ":cache-control";
const CONTENT_DISPOSITION: &str = ":content-disposition";
const CONTENT_ENCODING: &str = ":content-encoding";
const CONTENT_LANGUAGE: &str = ":content-language";
const EXPIRES: &str = ":expires";
const CHECKSUM: &str = ":checksum";
const UPLOAD_CHECKSUM: &str = ":upload-checksum";
/// Where the parts of an object lie that was made of some.
pub const PARTS: &str = ":parts";
/// The checksums of these parts.
pub const PART_SUMS: &str = ":part-sums";
/// The tags.
pub const TAGS: &str = ":tags";

/// The most bytes of a user's metadata (S3, "Working with object metadata").
const METADATA_BYTES_MAX: usize = 2 * 1024;

/// The kind of a checksum over all of a content.
pub const FULL_OBJECT: &str = "FULL_OBJECT";
/// The kind of a checksum over the checksums of parts.
pub const COMPOSITE: &str = "COMPOSITE";

/// The kind of piece that bodies come in, which clients name as if it were the content's encoding.
const AWS_CHUNKED: &str = "aws-chunked";

/// What a request says of an object.
#[derive(Default)]
pub struct Description {
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Expires`.
    pub expires: Option<Timestamp>,
    /// `x-amz-meta-*`.
    pub metadata: Option<Metadata>,
    /// `x-amz-tagging`.
    pub tagging: Option<String>,
}

/// What a request's input says of an object: the same fields, whichever operation it is of.
macro_rules! description_of {
    ($input:expr) => {
        $crate::s3::attributes::Description {
            cache_control: $input.cache_control,
            content_disposition: $input.content_disposition,
            content_encoding: $input.content_encoding,
            content_language: $input.content_language,
            expires: $input.expires,
            metadata: $input.metadata,
            tagging: $input.tagging,
        }
    };
}
pub(super) use description_of;

impl Description {
    /// The same as the store keeps it.
    pub fn into_map(self) -> S3Result<HashMap<String, String>> {
        let mut map = HashMap::new();
        let metadata = self.metadata.unwrap_or_default();
        let bytes: usize = metadata
            .iter()
            .map(|(name, text)| name.len() + text.len())
            .sum();
        if bytes > METADATA_BYTES_MAX {
            return Err(s3_error!(
                MetadataTooLarge,
                "the metadata have {bytes} bytes, of {METADATA_BYTES_MAX} at most"
            ));
        }
        map.extend(metadata);
        let encoding = self.content_encoding.as_deref().map(without_chunked);
        for (name, text) in [
            (CACHE_CONTROL, self.cache_control),
            (CONTENT_DISPOSITION, self.content_disposition),
            (CONTENT_ENCODING, encoding.filter(|text| !text.is_empty())),
            (CONTENT_LANGUAGE, self.content_language),
            (EXPIRES, self.expires.as_ref().and_then(http_date)),
        ] {
            if let Some(text) = text {
                map.insert(name.to_owned(), text);
            }
        }
        if let Some(tagging) = self.tagging.filter(|text| !text.is_empty()) {
            let tags = tags::of_header(&tagging)?;
            map.insert(TAGS.to_owned(), tags::to_text(&tags));
        }
        Ok(map)
    }
}

fn without_chunked(encoding: &str) -> String {
    let encodings = encoding.split(',').map(str::trim);
    let kept = encodings.filter(|it| !it.eq_ignore_ascii_case(AWS_CHUNKED));
    kept.collect::<Vec<_>>().join(",")
}

fn http_date(time: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    time.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// What an answer says of an object.
#[derive(Default)]
pub struct Shown {
    /// What a request said.
    pub description: Description,
    /// The checksum, and its kind.
    pub checksum: Option<(Sum, String)>,
    /// How many tags there are.
    pub tags: usize,
}

impl Shown {
    /// Reads it off what the store keeps.
    pub fn of<'a>(map: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let mut shown = Shown::default();
        let mut metadata = Metadata::new();
        for (name, text) in map {
            let description = &mut shown.description;
            match name.as_str() {
                CACHE_CONTROL => description.cache_control = Some(text.clone()),
                CONTENT_DISPOSITION => description.content_disposition = Some(text.clone()),
                CONTENT_ENCODING => description.content_encoding = Some(text.clone()),
                CONTENT_LANGUAGE => description.content_language = Some(text.clone()),
                EXPIRES => {
                    description.expires = Timestamp::parse(TimestampFormat::HttpDate, text).ok();
                }
                CHECKSUM => shown.checksum = read_checksum(text),
                TAGS => shown.tags = tags::of_text(text).len(),
                // What an embedder said may be no header.
                name if HeaderName::from_bytes(name.as_bytes()).is_ok() => {
                    metadata.insert(name.to_owned(), text.clone());
                }
                _ => {}
            }
        }
        shown.description.metadata = (!metadata.is_empty()).then_some(metadata);
        shown
    }
}

fn read_checksum(text: &str) -> Option<(Sum, String)> {
    let mut words = text.split(' ');
    let sum = Sum {
        algorithm: Algorithm::of_name(words.next()?)?,
        value: words.next()?.to_owned(),
    };
    Some((sum, words.next().unwrap_or(FULL_OBJECT).to_owned()))
}

/// A checksum of that kind as the store keeps it.
pub fn checksum(sum: &Sum, kind: &str) -> (String, String) {
    let text = format!("{} {} {kind}", sum.algorithm.name(), sum.value);
    (CHECKSUM.to_owned(), text)
}

/// The checksum of an object, and its kind.
pub fn checksum_of(map: &BTreeMap<String, String>) -> Option<(Sum, String)> {
    read_checksum(map.get(CHECKSUM)?)
}

/// What the parts of an upload are to be checked by, as the store keeps it.
pub fn upload_checksum(algorithm: Algorithm, kind: &str) -> (String, String) {
    let text = format!("{} {kind}", algorithm.name());
    (UPLOAD_CHECKSUM.to_owned(), text)
}

/// What the parts of an upload are to be checked by, and the kind of the object's checksum.
pub fn upload_checksum_of(map: &BTreeMap<String, String>) -> Option<(Algorithm, String)> {
    let (algorithm, kind) = map.get(UPLOAD_CHECKSUM)?.split_once(' ')?;
    Some((Algorithm::of_name(algorithm)?, kind.to_owned()))
}

/// What of an upload is not said of the object that it becomes.
pub fn forget_upload(map: &mut BTreeMap<String, String>) {
    map.remove(UPLOAD_CHECKSUM);
}

/// Takes over what belongs to the content from the original of a copy.
pub fn keep_of_content(from: &BTreeMap<String, String>, to: &mut BTreeMap<String, String>) {
    for name in [CHECKSUM, PARTS, PART_SUMS] {
        if let Some(text) = from.get(name) {
            to.insert(name.to_owned(), text.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_back() {
        let description = Description {
            cache_control: Some("no-cache".into()),
            content_encoding: Some("aws-chunked, gzip".into()),
            expires: Timestamp::parse(TimestampFormat::HttpDate, "Fri, 27 Nov 2026 18:00:00 GMT")
                .ok(),
            metadata: Some(Metadata::from([("a".into(), "ü".into())])),
            tagging: Some("k=v%20w".into()),
            ..Description::default()
        };
        let mut map = description.into_map().unwrap();
        let sum = Sum {
            algorithm: Algorithm::Crc32,
            value: "AAAAAA==".into(),
        };
        map.extend([checksum(&sum, COMPOSITE)]);
        map.insert("no header".into(), "x".into());
        let shown = Shown::of(&map);
        let said = shown.description;
        assert_eq!(said.cache_control.as_deref(), Some("no-cache"));
        assert_eq!(said.content_encoding.as_deref(), Some("gzip"));
        assert!(said.expires.is_some());
        assert_eq!(
            said.metadata,
            Some(Metadata::from([("a".into(), "ü".into())]))
        );
        assert_eq!(shown.checksum, Some((sum, COMPOSITE.to_owned())));
        assert_eq!(shown.tags, 1);
    }

    #[test]
    fn metadata_have_a_bound() {
        let description = Description {
            metadata: Some(Metadata::from([("a".into(), "x".repeat(2048))])),
            ..Description::default()
        };
        assert!(description.into_map().is_err());
    }
}
