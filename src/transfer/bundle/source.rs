//! A bundle, with the registry that it adds to: what the bundle takes for granted is read from there.

use std::sync::Arc;

use async_trait::async_trait;

use super::inventory::{INVENTORY_BYTES_MAX, INVENTORY_FILE, Inventory, Removed};
use crate::digest::Digest;
use crate::oci::{Reference, RepositoryName, Tag};
use crate::transfer::end::{ContentStream, Found, Sink, Source};
use crate::transfer::error::TransferError;
use crate::transfer::files::Files;
use crate::transfer::layout::{Layout, blob_name};
use crate::transfer::names::Naming;
use crate::transfer::registry::RegistryEnd;

/// A bundle.
pub struct BundleSource<F> {
    inventory: Inventory,
    layout: Layout<F>,
    registry: Arc<RegistryEnd>,
}

impl<F: Files> BundleSource<F> {
    /// Reads what a bundle says of itself, and looks for all that it should bring.
    pub async fn open(
        files: F,
        name: &str,
        registry: Arc<RegistryEnd>,
    ) -> Result<Self, TransferError> {
        let file = files.find(INVENTORY_FILE)?;
        let file = file.ok_or_else(|| TransferError::Missing {
            end: name.to_owned(),
            what: INVENTORY_FILE.to_owned(),
        })?;
        let bytes = file.whole(INVENTORY_BYTES_MAX, INVENTORY_FILE).await?;
        let (inventory, _) = Inventory::parse(&bytes)?;
        for digest in &inventory.brings {
            if files.find(&blob_name(digest))?.is_none() {
                return Err(TransferError::Missing {
                    end: name.to_owned(),
                    what: format!("{digest}, which its inventory names,"),
                });
            }
        }
        let layout = Layout::open(files, name, &Naming::default()).await?;
        Ok(BundleSource {
            inventory,
            layout,
            registry,
        })
    }

    /// What the bundle takes for granted, and the registry does not hold.
    pub async fn lacks(&self) -> Result<Vec<String>, TransferError> {
        let mut lacks = Vec::new();
        for (repository, there) in &self.inventory.repositories {
            for digest in there.manifests.difference(&self.inventory.brings) {
                if self.place_of_manifest(repository, digest).await?.is_none() {
                    lacks.push(format!("manifest {repository}@{digest}"));
                }
            }
            for digest in there.blobs.difference(&self.inventory.brings) {
                if !self.is_blob_here(repository, digest).await? {
                    lacks.push(format!("blob {digest} of {repository}"));
                }
            }
        }
        Ok(lacks)
    }

    /// A repository of the registry that has a manifest: that one, or another that gives it to it.
    async fn place_of_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<RepositoryName>, TransferError> {
        for place in std::iter::once(repository).chain(self.inventory.places(digest)) {
            if self.registry.holds_manifest(place, digest).await? {
                return Ok(Some(place.clone()));
            }
        }
        Ok(None)
    }

    async fn is_blob_here(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, TransferError> {
        for place in std::iter::once(repository).chain(self.inventory.places(digest)) {
            if self.registry.holds_blob(place, digest).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tags that have gone since the bundle before.
    pub fn removed(&self) -> &[Removed] {
        &self.inventory.removed
    }
}

#[async_trait]
impl<F: Files> Source for BundleSource<F> {
    fn name(&self) -> &str {
        self.layout.name()
    }

    async fn repositories(&self) -> Result<Vec<RepositoryName>, TransferError> {
        self.layout.repositories().await
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, TransferError> {
        self.layout.tags(repository).await
    }

    async fn untagged(&self, repository: &RepositoryName) -> Result<Vec<Digest>, TransferError> {
        self.layout.untagged(repository).await
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Found, TransferError> {
        let digest = match reference {
            Reference::Tag(tag) => self.layout.tagged(repository, tag)?,
            Reference::Digest(digest) => *digest,
        };
        let reference = Reference::Digest(digest);
        let missing = match self.layout.manifest(repository, &reference).await {
            Err(missing @ TransferError::Missing { .. }) => missing,
            found => return found,
        };
        match self.place_of_manifest(repository, &digest).await? {
            Some(place) => self.registry.manifest(&place, &reference).await,
            None => Err(missing),
        }
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
        from: u64,
    ) -> Result<ContentStream, TransferError> {
        self.layout.blob(repository, digest, size, from).await
    }

    async fn look(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<(), TransferError> {
        self.layout.look(repository, digest, size).await
    }
}
