//! Manifests: reading and deleting. Pushing is in [`push`](super::push).

use bytes::Bytes;

use super::tables::{
    ContentKey, EdgeKey, MANIFEST_BODIES, MANIFESTS, ManifestBodyRow, ManifestRow, REFERENCES,
    TAGS, TagKey,
};
use super::{Registry, RegistryError, tags, tombstones};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::oci::{Reference, RepositoryName, Role};

/// zstd's own default: manifests shrink to a third in tens of microseconds.
const COMPRESSION_LEVEL: i32 = 3;

/// A manifest as it was pushed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredManifest {
    /// Its digest.
    pub digest: Digest,
    /// The media type that it was pushed under.
    pub media_type: String,
    /// Its exact bytes.
    pub bytes: Bytes,
}

impl Registry {
    /// The manifest that a tag or a digest names. A damaged one is as good as none, so that
    /// clients push it again.
    pub fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let unknown = || unknown(repository, reference);
        let digest = digest_of(&rows, repository, reference)?;
        let key = ContentKey::new(repository, &digest);
        let row = rows.get_sound(&MANIFESTS, &key)?.ok_or_else(unknown)?;
        let bytes = rows
            .get_sound(&MANIFEST_BODIES, &key)?
            .and_then(|body| body_of(&digest, body, row.size))
            .ok_or_else(|| {
                tracing::error!(%repository, %digest, "a manifest is damaged: pushing it again heals it");
                unknown()
            })?;
        Ok(StoredManifest {
            digest,
            media_type: row.media_type,
            bytes,
        })
    }

    /// Deletes a manifest and all tags that point at it (distribution-spec, "Deleting
    /// Manifests"). Refused while an index of the repository lists it; being a subject does not
    /// protect, and what refers to it as one stays. [`Registry::undelete_manifest`] brings it back
    /// until it is purged.
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        // A damaged one is as good as none.
        self.manifest_to_delete(repository, digest)?;
        self.take_out(repository, digest, false).await
    }

    /// As [`Registry::delete_manifest`], for good, and also for one that was deleted before.
    pub async fn purge_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let key = ContentKey::new(repository, digest);
        if tombstones::tombstone(&self.storage.catalog().read()?, &key)?.is_none() {
            self.manifest_to_delete(repository, digest)?;
        }
        self.check_delete()?;
        self.take_out(repository, digest, true).await
    }

    fn manifest_to_delete(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        self.check_delete()?;
        let by_digest = Reference::Digest(*digest);
        self.manifest(repository, &by_digest).map(drop)
    }

    /// Takes a manifest out, for good or not, unless an index lists it.
    async fn take_out(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        for_good: bool,
    ) -> Result<(), RegistryError> {
        let key = ContentKey::new(repository, digest);
        let edges = tombstones::edges_of(&self.storage.catalog().read()?, &key)?;
        let deed = self.deed();
        let options = self.options.clone();
        self.storage
            .catalog()
            .transact(move |transaction| {
                let is_there = transaction.contains(&MANIFESTS, &key)?
                    || (for_good && tombstones::tombstone(transaction, &key)?.is_some());
                if !is_there {
                    return Err(RegistryError::ManifestUnknown {
                        repository: key.repository.clone(),
                        reference: Reference::Digest(key.digest),
                    });
                }
                if let Some(referrer) = index_that_lists(transaction, &key)? {
                    return Err(RegistryError::StillReferenced {
                        digest: key.digest,
                        referrer,
                    });
                }
                options.immutable.release_manifest(transaction, &key)?;
                tombstones::entomb(transaction, &key, &edges, &deed)?;
                match for_good {
                    true => Ok(tombstones::purge(transaction, &key, &edges)?),
                    false => Ok(()),
                }
            })
            .await
    }
}

impl Registry {
    /// Deletes a manifest that still is as it was found, and without a tag; whether it was. For a
    /// thread that may block.
    pub(super) fn delete_manifest_as_found(
        &self,
        key: ContentKey,
        found: ManifestRow,
    ) -> Result<bool, RegistryError> {
        let edges = tombstones::edges_of(&self.storage.catalog().read()?, &key)?;
        let deed = self.deed();
        let delete = move |transaction: &mut Transaction<'_>| {
            let is_same = transaction.get_sound(&MANIFESTS, &key)?.as_ref() == Some(&found);
            if !is_same || !tags::all_of(transaction, &key)?.is_empty() {
                return Ok(false);
            }
            if let Some(referrer) = index_that_lists(transaction, &key)? {
                return Err(RegistryError::StillReferenced {
                    digest: key.digest,
                    referrer,
                });
            }
            tombstones::entomb(transaction, &key, &edges, &deed)?;
            Ok::<_, RegistryError>(true)
        };
        self.storage.catalog().transact_blocking(delete)?
    }
}

