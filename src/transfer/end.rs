//! The two ends of a transfer.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::Deserialize;

use super::content::Content;
use super::error::TransferError;
use super::observer::Outcome;
use crate::digest::{Algorithm, Digest};
use crate::oci::media_type::{OCI_IMAGE, OCI_INDEX, essence};
use crate::oci::{ManifestType, Reference, RepositoryName, Tag};

/// Bytes on their way.
pub type ContentStream = BoxStream<'static, Result<Bytes, TransferError>>;

/// A manifest as a source has it: its bytes are those of its digest.
#[derive(Clone, Debug)]
pub struct Found {
    /// The digest.
    pub digest: Digest,
    /// Its type, without parameters.
    pub media_type: String,
    /// It, byte by byte.
    pub bytes: Bytes,
}

/// What a manifest is to the sink, beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place<'a> {
    /// A part of an index.
    Part,
    /// Wanted for itself, under its digest.
    Root,
    /// Wanted under a tag.
    Tagged(&'a Tag),
}

/// Where content comes from.
#[async_trait]
pub trait Source: Send + Sync {
    /// What it is, for messages.
    fn name(&self) -> &str;
    /// The repositories that it holds.
    async fn repositories(&self) -> Result<Vec<RepositoryName>, TransferError>;
    /// The tags of a repository.
    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, TransferError>;
    /// Manifests of a repository that are wanted for themselves and that no tag leads to, as far as it
    /// can say.
    async fn untagged(&self, _: &RepositoryName) -> Result<Vec<Digest>, TransferError> {
        Ok(Vec::new())
    }
    /// A manifest. It was held against its digest.
    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Found, TransferError>;
    /// A blob of `size` bytes, as a manifest says, from byte `from` on. It is for the taker to verify.
    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
        from: u64,
    ) -> Result<ContentStream, TransferError>;
    /// Whether a blob can be had, as far as a look at it tells.
    async fn look(&self, _: &RepositoryName, _: &Digest, _size: u64) -> Result<(), TransferError> {
        Ok(())
    }
    /// Manifests whose subject this one is, as far as it can say.
    async fn referrers(
        &self,
        _: &RepositoryName,
        _: &Digest,
    ) -> Result<Vec<Digest>, TransferError> {
        Ok(Vec::new())
    }
}

/// Where content goes.
#[async_trait]
pub trait Sink: Send + Sync {
    /// What it is, for messages.
    fn name(&self) -> &str;
    /// Whether the repository holds the blob.
    async fn holds_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, TransferError>;
    /// Takes a blob, or mounts it; `from` is a repository of the sink that is known to hold it.
    async fn put_blob(
        &self,
        repository: &RepositoryName,
        content: &Content,
        from: Option<&RepositoryName>,
    ) -> Result<Outcome, TransferError>;
    /// Whether the repository holds the manifest.
    async fn holds_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, TransferError>;
    /// Takes a manifest all of whose parts it has been given.
    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Found,
        place: Place<'_>,
    ) -> Result<(), TransferError>;
    /// All has been given.
    async fn finish(&self) -> Result<(), TransferError>;
}

/// What tells the type of a manifest that does not say it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}

impl Found {
    /// Bytes that are to have that digest; the SHA-256 of them without one. `said` is the type that whoever
    /// keeps them says, which counts if it is a manifest's.
    pub fn of(
        end: &str,
        bytes: Bytes,
        digest: Option<&Digest>,
        said: Option<&str>,
    ) -> Result<Self, TransferError> {
        let algorithm = digest.map_or(Algorithm::Sha256, Digest::algorithm);
        let found = Digest::of(algorithm, &bytes);
        if let Some(digest) = digest
            && found != *digest
        {
            return Err(TransferError::Damaged {
                end: end.to_owned(),
                what: format!("manifest {digest}"),
                reason: format!("its digest is {found}"),
            });
        }
        let said = said.map(essence).filter(|said| {
            let known = said.parse::<ManifestType>();
            // That of schema 1 is kept, so that it is refused by its name.
            known.is_ok() || said.contains("manifest.v1+")
        });
        let media_type = match said {
            Some(said) => said.to_owned(),
            None => type_of(&bytes),
        };
        Ok(Found {
            digest: found,
            media_type,
            bytes,
        })
    }

    /// Whether it lists manifests.
    pub fn is_index(&self) -> bool {
        let known = self.media_type.parse::<ManifestType>();
        known.is_ok_and(ManifestType::is_index)
    }
}

/// The type that a manifest says it has, or that it must have.
fn type_of(bytes: &[u8]) -> String {
    match serde_json::from_slice::<Told>(bytes) {
        Ok(Told {
            schema_version: Some(1),
            media_type: None,
            ..
        }) => "application/vnd.docker.distribution.manifest.v1+json".to_owned(),
        Ok(Told {
            media_type: Some(said),
            ..
        }) => said,
        Ok(Told {
            manifests: Some(_), ..
        }) => OCI_INDEX.to_owned(),
        _ => OCI_IMAGE.to_owned(),
    }
}
