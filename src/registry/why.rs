//! Why something is kept, or when it goes.

use serde::{Deserialize, Serialize};

use super::manifests::{digest_of, unknown};
use super::tables::{BLOB_LINKS, ContentKey, EdgeKey, MANIFESTS, REFERENCES, TAGS_BY_DIGEST};
use super::{Registry, RegistryError, tombstones};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Key, KeyWriter, Rows};
use crate::oci::{Reference, RepositoryName, Tag};

/// Reasons of one kind that are named.
const REASONS_MAX: usize = 100;

/// Why something is kept, or when it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Why {
    /// What was asked about.
    pub digest: Digest,
    /// As what the repository has it.
    pub kind: Kind,
    /// What keeps it. Of each kind, the first 100.
    pub keepers: Vec<Keeper>,
    /// When it goes if nothing changes, in milliseconds since 1970; `None` if it is kept.
    pub goes_ms: Option<u64>,
}

/// As what a repository has something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A manifest.
    Manifest,
    /// A manifest that was deleted.
    DeletedManifest,
    /// A blob.
    Blob,
}

/// What keeps something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keeper {
    /// A tag points at it.
    Tag(Tag),
    /// A manifest is made of it, or an index lists it.
    Manifest(Digest),
    /// A manifest that was deleted is made of it, and is purged at that time, in milliseconds since
    /// 1970.
    DeletedManifest(Digest, u64),
    /// It is a manifest, and nobody deleted it.
    Itself,
    /// A client was told that it is there.
    Lease,
}

impl Registry {
    /// Why the repository keeps a manifest or a blob, or when it goes.
    pub fn why(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Why, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let digest = digest_of(&rows, repository, reference)?;
        let key = ContentKey::new(repository, &digest);
        let mut why = Why {
            digest,
            kind: Kind::Manifest,
            keepers: Vec::new(),
            goes_ms: None,
        };
        if rows.contains(&MANIFESTS, &key)? {
            why.keepers.push(Keeper::Itself);
            why.keepers.extend(tags_of(&rows, &key)?);
            why.keepers.extend(self.manifests_above(&rows, &key)?);
        } else if let Some(tombstone) = tombstones::tombstone(&rows, &key)? {
            why.kind = Kind::DeletedManifest;
            why.goes_ms = Some(self.purged_ms(tombstone.deleted_ms));
        } else if let Some(link) = rows.get_sound(&BLOB_LINKS, &key)? {
            why.kind = Kind::Blob;
            why.keepers = self.manifests_above(&rows, &key)?;
            let is_kept = why
                .keepers
                .iter()
                .any(|keeper| matches!(keeper, Keeper::Manifest(_)));
            let purged_ms = why.keepers.iter().map(|keeper| match keeper {
                Keeper::DeletedManifest(_, purged_ms) => *purged_ms,
                _ => 0,
            });
            // Not before its last deleted manifest, nor within its own grace.
            let purged_ms = purged_ms.max().unwrap_or(0);
            let due_ms = self.due_ms(link.linked_ms).max(purged_ms);
            why.goes_ms = (!is_kept).then_some(due_ms);
            if let Some(leased_ms) = self.leased_until_ms(&digest) {
                why.keepers.push(Keeper::Lease);
                why.goes_ms = why.goes_ms.map(|goes_ms| goes_ms.max(leased_ms));
            }
        } else {
            return Err(unknown(repository, reference));
        }
        Ok(why)
    }

    /// The manifests that are made of it, live and deleted.
    fn manifests_above(
        &self,
        rows: &impl Rows,
        key: &ContentKey,
    ) -> Result<Vec<Keeper>, CatalogError> {
        let prefix = EdgeKey::prefix(&key.repository, &key.digest);
        let edges = rows.inspect(&REFERENCES, &prefix, None)?;
        let sources = edges.filter_map(|row| row.map(|row| row.key).transpose());
        let keepers = sources.take(REASONS_MAX).map(|edge| {
            let edge = edge?;
            let source = ContentKey::new(&edge.repository, &edge.source);
            Ok(match tombstones::tombstone(rows, &source)? {
                Some(tombstone) => {
                    Keeper::DeletedManifest(edge.source, self.purged_ms(tombstone.deleted_ms))
                }
                None => Keeper::Manifest(edge.source),
            })
        });
        keepers.collect()
    }

    /// Where a tag points.
    pub(super) fn tag_target(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Digest, RegistryError> {
        let rows = self.storage.catalog().read()?;
        digest_of(&rows, repository, &Reference::Tag(tag.clone()))
    }

    /// Whether any tag points at a manifest.
    pub(super) fn is_tagged(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let key = ContentKey::new(repository, digest);
        Ok(!tags_of(&rows, &key)?.is_empty())
    }
}

fn tags_of(rows: &impl Rows, key: &ContentKey) -> Result<Vec<Keeper>, CatalogError> {
    let mut prefix = KeyWriter::new();
    key.encode(&mut prefix);
    rows.scan_sound(&TAGS_BY_DIGEST, prefix.as_bytes(), None)?
        .take(REASONS_MAX)
        .map(|row| row.map(|(of, ())| Keeper::Tag(of.tag)))
        .collect()
}
