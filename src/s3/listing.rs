//! Listings of objects, in the order of their keys' bytes.
//!
//! What the caller may not read is left out, name and all: it is in no page, no prefix and no token.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::buckets::owner;
use super::caller::Caller;
use super::conditions::{etag, timestamp};
use super::error;
use super::service::ObjectStore;
use crate::auth::Action;
use crate::ghostbay::engine::{ListObjectsRequest, ListObjectsResponse, ObjectInfo};

/// Entries of a page at most.
const PAGE_MAX: usize = 1000;

/// What stays as it is in a listing that is encoded as URLs are.
const URL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// What is asked for, whichever version asks.
struct Asked {
    bucket: String,
    prefix: String,
    delimiter: Option<String>,
    after: Option<String>,
    max_keys: usize,
    is_encoded: bool,
}

/// How names go into an answer.
#[derive(Clone, Copy)]
pub(super) struct Encoding(bool);

impl Encoding {
    pub(super) fn of(kind: Option<&EncodingType>) -> S3Result<Self> {
        match kind.map(EncodingType::as_str) {
            None => Ok(Encoding(false)),
            Some("url") => Ok(Encoding(true)),
            Some(other) => Err(s3_error!(
                InvalidArgument,
                "{other:?} is no encoding: use url"
            )),
        }
    }

    pub(super) fn text(self, text: String) -> String {
        match self.0 {
            true => utf8_percent_encode(&text, URL).to_string(),
            false => text,
        }
    }
}

/// How many entries a page is to have.
pub fn page_length(asked: Option<i32>, what: &str) -> S3Result<usize> {
    match asked.map(usize::try_from) {
        None => Ok(PAGE_MAX),
        Some(Ok(length)) => Ok(length.min(PAGE_MAX)),
        Some(Err(_)) => Err(s3_error!(InvalidArgument, "{what} is less than 0")),
    }
}

impl ObjectStore {
    async fn list(&self, caller: &Caller, asked: &Asked) -> S3Result<ListObjectsResponse> {
        let is_registrys = self.is_registrys(&asked.bucket);
        if !is_registrys {
            caller.admit(Action::Pull, &asked.bucket, &asked.prefix)?;
        }
        if asked.max_keys == 0 && !is_registrys {
            self.check_bucket(&asked.bucket).await?;
            return Ok(ListObjectsResponse::default());
        }
        let request = ListObjectsRequest {
            bucket: asked.bucket.clone(),
            prefix: asked.prefix.clone(),
            delimiter: asked.delimiter.clone(),
            start_after: asked.after.clone(),
            max_keys: Some(asked.max_keys),
        };
        if is_registrys {
            return self.list_view(caller, request).await;
        }
        let (caller, bucket) = (caller.clone(), asked.bucket.clone());
        let may_see = move |key: &str| caller.may(Action::Pull, &bucket, key);
        let page = self.engine.list_visible(request, may_see).await;
        page.map_err(error::of_engine)
    }

    pub(super) async fn list_v1(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        let encoding = Encoding::of(input.encoding_type.as_ref())?;
        let asked = Asked {
            bucket: input.bucket.clone(),
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: input.marker.clone().filter(|text| !text.is_empty()),
            max_keys: page_length(input.max_keys, "max-keys")?,
            is_encoded: encoding.0,
        };
        let page = self.list(&caller, &asked).await?;
        let next = page.next_token.clone();
        let (contents, common_prefixes) = entries(page, encoding, true);
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encoding.text(asked.prefix)),
            marker: Some(encoding.text(input.marker.unwrap_or_default())),
            max_keys: Some(asked.max_keys as i32),
            is_truncated: Some(next.is_some()),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            delimiter: input.delimiter.map(|text| encoding.text(text)),
            // Also without a delimiter: a client that goes on from the last key it saw would be as right.
            next_marker: next.map(|text| encoding.text(text)),
            encoding_type: input.encoding_type.filter(|_| asked.is_encoded),
            request_charged: None,
        }))
    }

    pub(super) async fn list_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        let encoding = Encoding::of(input.encoding_type.as_ref())?;
        let token = input
            .continuation_token
            .as_deref()
            .map(of_token)
            .transpose()?;
        let asked = Asked {
            bucket: input.bucket.clone(),
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: token.or(input.start_after.clone().filter(|text| !text.is_empty())),
            max_keys: page_length(input.max_keys, "max-keys")?,
            is_encoded: encoding.0,
        };
        let page = self.list(&caller, &asked).await?;
        let next = page.next_token.clone();
        let with_owner = input.fetch_owner == Some(true);
        let (contents, common_prefixes) = entries(page, encoding, with_owner);
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoding.text(asked.prefix)),
            max_keys: Some(asked.max_keys as i32),
            key_count: Some((contents.len() + common_prefixes.len()) as i32),
            continuation_token: input.continuation_token,
            is_truncated: Some(next.is_some()),
            next_continuation_token: next.map(|text| to_token(&text)),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            delimiter: input.delimiter.map(|text| encoding.text(text)),
            encoding_type: input.encoding_type.filter(|_| asked.is_encoded),
            start_after: input.start_after.map(|text| encoding.text(text)),
            request_charged: None,
        }))
    }
}

/// A place in a listing as a token: no key, so that nobody takes it for one.
fn to_token(place: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(place)
}

fn of_token(token: &str) -> S3Result<String> {
    use base64::Engine;
    let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token);
    let place = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    place.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is none of ours"))
}

fn entries(
    page: ListObjectsResponse,
    encoding: Encoding,
    with_owner: bool,
) -> (Vec<Object>, Vec<CommonPrefix>) {
    let contents = page
        .objects
        .into_iter()
        .map(|object| entry(object, encoding, with_owner));
    let prefixes = page.common_prefixes.into_iter().map(|prefix| CommonPrefix {
        prefix: Some(encoding.text(prefix)),
    });
    (contents.collect(), prefixes.collect())
}

fn entry(object: ObjectInfo, encoding: Encoding, with_owner: bool) -> Object {
    Object {
        key: Some(encoding.text(object.key)),
        size: Some(object.size as i64),
        e_tag: Some(etag(&object.etag)),
        last_modified: Some(timestamp(object.modified_ms)),
        owner: with_owner.then(owner),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
        ..Object::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_places_in_a_listing() {
        for place in ["a/b", "ü", "\u{1}&"] {
            assert_eq!(of_token(&to_token(place)).unwrap(), place);
        }
        assert!(of_token("a/b").is_err() && of_token("_w").is_err());
    }

    #[test]
    fn names_are_encoded_as_urls_are() {
        let encoded = Encoding(true).text("a b/ü+%&~".to_owned());
        assert_eq!(encoded, "a%20b/%C3%BC%2B%25%26~");
    }
}
