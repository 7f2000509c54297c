//! Tags of objects (S3, "Categorizing your objects using tags").

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::attributes::TAGS;
use super::caller::Caller;
use super::error;
use super::service::ObjectStore;
use crate::auth::Action;
use crate::ghostbay::engine::StorageEngine;

/// The most tags of an object.
const TAGS_MAX: usize = 10;
/// The most characters of a tag's key.
const KEY_CHARS_MAX: usize = 128;
/// The most characters of a tag's value.
const VALUE_CHARS_MAX: usize = 256;

/// The tags of a header `x-amz-tagging`.
pub fn of_header(text: &str) -> S3Result<Vec<(String, String)>> {
    check(decode(text))
}

/// The tags of a text that was checked before.
pub fn of_text(text: &str) -> Vec<(String, String)> {
    decode(text)
}

fn decode(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

/// Tags as one text.
pub fn to_text(tags: &[(String, String)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = tags
        .iter()
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn check(tags: Vec<(String, String)>) -> S3Result<Vec<(String, String)>> {
    if tags.len() > TAGS_MAX {
        return Err(s3_error!(
            InvalidTag,
            "an object has {TAGS_MAX} tags at most, not {}",
            tags.len()
        ));
    }
    for (at, (key, value)) in tags.iter().enumerate() {
        let fits = (1..=KEY_CHARS_MAX).contains(&key.chars().count());
        if !fits || value.chars().count() > VALUE_CHARS_MAX {
            return Err(s3_error!(
                InvalidTag,
                "a tag has a key of 1 to {KEY_CHARS_MAX} characters and a value of {VALUE_CHARS_MAX} at most"
            ));
        }
        if tags[..at].iter().any(|(before, _)| before == key) {
            return Err(s3_error!(InvalidTag, "the tag {key:?} is there twice"));
        }
    }
    Ok(tags)
}

impl ObjectStore {
    pub(super) async fn put_tags(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        let tags = input.tagging.tag_set.into_iter();
        let tags = tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
        let text = to_text(&check(tags.collect())?);
        self.set_tags(&caller, &input.bucket, &input.key, Some(text))
            .await?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }

    pub(super) async fn delete_tags(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        self.set_tags(&caller, &input.bucket, &input.key, None)
            .await?;
        let output = DeleteObjectTaggingOutput::default();
        Ok(S3Response::with_status(
            output,
            axum::http::StatusCode::NO_CONTENT,
        ))
    }

    async fn set_tags(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        text: Option<String>,
    ) -> S3Result<()> {
        self.check_writable(bucket)?;
        caller.admit(Action::Overwrite, bucket, key)?;
        let altered = self
            .engine
            .alter_metadata(bucket, key, move |map| match &text {
                Some(text) if !text.is_empty() => drop(map.insert(TAGS.to_owned(), text.clone())),
                _ => drop(map.remove(TAGS)),
            });
        let altered = altered.await.map_err(error::of_engine)?;
        altered.map(drop).ok_or_else(|| error::no_such_key(key))
    }

    pub(super) async fn get_tags(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let caller = Caller::of(&request.extensions)?;
        let input = request.input;
        let map = match self.is_registrys(&input.bucket) {
            true => {
                self.view(&caller).head(&input.key)?;
                Default::default()
            }
            false => {
                caller.admit(Action::Pull, &input.bucket, &input.key)?;
                let info = self.engine.head_object(&input.bucket, &input.key).await;
                let info = info.map_err(error::of_engine)?;
                info.ok_or_else(|| error::no_such_key(&input.key))?.metadata
            }
        };
        let tags = map.get(TAGS).map(|text| of_text(text)).unwrap_or_default();
        let tags = tags.into_iter().map(|(key, value)| Tag {
            key: Some(key),
            value: Some(value),
        });
        Ok(S3Response::new(GetObjectTaggingOutput {
            tag_set: tags.collect(),
            version_id: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_back_as_they_were() {
        let tags = of_header("a=b&c%26d=%C3%BC+x&e").unwrap();
        assert_eq!(of_text(&to_text(&tags)), tags);
        assert_eq!(tags[1], ("c&d".to_owned(), "ü x".to_owned()));
        for wrong in ["a=1&a=2", "=x", "a&b&c&d&e&f&g&h&i&j&k"] {
            assert!(of_header(wrong).is_err(), "{wrong}");
        }
    }
}
