//! Tags that stay where they are: they are neither moved nor deleted, by nobody.

use super::repositories::prefix;
use super::tables::{ContentKey, TAGS};
use super::{RegistryError, tags};
use crate::ghostbay::catalog::Rows;
use crate::oci::{Pattern, RepositoryName, Tag};

/// A rule on tags that are immutable once they are there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImmutableRule {
    /// The repositories.
    pub repositories: Pattern,
    /// The tags in them.
    pub tags: Pattern,
}

/// All rules; one that fits is enough.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImmutableTags(pub Vec<ImmutableRule>);

impl ImmutableTags {
    /// Whether the tag is immutable.
    pub fn holds(&self, repository: &RepositoryName, tag: &Tag) -> bool {
        self.0
            .iter()
            .any(|rule| rule.repositories.fits(repository.as_str()) && rule.tags.fits(tag.as_str()))
    }

    /// Refuses to move or delete an immutable tag, which is there.
    pub(super) fn release(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<(), RegistryError> {
        match self.holds(repository, tag) {
            false => Ok(()),
            true => Err(RegistryError::TagImmutable {
                repository: repository.clone(),
                tag: tag.clone(),
            }),
        }
    }

    /// Refuses to delete a manifest that an immutable tag points at.
    pub(super) fn release_manifest(
        &self,
        rows: &impl Rows,
        manifest: &ContentKey,
    ) -> Result<(), RegistryError> {
        if self.0.is_empty() {
            return Ok(());
        }
        for of in tags::all_of(rows, manifest)? {
            self.release(&of.repository, &of.tag)?;
        }
        Ok(())
    }

    /// Refuses to delete a repository that has an immutable tag.
    pub(super) fn release_repository(
        &self,
        rows: &impl Rows,
        repository: &RepositoryName,
    ) -> Result<(), RegistryError> {
        if self.0.is_empty() {
            return Ok(());
        }
        for row in rows.scan_sound(&TAGS, &prefix(repository), None)? {
            self.release(repository, &row?.0.tag)?;
        }
        Ok(())
    }
}
