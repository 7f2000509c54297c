//! Deleting several tags at once, with the manifests that nothing else points at.

use std::collections::{BTreeMap, BTreeSet};

use super::du::Image;
use super::tables::{ContentKey, TAGS, TagKey};
use super::{Registry, RegistryError, tags};
use crate::digest::Digest;
use crate::ghostbay::catalog::Rows;
use crate::oci::{RepositoryName, Tag};

/// What deleting some tags comes to. Made first, told if that is asked for, and carried out as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// The manifests whose tags are all among them: they are deleted, and their tags with them.
    pub manifests: Vec<Digest>,
    /// The tags whose manifests have others as well: these alone are deleted.
    pub tags: Vec<Tag>,
    /// Tags that are not there.
    pub unknown: Vec<Tag>,
    /// Bytes that are freed in the packs once the manifests are purged, if nothing else begins to hold
    /// them.
    pub frees_bytes: u64,
}

impl Registry {
    /// What deleting these tags comes to. For a thread that may block.
    pub fn select(
        &self,
        repository: &RepositoryName,
        wanted: &[Tag],
    ) -> Result<Selection, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let wanted: BTreeSet<&Tag> = wanted.iter().collect();
        let mut selection = Selection::default();
        let mut by_digest = BTreeMap::<Digest, Vec<&Tag>>::new();
        for tag in wanted {
            match rows.get_sound(&TAGS, &TagKey::new(repository, tag))? {
                Some(row) => by_digest.entry(row.digest).or_default().push(tag),
                None => selection.unknown.push(tag.clone()),
            }
        }
        for (digest, chosen) in by_digest {
            let all = tags::all_of(&rows, &ContentKey::new(repository, &digest))?;
            match all.iter().all(|of| chosen.contains(&&of.tag)) {
                true => selection.manifests.push(digest),
                false => selection.tags.extend(chosen.into_iter().cloned()),
            }
        }
        let image = Image::of(&rows, repository, &selection.manifests)?;
        selection.frees_bytes = image.frees(&rows, self)?;
        Ok(selection)
    }
}
