//! Manifests that go together, and what goes with them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Holder, Share, holders};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::ghostbay::objects::OBJECTS;
use crate::ghostbay::pack::Releases;
use crate::oci::{RepositoryName, Role, Tag};
use crate::registry::tables::{BLOB_LINKS, ContentKey, EdgeKey, MANIFESTS, REFERENCES};
use crate::registry::{Registry, RegistryError, tags, tombstones};

/// Manifests with all that they list, and which of these go when they are deleted.
pub(in crate::registry) struct Image<'n> {
    repository: &'n RepositoryName,
    /// Every manifest of it, with its bytes and what it is made of.
    manifests: BTreeMap<Digest, (u64, tombstones::Edges)>,
    /// Those that go: the manifests themselves, and what nothing but a manifest that goes lists or tags.
    going: BTreeSet<Digest>,
}

impl<'n> Image<'n> {
    pub fn of(
        rows: &impl Rows,
        repository: &'n RepositoryName,
        roots: &[Digest],
    ) -> Result<Self, CatalogError> {
        let mut image = Image {
            repository,
            manifests: BTreeMap::new(),
            going: roots.iter().copied().collect(),
        };
        let mut waiting = roots.to_vec();
        while let Some(digest) = waiting.pop() {
            let key = ContentKey::new(repository, &digest);
            if image.manifests.contains_key(&digest) {
                continue;
            }
            let Some(row) = rows.get_sound(&MANIFESTS, &key)? else {
                continue;
            };
            let edges = tombstones::edges_of(rows, &key)?;
            let children = edges.iter().filter(|(_, edge)| edge.has(Role::Child));
            waiting.extend(children.map(|(digest, _)| *digest));
            image.manifests.insert(digest, (row.size, edges));
        }
        // What is listed goes after what lists it, so that this ends where nothing more goes.
        loop {
            let found = image.next_going(rows)?;
            match found {
                Some(digest) => image.going.insert(digest),
                None => return Ok(image),
            };
        }
    }

    fn next_going(&self, rows: &impl Rows) -> Result<Option<Digest>, CatalogError> {
        for digest in self.manifests.keys() {
            let key = ContentKey::new(self.repository, digest);
            if self.going.contains(digest) || !tags::all_of(rows, &key)?.is_empty() {
                continue;
            }
            let prefix = EdgeKey::prefix(self.repository, digest);
            let mut stays = false;
            for row in rows.inspect(&REFERENCES, &prefix, None)? {
                let row = row?;
                // Deleted indexes do not keep what they list from being deleted.
                let lists = row
                    .row
                    .map_or(true, |row| row.has(Role::Child) && !row.is_of_deleted());
                let source = row.key.map(|edge| edge.source);
                stays |= lists && source.is_some_and(|source| !self.going.contains(&source));
            }
            if !stays {
                return Ok(Some(*digest));
            }
        }
        Ok(None)
    }

    /// What it takes up under its tag, and what each blob of it does.
    pub fn share(
        &self,
        rows: &impl Rows,
        registry: &Registry,
        tag: &Tag,
    ) -> Result<(Share, Vec<Share>), RegistryError> {
        let mut share = Share::new(Holder::Tag, format!("{}:{tag}", self.repository));
        let mut blobs = BTreeSet::new();
        for (size, edges) in self.manifests.values() {
            share.manifest_bytes += size;
            blobs.extend(edges.keys().copied());
        }
        let (mut releases, mut shares) = (Releases::default(), Vec::new());
        for digest in blobs {
            let key = ContentKey::new(self.repository, &digest);
            // Children are manifests, and foreign layers are nowhere.
            let Some(link) = rows.get_sound(&BLOB_LINKS, &key)? else {
                continue;
            };
            let mut blob = Share::new(Holder::Blob, digest.to_string());
            if self.goes_with(rows, &digest)? {
                share.exclusive_bytes += link.size;
                blob.exclusive_bytes = link.size;
                if let Some(object) = rows.get_sound(&OBJECTS, &registry.blob_of(&digest))? {
                    releases.add(rows, &object.extents)?;
                    let mut alone = Releases::default();
                    alone.add(rows, &object.extents)?;
                    blob.frees_bytes = alone.freed_bytes();
                }
            } else {
                share.shared_bytes += link.size;
                blob.shared_bytes = link.size;
            }
            shares.push(blob);
        }
        share.frees_bytes = releases.freed_bytes();
        Ok((share, shares))
    }

    /// Whether a blob goes with the manifests that go: no other repository holds it, and no other
    /// manifest of this one is made of it, be it deleted or not.
    fn goes_with(&self, rows: &impl Rows, digest: &Digest) -> Result<bool, CatalogError> {
        if holders(rows, digest)?
            .iter()
            .any(|it| it != self.repository)
        {
            return Ok(false);
        }
        let prefix = EdgeKey::prefix(self.repository, digest);
        for row in rows.inspect(&REFERENCES, &prefix, None)? {
            if let Some(edge) = row?.key
                && !self.going.contains(&edge.source)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What deleting them would free in the packs, in bytes: the records of the blobs that go along.
    pub fn frees(&self, rows: &impl Rows, registry: &Registry) -> Result<u64, RegistryError> {
        let edges = self.manifests.values().flat_map(|(_, edges)| edges.keys());
        let mut releases = Releases::default();
        for digest in edges.copied().collect::<BTreeSet<_>>() {
            if self.goes_with(rows, &digest)?
                && let Some(object) = rows.get_sound(&OBJECTS, &registry.blob_of(&digest))?
            {
                releases.add(rows, &object.extents)?;
            }
        }
        Ok(releases.freed_bytes())
    }
}
