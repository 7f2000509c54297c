//! `drift-bundle.json`: what a bundle says of itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::{Algorithm, Digest};
use crate::oci::{RepositoryName, Tag};
use crate::transfer::error::TransferError;

/// The first file of a bundle.
pub const INVENTORY_FILE: &str = "drift-bundle.json";
/// The longest that is read, in bytes. A blob takes some 75.
pub const INVENTORY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The version that there is.
const VERSION: u32 = 1;

/// What a bundle holds, and what has to be there when it has been imported.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inventory {
    version: u32,
    /// When it was made, in RFC 3339.
    pub created: String,
    /// The digest of the inventory that it follows; none for the first.
    pub follows: Option<Digest>,
    /// What was asked for: repositories and references; everything if empty.
    pub wanted: Vec<String>,
    /// Whether manifests came that refer to others.
    pub referrers: bool,
    /// What has to be there when it has been imported, by repositories.
    pub repositories: BTreeMap<RepositoryName, RepositoryInventory>,
    /// What of that is in this bundle.
    pub brings: BTreeSet<Digest>,
    /// Tags that were there in the bundle before, and are not any more.
    pub removed: Vec<Removed>,
}

/// What has to be in a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RepositoryInventory {
    /// Where its tags point.
    pub tags: BTreeMap<Tag, Digest>,
    /// Manifests that are there for themselves: wanted by digest, or since they refer to others.
    pub roots: BTreeSet<Digest>,
    /// All its manifests.
    pub manifests: BTreeSet<Digest>,
    /// All its blobs.
    pub blobs: BTreeSet<Digest>,
}

/// A tag that has gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Removed {
    /// Its repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// Where it pointed.
    pub digest: Digest,
}

impl Inventory {
    /// Of what there is now, behind another.
    pub fn new(
        created: String,
        wanted: Vec<String>,
        referrers: bool,
        repositories: BTreeMap<RepositoryName, RepositoryInventory>,
        before: Option<&(Inventory, Digest)>,
    ) -> Self {
        let mut inventory = Inventory {
            version: VERSION,
            created,
            follows: before.map(|(_, digest)| *digest),
            wanted,
            referrers,
            brings: BTreeSet::new(),
            removed: Vec::new(),
            repositories,
        };
        inventory.brings = inventory.all();
        if let Some((before, _)) = before {
            let held = before.held_for(&inventory);
            inventory.brings.retain(|digest| !held.contains(digest));
            inventory.removed = before.removed_in(&inventory);
        }
        inventory
    }

    /// Reads one, and its digest.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Digest), TransferError> {
        let unusable = |reason: String| {
            TransferError::Unusable(format!("the inventory cannot be used: {reason}"))
        };
        let inventory: Inventory =
            serde_json::from_slice(bytes).map_err(|error| unusable(error.to_string()))?;
        if inventory.version != VERSION {
            return Err(unusable(format!(
                "it is of version {}, and {VERSION} is the one that is known",
                inventory.version
            )));
        }
        Ok((inventory, Digest::of(Algorithm::Sha256, bytes)))
    }

    /// As it is written.
    pub fn to_bytes(&self) -> Bytes {
        // Texts and numbers: this cannot fail to serialise.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Everything that it names.
    pub fn all(&self) -> BTreeSet<Digest> {
        let repositories = self.repositories.values();
        repositories
            .flat_map(|it| it.manifests.iter().chain(&it.blobs))
            .copied()
            .collect()
    }

    /// The repositories that hold something when this has been imported.
    pub fn places(&self, digest: &Digest) -> impl Iterator<Item = &RepositoryName> {
        let repositories = self.repositories.iter();
        let holds =
            |it: &RepositoryInventory| it.manifests.contains(digest) || it.blobs.contains(digest);
        let holding = repositories.filter(move |(_, it)| holds(it));
        holding.map(|(repository, _)| repository)
    }

    /// What of this one the next need not bring: what lies in a repository that has it then as well. From
    /// there other repositories get it; what has left all of them may be gone by then.
    fn held_for(&self, next: &Inventory) -> BTreeSet<Digest> {
        let mut held = BTreeSet::new();
        for (repository, then) in &self.repositories {
            if let Some(now) = next.repositories.get(repository) {
                held.extend(then.manifests.intersection(&now.manifests));
                held.extend(then.blobs.intersection(&now.blobs));
            }
        }
        held
    }

    /// Tags of this one that are not in the next.
    fn removed_in(&self, next: &Inventory) -> Vec<Removed> {
        let tags = self.repositories.iter().flat_map(|(repository, it)| {
            it.tags.iter().map(move |(tag, digest)| Removed {
                repository: repository.clone(),
                tag: tag.clone(),
                digest: *digest,
            })
        });
        tags.filter(|it| {
            let there = next.repositories.get(&it.repository);
            !there.is_some_and(|there| there.tags.contains_key(&it.tag))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(content: &str) -> Digest {
        Digest::of(Algorithm::Sha256, content.as_bytes())
    }

    fn inventory(tags: &[(&str, &str)], before: Option<&(Inventory, Digest)>) -> Inventory {
        let tags: BTreeMap<Tag, Digest> = tags
            .iter()
            .map(|(tag, manifest)| (tag.parse().unwrap(), digest(manifest)))
            .collect();
        let repository = RepositoryInventory {
            manifests: tags.values().copied().collect(),
            tags,
            ..RepositoryInventory::default()
        };
        let repositories = BTreeMap::from([("a".parse().unwrap(), repository)]);
        Inventory::new(String::new(), Vec::new(), true, repositories, before)
    }

    #[test]
    fn a_bundle_brings_what_the_one_before_does_not_have() {
        let first = inventory(&[("v1", "one"), ("old", "gone")], None);
        assert_eq!(first.brings.len(), 2);
        let parsed = Inventory::parse(&first.to_bytes()).unwrap();
        assert_eq!(parsed.0, first);
        let second = inventory(&[("v1", "one"), ("v2", "two")], Some(&parsed));
        assert_eq!(second.brings, BTreeSet::from([digest("two")]));
        assert_eq!(second.follows, Some(parsed.1));
        let removed: Vec<_> = second.removed.iter().map(|it| it.tag.as_str()).collect();
        assert_eq!(removed, ["old"]);
    }

    #[test]
    fn another_version_is_refused() {
        let mut other = inventory(&[], None);
        other.version = 2;
        let error = Inventory::parse(&other.to_bytes()).unwrap_err().to_string();
        assert!(error.contains("of version 2"), "{error}");
    }
}
