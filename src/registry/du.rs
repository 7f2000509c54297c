//! What takes up room, and what deleting it would free.
//!
//! A blob's bytes are there once, however many repositories and manifests hold it. They go when the last
//! repository lets go of them, and a repository does when its last manifest that is made of the blob is
//! purged. So bytes are exclusive to something if deleting that, purging it and collecting would free
//! them; all other bytes are shared. A manifest that was deleted and can come back holds its blobs
//! like any other.
//!
//! What is freed of a blob is its records: its bytes with headers, trailers and what aligns them.
//! Manifests are rows of the index, whose file keeps the room for other rows.

mod image;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::repositories::{exists, prefix};
use super::tables::{BLOB_HOLDERS, BLOB_LINKS, HolderKey, REPOSITORIES, TAGS, TagKey};
use super::{Registry, RegistryError, usage};
use crate::digest::Digest;
use crate::ghostbay::blob_key;
use crate::ghostbay::catalog::{CatalogError, KeyWriter, Rows};
use crate::ghostbay::objects::{BLOBS_PREFIX, OBJECTS, ObjectKey, addressed_digest};
use crate::ghostbay::pack::Releases;
use crate::oci::{NameError, Reference, RepositoryName, Tag};

pub(super) use image::Image;

/// Rows that are read from one snapshot where there may be millions of them.
const PAGE_ROWS: usize = 1_000;

/// What is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The store, and each repository.
    Store,
    /// A repository, and each tag.
    Repository(RepositoryName),
    /// A tag, and each blob.
    Tag(RepositoryName, Tag),
}

impl FromStr for Scope {
    type Err = String;

    /// Reads `REPOSITORY` or `REPOSITORY:TAG`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, tag) = match text.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (text, None),
        };
        let name: RepositoryName = name.parse().map_err(|error: NameError| error.to_string())?;
        match tag.map(str::parse::<Tag>) {
            None => Ok(Scope::Repository(name)),
            Some(Ok(tag)) => Ok(Scope::Tag(name, tag)),
            Some(Err(error)) => Err(error.to_string()),
        }
    }
}

/// What a share is the share of.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// All blobs. Exclusive are those that one repository alone holds.
    Store,
    /// Blobs that no repository holds any more: the collector's next work.
    Unheld,
    /// A repository.
    Repository,
    /// A tag's manifest, with what it lists.
    Tag,
    /// A configuration or layer of a tag.
    Blob,
}

/// What something takes up.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Share {
    /// What kind of thing.
    pub holder: Holder,
    /// Its name.
    pub name: String,
    /// Bytes of blobs that nothing else holds.
    pub exclusive_bytes: u64,
    /// Bytes of blobs that something else holds as well.
    pub shared_bytes: u64,
    /// Bytes of its manifests, which the index holds.
    pub manifest_bytes: u64,
    /// What deleting it would free in the packs, to the byte: the records of its exclusive blobs.
    pub frees_bytes: u64,
}

impl Share {
    fn new(holder: Holder, name: impl Into<String>) -> Self {
        Share {
            holder,
            name: name.into(),
            exclusive_bytes: 0,
            shared_bytes: 0,
            manifest_bytes: 0,
            frees_bytes: 0,
        }
    }
}

impl Registry {
    /// Sees that the scope is there.
    pub fn du_exists(&self, scope: &Scope) -> Result<(), RegistryError> {
        let rows = self.storage.catalog().read()?;
        match scope {
            Scope::Store => Ok(()),
            Scope::Repository(name) => match exists(&rows, name)? {
                true => Ok(()),
                false => Err(RegistryError::NameUnknown {
                    repository: name.clone(),
                }),
            },
            Scope::Tag(name, tag) => tagged(&rows, name, tag).map(drop),
        }
    }

    /// Tells what the scope takes up, then what each part of it does. `tell` ends it by answering
    /// `false`. For a thread that may block.
    pub fn du(
        &self,
        scope: &Scope,
        tell: &mut dyn FnMut(Share) -> bool,
    ) -> Result<(), RegistryError> {
        match scope {
            Scope::Store => self.du_store(tell),
            Scope::Repository(name) => self.du_repository(name, tell),
            Scope::Tag(name, tag) => self.du_tag(name, tag, tell),
        }
    }

