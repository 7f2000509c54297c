//! A registry as a source (distribution-spec, "Pull", "Content Discovery").

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use url::Url;

use super::RegistryEnd;
use super::ask::{Ask, text};
use super::pages::next_page;
use crate::digest::Digest;
use crate::http::exchange::http::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use crate::http::exchange::http::{Method, StatusCode};
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::oci::media_type::{DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX};
use crate::oci::{Reference, RepositoryName, Tag};
use crate::transfer::end::{ContentStream, Found, Source};
use crate::transfer::error::TransferError;

/// Parts of a list of referrers, at most: each has up to 4 MiB.
const REFERRER_PAGES_MAX: usize = 256;

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    digest: Digest,
}

#[async_trait]
impl Source for RegistryEnd {
    fn name(&self) -> &str {
        &self.name
    }

    async fn repositories(&self) -> Result<Vec<RepositoryName>, TransferError> {
        let mut url = self.url("/v2/_catalog");
        url.set_query(Some("n=1000"));
        let names = self.names(url, "the list of repositories").await?;
        self.parsed(names, "repository")
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, TransferError> {
        let mut url = self.url(&format!("/v2/{repository}/tags/list"));
        url.set_query(Some("n=1000"));
        let what = format!("the tags of {repository}");
        let names = self.names(url, &what).await?;
        self.parsed(names, "tag")
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Found, TransferError> {
        let url = self.url(&format!("/v2/{repository}/manifests/{reference}"));
        self.manifest_at(url, &format!("manifest {reference} of {repository}"), {
            match reference {
                Reference::Digest(digest) => Some(digest),
                Reference::Tag(_) => None,
            }
        })
        .await
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
        from: u64,
    ) -> Result<ContentStream, TransferError> {
        let what = format!("blob {digest} of {repository}");
        let url = self.url(&format!("/v2/{repository}/blobs/{digest}"));
        let mut ask = Ask::new(Method::GET, url, &what);
        if from > 0 {
            ask = ask.with(RANGE, &format!("bytes={from}-{}", size.saturating_sub(1)));
        }
        let expected = [StatusCode::OK, StatusCode::PARTIAL_CONTENT];
        let answer = self.fetch(ask, &expected).await?;
        let begins = match answer.status() {
            StatusCode::PARTIAL_CONTENT => first_of(text(answer.headers(), CONTENT_RANGE)),
            _ => Some(0),
        };
        // What was not asked for is passed over; what begins too late is no use.
        let mut before = match begins {
            Some(begins) if begins <= from => from - begins,
            _ => return Err(self.broken(format!("{what} came from another byte than {from}"))),
        };
        let end = self.name.clone();
        let pieces = answer.into_body().into_data_stream();
        let pieces = pieces.map_err(move |error| TransferError::Broken {
            end: end.clone(),
            reason: format!("{what} broke off: {error}"),
        });
        let pieces = pieces.map_ok(move |mut piece| {
            let passed = before.min(piece.len() as u64);
            before -= passed;
            piece.split_off(passed as usize)
        });
        Ok(pieces.boxed())
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Digest>, TransferError> {
        if !self.lists_no_referrers.load(Ordering::Relaxed) {
            match self.listed_referrers(repository, subject).await {
                // A registry with such a list never says so (distribution-spec, "Listing Referrers").
                Err(TransferError::Missing { .. }) => {
                    self.lists_no_referrers.store(true, Ordering::Relaxed);
                }
                listed => return listed,
            }
        }
        self.tagged_referrers(repository, subject).await
    }
}

impl RegistryEnd {
    pub(super) async fn manifest_at(
        &self,
        url: Url,
        what: &str,
        digest: Option<&Digest>,
    ) -> Result<Found, TransferError> {
        let accept = [OCI_IMAGE, OCI_INDEX, DOCKER_IMAGE, DOCKER_LIST].join(", ");
        let ask = Ask::new(Method::GET, url, what).with(ACCEPT, &accept);
        let answer = self.fetch(ask, &[StatusCode::OK]).await?;
        let said = text(answer.headers(), CONTENT_TYPE).map(str::to_owned);
        let body = self.gather(answer, MANIFEST_BYTES_MAX, what).await?;
        Found::of(&self.name, body.into(), digest, said.as_deref())
    }

    async fn listed_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Digest>, TransferError> {
        let what = format!("the referrers of {subject} in {repository}");
        let mut found = Vec::new();
        let mut url = self.url(&format!("/v2/{repository}/referrers/{subject}"));
        for _ in 0..REFERRER_PAGES_MAX {
            let ask = Ask::new(Method::GET, url.clone(), &what).with(ACCEPT, OCI_INDEX);
            let answer = self.ask(ask, &[StatusCode::OK]).await?;
            let next = next_page(answer.headers());
            let body = self.gather(answer, 2 * MANIFEST_BYTES_MAX, &what).await?;
            found.extend(self.entries(&body, &what)?);
            match next {
                None => return Ok(found),
                Some(link) => url = self.resolve(&url, &link, &what)?,
            }
        }
        Err(TransferError::Damaged {
            end: self.name.clone(),
            what,
            reason: format!("there are more than {REFERRER_PAGES_MAX} parts of it"),
        })
    }

    /// What is listed under the tag that stands in for such a list (distribution-spec, "Referrers Tag
    /// Schema").
    async fn tagged_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Digest>, TransferError> {
        let tag = subject.to_string().replace(':', "-");
        let url = self.url(&format!("/v2/{repository}/manifests/{tag}"));
        let what = format!("the list of referrers {tag} of {repository}");
        match self.manifest_at(url, &what, None).await {
            Ok(found) if found.is_index() => self.entries(&found.bytes, &what),
            Ok(_) | Err(TransferError::Missing { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn entries(&self, body: &[u8], what: &str) -> Result<Vec<Digest>, TransferError> {
        let index: Index =
            serde_json::from_slice(body).map_err(|error| TransferError::Damaged {
                end: self.name.clone(),
                what: what.to_owned(),
                reason: format!("it cannot be read: {error}"),
            })?;
        let entries = index.manifests.unwrap_or_default().into_iter();
        Ok(entries.map(|entry| entry.digest).collect())
    }

    fn parsed<T>(
        &self,
        names: impl IntoIterator<Item = String>,
        kind: &str,
    ) -> Result<Vec<T>, TransferError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let parsed = names.into_iter().map(|name| {
            name.parse().map_err(|error| {
                let end = &self.name;
                TransferError::Unusable(format!("{end} lists a {kind} that cannot be: {error}"))
            })
        });
        parsed.collect()
    }
}

/// The first byte of a `Content-Range` (RFC 9110, 14.4).
fn first_of(range: Option<&str>) -> Option<u64> {
    let range = range?.trim().strip_prefix("bytes ")?;
    range.split_once('-')?.0.parse().ok()
}
