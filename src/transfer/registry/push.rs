//! A registry as a sink (distribution-spec, "Push").

use async_trait::async_trait;
use bytes::Bytes;
use url::Url;

use super::RegistryEnd;
use super::ask::{Ask, text};
use crate::digest::Digest;
use crate::http::exchange::Body;
use crate::http::exchange::http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use crate::http::exchange::http::{Method, StatusCode};
use crate::oci::{Reference, RepositoryName, Tag};
use crate::transfer::content::{Content, pause};
use crate::transfer::end::{Found, Place, Sink, Source};
use crate::transfer::error::TransferError;
use crate::transfer::observer::Outcome;

#[async_trait]
impl Sink for RegistryEnd {
    fn name(&self) -> &str {
        &self.name
    }

    async fn holds_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, TransferError> {
        let url = self.url(&format!("/v2/{repository}/blobs/{digest}"));
        self.holds(
            url,
            format!("whether it holds blob {digest} in {repository}"),
        )
        .await
    }

    async fn put_blob(
        &self,
        repository: &RepositoryName,
        content: &Content,
        from: Option<&RepositoryName>,
    ) -> Result<Outcome, TransferError> {
        let digest = &content.digest;
        let mut url = self.url(&format!("/v2/{repository}/blobs/uploads/"));
        // Our own knows by itself who has it; others mount from where they are told.
        if self.is_own || from.is_some() {
            let mut query = url.query_pairs_mut();
            query.append_pair("mount", &digest.to_string());
            if let Some(from) = from {
                query.append_pair("from", from.as_str());
            }
        }
        let what = format!("an upload of blob {digest} to {repository}");
        let ask = Ask::new(Method::POST, url.clone(), &what).body(Bytes::new().into(), 0);
        let expected = [StatusCode::CREATED, StatusCode::ACCEPTED];
        let answer = self.ask(ask, &expected).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(Outcome::Mounted);
        }
        let place = self.location(&url, &answer, &what)?;
        self.upload(place, content, &what).await?;
        Ok(Outcome::Copied)
    }

    async fn holds_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, TransferError> {
        let url = self.url(&format!("/v2/{repository}/manifests/{digest}"));
        let what = format!("whether it holds manifest {digest} in {repository}");
        self.holds(url, what).await
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Found,
        place: Place<'_>,
    ) -> Result<(), TransferError> {
        let reference = match place {
            Place::Part => manifest.digest.to_string(),
            Place::Tagged(tag) => tag.to_string(),
            // It came as a part before, and nothing here tells one from the other.
            Place::Root => return Ok(()),
        };
        let url = self.url(&format!("/v2/{repository}/manifests/{reference}"));
        let what = format!("manifest {reference} for {repository}");
        let length = manifest.bytes.len() as u64;
        let ask = Ask::new(Method::PUT, url, what)
            .with(CONTENT_TYPE, &manifest.media_type)
            .body(manifest.bytes.clone().into(), length);
        let expected = [StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED];
        self.ask(ask, &expected).await.map(drop)
    }

    async fn finish(&self) -> Result<(), TransferError> {
        Ok(())
    }
}

impl RegistryEnd {
    async fn holds(&self, url: Url, what: String) -> Result<bool, TransferError> {
        match self
            .ask(Ask::new(Method::HEAD, url, what), &[StatusCode::OK])
            .await
        {
            Ok(_) => Ok(true),
            Err(TransferError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All of the blob in one request; where that breaks, what is left of it in further ones.
    async fn upload(&self, place: Url, content: &Content, what: &str) -> Result<(), TransferError> {
        let mut error = match self.end_upload(&place, content, 0, what).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let (mut offset, mut tries) = (0, 0);
        loop {
            tries += 1;
            if !error.may_pass() || tries >= self.attempts {
                return Err(error.given_up(tries));
            }
            pause(tries, &error).await;
            match self.upload_offset(&place, what).await {
                // It is over: the last answer was lost, or the upload was.
                Err(TransferError::Missing { .. }) => {
                    let holds = self
                        .holds_blob(&content.repository, &content.digest)
                        .await?;
                    return if holds { Ok(()) } else { Err(error) };
                }
                Err(again) => {
                    error = again;
                    continue;
                }
                Ok(found) => {
                    if found > offset {
                        tries = 0;
                    }
                    offset = found;
                }
            }
            match self.end_upload(&place, content, offset, what).await {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
    }

    /// Sends what is missing from `offset` on, and ends the upload.
    async fn end_upload(
        &self,
        place: &Url,
        content: &Content,
        offset: u64,
        what: &str,
    ) -> Result<(), TransferError> {
        let mut url = place.clone();
        let digest = content.digest.to_string();
        url.query_pairs_mut().append_pair("digest", &digest);
        let (stream, fate) = content.stream(offset);
        let length = content.size.saturating_sub(offset);
        let mut ask = Ask::new(Method::PUT, url, what)
            .with(CONTENT_TYPE, "application/octet-stream")
            .body(Body::from_stream(stream).into(), length);
        if offset > 0 && length > 0 {
            let range = format!("{offset}-{}", content.size - 1);
            ask = ask.with(CONTENT_RANGE, &range);
        }
        let expected = [StatusCode::CREATED, StatusCode::NO_CONTENT];
        let sent = self.ask(ask, &expected).await;
        // Where the source broke off, that is the reason, whatever the sink says of it.
        sent.map(drop).map_err(|error| fate.or(error))
    }

    /// How many bytes of an upload have come.
    async fn upload_offset(&self, place: &Url, what: &str) -> Result<u64, TransferError> {
        let ask = Ask::new(Method::GET, place.clone(), what);
        let answer = self.ask(ask, &[StatusCode::NO_CONTENT]).await?;
        let range = text(answer.headers(), RANGE).and_then(|range| range.split_once('-'));
        let last: Option<u64> = range.and_then(|(_, last)| last.parse().ok());
        // `0-0` is nothing as often as it is a byte; a byte too few is sent again at most.
        Ok(last.map_or(0, |last| if last == 0 { 0 } else { last + 1 }))
    }

    /// Where a tag points; `None` if there is none.
    pub async fn points_to(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Digest>, TransferError> {
        match self
            .manifest(repository, &Reference::Tag(tag.clone()))
            .await
        {
            Ok(found) => Ok(Some(found.digest)),
            Err(TransferError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a tag away.
    pub async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<(), TransferError> {
        let url = self.url(&format!("/v2/{repository}/manifests/{tag}"));
        let ask = Ask::new(
            Method::DELETE,
            url,
            format!("the end of {repository}:{tag}"),
        )
        .with(CONTENT_LENGTH, "0");
        match self.ask(ask, &[StatusCode::ACCEPTED, StatusCode::OK]).await {
            // Somebody was quicker.
            Err(TransferError::Missing { .. }) => Ok(()),
            done => done.map(drop),
        }
    }
}
