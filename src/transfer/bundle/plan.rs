//! What would go into a bundle: a sink that takes note of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::inventory::RepositoryInventory;
use crate::digest::Digest;
use crate::oci::RepositoryName;
use crate::transfer::content::Content;
use crate::transfer::end::{Found, Place, Sink};
use crate::transfer::error::TransferError;
use crate::transfer::observer::Outcome;

/// Takes note of all that it is given, and reads no blob.
#[derive(Default)]
pub struct Plan(Mutex<BTreeMap<RepositoryName, RepositoryInventory>>);

impl Plan {
    /// What it was given.
    pub fn take(&self) -> BTreeMap<RepositoryName, RepositoryInventory> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *noted)
    }

    fn note(&self, repository: &RepositoryName, note: impl FnOnce(&mut RepositoryInventory)) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        note(noted.entry(repository.clone()).or_default());
    }
}

#[async_trait]
impl Sink for Plan {
    fn name(&self) -> &str {
        "the plan"
    }

    async fn holds_blob(&self, _: &RepositoryName, _: &Digest) -> Result<bool, TransferError> {
        Ok(false)
    }

    async fn put_blob(
        &self,
        repository: &RepositoryName,
        content: &Content,
        _: Option<&RepositoryName>,
    ) -> Result<Outcome, TransferError> {
        self.note(repository, |it| {
            it.blobs.insert(content.digest);
        });
        Ok(Outcome::Copied)
    }

    async fn holds_manifest(&self, _: &RepositoryName, _: &Digest) -> Result<bool, TransferError> {
        Ok(false)
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Found,
        place: Place<'_>,
    ) -> Result<(), TransferError> {
        self.note(repository, |it| {
            it.manifests.insert(manifest.digest);
            match place {
                Place::Part => {}
                Place::Root => {
                    it.roots.insert(manifest.digest);
                }
                Place::Tagged(tag) => {
                    it.tags.insert(tag.clone(), manifest.digest);
                }
            }
        });
        Ok(())
    }

    async fn finish(&self) -> Result<(), TransferError> {
        Ok(())
    }
}
