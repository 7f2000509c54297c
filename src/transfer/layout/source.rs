//! A layout as a source, in a directory or in a tar.

use async_trait::async_trait;

use super::index::{INDEX_BYTES_MAX, Index, LAYOUT_BYTES_MAX, Roots, check_version};
use super::{INDEX_FILE, LAYOUT_FILE, blob_name};
use crate::digest::Digest;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::oci::{Reference, RepositoryName, Tag};
use crate::transfer::end::{ContentStream, Found, Source};
use crate::transfer::error::TransferError;
use crate::transfer::files::{Files, Region};
use crate::transfer::names::Naming;

/// A layout.
pub struct Layout<F> {
    name: String,
    files: F,
    roots: Roots,
}

impl<F: Files> Layout<F> {
    /// Reads what a layout holds. `name` is for messages.
    pub async fn open(files: F, name: &str, naming: &Naming) -> Result<Self, TransferError> {
        let lacks = |file: &str| {
            TransferError::Unusable(format!("{name} is no OCI layout: it has no {file}"))
        };
        let said = |error: TransferError| TransferError::Unusable(format!("{name}: {error}"));
        let version = files.find(LAYOUT_FILE)?.ok_or_else(|| lacks(LAYOUT_FILE))?;
        let version = version.whole(LAYOUT_BYTES_MAX, LAYOUT_FILE).await?;
        check_version(&version).map_err(said)?;
        let index = files.find(INDEX_FILE)?.ok_or_else(|| lacks(INDEX_FILE))?;
        let index = index.whole(INDEX_BYTES_MAX, INDEX_FILE).await?;
        let roots = Index::parse(&index).and_then(|index| index.roots(naming));
        Ok(Layout {
            name: name.to_owned(),
            files,
            roots: roots.map_err(said)?,
        })
    }

    fn blob_file(&self, digest: &Digest) -> Result<Region, TransferError> {
        let found = self.files.find(&blob_name(digest))?;
        found.ok_or_else(|| TransferError::Missing {
            end: self.name.clone(),
            what: format!("blob {digest}"),
        })
    }
}

impl<F: Files> Layout<F> {
    /// Where a tag points.
    pub fn tagged(&self, repository: &RepositoryName, tag: &Tag) -> Result<Digest, TransferError> {
        let mut roots = self.roots.get(repository).into_iter().flatten();
        let root = roots.find(|(found, _)| found.as_ref() == Some(tag));
        root.map(|(_, digest)| *digest)
            .ok_or_else(|| TransferError::Missing {
                end: self.name.clone(),
                what: format!("{repository}:{tag}"),
            })
    }

    /// The file of a blob that is to have that length.
    fn sized(&self, digest: &Digest, size: u64) -> Result<Region, TransferError> {
        let file = self.blob_file(digest)?;
        match file.length == size {
            true => Ok(file),
            false => Err(TransferError::Damaged {
                end: self.name.clone(),
                what: format!("blob {digest}"),
                reason: format!("it has {} bytes, and should have {size}", file.length),
            }),
        }
    }
}

#[async_trait]
impl<F: Files> Source for Layout<F> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn repositories(&self) -> Result<Vec<RepositoryName>, TransferError> {
        Ok(self.roots.keys().cloned().collect())
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, TransferError> {
        let roots = self.roots.get(repository).into_iter().flatten();
        Ok(roots.filter_map(|(tag, _)| tag.clone()).collect())
    }

    async fn untagged(&self, repository: &RepositoryName) -> Result<Vec<Digest>, TransferError> {
        let roots = self.roots.get(repository).into_iter().flatten();
        let untagged = roots.filter(|(tag, _)| tag.is_none());
        Ok(untagged.map(|(_, digest)| *digest).collect())
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Found, TransferError> {
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => self.tagged(repository, tag)?,
        };
        let file = self.blob_file(&digest)?;
        let what = format!("manifest {digest}");
        let bytes = file.whole(MANIFEST_BYTES_MAX as u64, &what).await?;
        Found::of(&self.name, bytes, Some(&digest), None)
    }

    async fn blob(
        &self,
        _: &RepositoryName,
        digest: &Digest,
        size: u64,
        from: u64,
    ) -> Result<ContentStream, TransferError> {
        Ok(self.sized(digest, size)?.stream(from))
    }

    async fn look(
        &self,
        _: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<(), TransferError> {
        self.sized(digest, size).map(drop)
    }
}