/// The digest that a reference names; that there is a manifest of it is not said.
pub(super) fn digest_of(
    rows: &impl Rows,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Digest, RegistryError> {
    match reference {
        Reference::Digest(digest) => Ok(*digest),
        Reference::Tag(tag) => {
            let row = rows.get_sound(&TAGS, &TagKey::new(repository, tag))?;
            Ok(row.ok_or_else(|| unknown(repository, reference))?.digest)
        }
    }
}

/// That there is no such manifest.
pub(super) fn unknown(repository: &RepositoryName, reference: &Reference) -> RegistryError {
    RegistryError::ManifestUnknown {
        repository: repository.clone(),
        reference: reference.clone(),
    }
}

fn index_that_lists(rows: &impl Rows, key: &ContentKey) -> Result<Option<Digest>, CatalogError> {
    let prefix = EdgeKey::prefix(&key.repository, &key.digest);
    for row in rows.inspect(&REFERENCES, &prefix, None)? {
        let row = row?;
        // A damaged row may be of any role; the next push of the manifest writes it again.
        if let Some(edge) = row.key
            && row.row.map_or(true, |reference| {
                reference.has(Role::Child) && !reference.is_of_deleted()
            })
        {
            return Ok(Some(edge.source));
        }
    }
    Ok(None)
}

/// The row for a manifest's bytes: compressed if that is smaller.
pub(super) fn pack(bytes: &Bytes) -> ManifestBodyRow {
    match zstd::bulk::compress(bytes, COMPRESSION_LEVEL) {
        Ok(compressed) if compressed.len() < bytes.len() => ManifestBodyRow {
            compressed: true,
            bytes: compressed.into(),
        },
        _ => ManifestBodyRow {
            compressed: false,
            bytes: bytes.clone(),
        },
    }
}

/// The bytes of a manifest, if its row still holds what has its digest.
pub(super) fn body_of(digest: &Digest, body: ManifestBodyRow, size: u64) -> Option<Bytes> {
    unpack(body, size).filter(|bytes| Digest::of(digest.algorithm(), bytes) == *digest)
}

/// The bytes that [`pack`] was given, of which there were `size`; `None` if the row is damaged.
fn unpack(body: ManifestBodyRow, size: u64) -> Option<Bytes> {
    Unpacker::new()?.unpack(body, size)
}

/// Unpacks one body after another with the same memory, whose making takes longer than a short body.
pub(super) struct Unpacker(zstd::bulk::Decompressor<'static>);

impl Unpacker {
    /// `None` if there is no memory for it.
    pub fn new() -> Option<Self> {
        zstd::bulk::Decompressor::new().ok().map(Unpacker)
    }

    /// The bytes that [`pack`] was given, of which there were `size`; `None` if the row is damaged.
    pub fn unpack(&mut self, body: ManifestBodyRow, size: u64) -> Option<Bytes> {
        if !body.compressed {
            return Some(body.bytes);
        }
        let capacity = usize::try_from(size)
            .ok()
            .filter(|&size| size <= MANIFEST_BYTES_MAX)?;
        self.0
            .decompress(&body.bytes, capacity)
            .ok()
            .map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_back_whether_it_shrinks_or_not() {
        let text = Bytes::from("manifest ".repeat(1000));
        let packed = pack(&text);
        assert!(packed.compressed && packed.bytes.len() < 200);
        assert_eq!(unpack(packed, text.len() as u64), Some(text));
        let short = Bytes::from_static(b"{}");
        let packed = pack(&short);
        assert!(!packed.compressed);
        assert_eq!(unpack(packed, 2), Some(short));
    }

    #[test]
    fn a_damaged_body_is_no_body() {
        let text = Bytes::from("manifest ".repeat(1000));
        let packed = pack(&text);
        assert_eq!(unpack(packed.clone(), text.len() as u64 - 1), None);
        assert_eq!(unpack(packed.clone(), u64::MAX), None);
        let cut = ManifestBodyRow {
            bytes: packed.bytes.slice(..20),
            ..packed
        };
        assert_eq!(unpack(cut, text.len() as u64), None);
    }
}