    fn du_store(&self, tell: &mut dyn FnMut(Share) -> bool) -> Result<(), RegistryError> {
        let mut store = Share::new(Holder::Store, "store");
        let mut unheld = Share::new(Holder::Unheld, "held by no repository");
        let (mut all, mut none) = (Releases::default(), Releases::default());
        let mut key = KeyWriter::new();
        key.text(&self.options.bucket).raw(BLOBS_PREFIX.as_bytes());
        let prefix = key.into_bytes();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.storage.catalog().read()?;
            let page: Vec<_> = rows
                .scan_sound(&OBJECTS, &prefix, after.as_deref())?
                .take(PAGE_ROWS)
                .collect::<Result<_, _>>()?;
            let Some((last, _)) = page.last() else {
                break;
            };
            let mut key = KeyWriter::new();
            key.text(&last.bucket).raw(last.key.as_bytes());
            after = Some(key.into_bytes());
            for (key, object) in page {
                let Ok(Some(digest)) = addressed_digest(&key.key) else {
                    continue;
                };
                all.add(&rows, &object.extents)?;
                match holders(&rows, &digest)?.len() {
                    0 => {
                        unheld.exclusive_bytes += object.size;
                        none.add(&rows, &object.extents)?;
                    }
                    1 => store.exclusive_bytes += object.size,
                    _ => store.shared_bytes += object.size,
                }
            }
        }
        store.frees_bytes = all.freed_bytes();
        unheld.frees_bytes = none.freed_bytes();

        let mut shares = Vec::new();
        let rows = self.storage.catalog().read()?;
        let names: Vec<RepositoryName> = rows
            .scan_sound(&REPOSITORIES, &[], None)?
            .map(|row| row.map(|(name, _)| name))
            .collect::<Result<_, _>>()?;
        drop(rows);
        for name in &names {
            let share = share_of_repository(&self.storage.catalog().read()?, self, name)?;
            store.manifest_bytes += share.manifest_bytes;
            shares.push(share);
        }
        for share in [store, unheld].into_iter().chain(shares) {
            if !tell(share) {
                break;
            }
        }
        Ok(())
    }

    fn du_repository(
        &self,
        name: &RepositoryName,
        tell: &mut dyn FnMut(Share) -> bool,
    ) -> Result<(), RegistryError> {
        self.du_exists(&Scope::Repository(name.clone()))?;
        let rows = self.storage.catalog().read()?;
        if !tell(share_of_repository(&rows, self, name)?) {
            return Ok(());
        }
        for row in rows.scan_sound(&TAGS, &prefix(name), None)? {
            let (key, row) = row?;
            let image = Image::of(&rows, name, &[row.digest])?;
            let (share, _) = image.share(&rows, self, &key.tag)?;
            if !tell(share) {
                break;
            }
        }
        Ok(())
    }

    fn du_tag(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        tell: &mut dyn FnMut(Share) -> bool,
    ) -> Result<(), RegistryError> {
        let rows = self.storage.catalog().read()?;
        let image = Image::of(&rows, name, &[tagged(&rows, name, tag)?])?;
        let (share, blobs) = image.share(&rows, self, tag)?;
        for share in std::iter::once(share).chain(blobs) {
            if !tell(share) {
                break;
            }
        }
        Ok(())
    }

    fn blob_of(&self, digest: &Digest) -> ObjectKey {
        ObjectKey::new(self.options.bucket.as_str(), blob_key(digest))
    }
}

/// The manifest that a tag points at.
fn tagged(
    rows: &impl Rows,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<Digest, RegistryError> {
    match rows.get_sound(&TAGS, &TagKey::new(repository, tag))? {
        Some(row) => Ok(row.digest),
        None => Err(RegistryError::ManifestUnknown {
            repository: repository.clone(),
            reference: Reference::Tag(tag.clone()),
        }),
    }
}

/// The repositories that hold a blob: none, one, or two of them.
fn holders(rows: &impl Rows, digest: &Digest) -> Result<Vec<RepositoryName>, CatalogError> {
    rows.scan_sound(&BLOB_HOLDERS, &HolderKey::prefix(digest), None)?
        .map(|row| row.map(|(key, ())| key.repository))
        .take(2)
        .collect()
}

fn share_of_repository(
    rows: &impl Rows,
    registry: &Registry,
    name: &RepositoryName,
) -> Result<Share, RegistryError> {
    let mut share = Share::new(Holder::Repository, name.as_str());
    let mut releases = Releases::default();
    for row in rows.scan_sound(&BLOB_LINKS, &prefix(name), None)? {
        let (key, link) = row?;
        match holders(rows, &key.digest)?.len() {
            0 | 1 => {
                share.exclusive_bytes += link.size;
                let object = rows.get_sound(&OBJECTS, &registry.blob_of(&key.digest))?;
                releases.add(rows, &object.map_or(Vec::new(), |object| object.extents))?;
            }
            _ => share.shared_bytes += link.size,
        }
    }
    let bytes = share.exclusive_bytes + share.shared_bytes;
    share.manifest_bytes = usage::of(rows, name)?.bytes.saturating_sub(bytes);
    share.frees_bytes = releases.freed_bytes();
    Ok(share)
}
