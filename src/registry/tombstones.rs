//! Manifests that were deleted: out of sight at once, and to be had again until they are purged.
//!
//! A tombstone keeps the manifest's row and the tags that went with it. The body stays where it
//! is, and so do the edges, marked: they keep the blobs from the collector and stand in nobody's
//! way. A push of the same digest, or an undelete, ends the tombstone; a purge takes body, edges
//! and tombstone, and puts the blobs into the queue of those that nothing refers to.

use std::collections::BTreeMap;

use super::manifests::body_of;
use super::push::{Push, PutManifest, parts};
use super::quotas::Quota;
use super::tables::{
    ContentKey, DELETED_BY_TIME, DELETED_MANIFESTS, DeletedManifestRow, EdgeKey, MANIFEST_BODIES,
    MANIFESTS, ManifestRow, MomentKey, PULLS, REFERENCES, REFERRERS, ReferenceRow, TagChange,
    TagKey,
};
use super::{
    Deed, MissingReferences, Registry, RegistryError, annotations, repositories, tags,
    unreferenced, usage,
};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::ghostbay::now_ms;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::oci::{Manifest, Reference, RepositoryName, Tag};

/// Manifests that one undelete brings back at most: an index and what it lists.
const REVIVED_MAX: usize = 10_000;

/// What a manifest of the repository is made of, with the edges that say so.
pub(super) type Edges = BTreeMap<Digest, ReferenceRow>;

/// The edges of a manifest, live or deleted, as its bytes tell them. It never changes for a digest,
/// so it can be read before the transaction that needs it. Where the bytes are damaged, the
/// repository's edges are searched.
pub(super) fn edges_of(rows: &impl Rows, key: &ContentKey) -> Result<Edges, CatalogError> {
    if let Some(manifest) = read(rows, key)?.map(|(manifest, _)| manifest) {
        return Ok(edges(&manifest));
    }
    let mut found = Edges::new();
    let prefix = repositories::prefix(&key.repository);
    for row in rows.inspect(&REFERENCES, &prefix, None)? {
        let row = row?;
        if let Some(edge) = row.key.filter(|edge| edge.source == key.digest) {
            found.insert(edge.target, row.row.unwrap_or_default());
        }
    }
    Ok(found)
}

/// As [`edges_of`]; `None` if the manifest's bytes are not whole.
pub(super) fn edges_of_whole(
    rows: &impl Rows,
    key: &ContentKey,
) -> Result<Option<Edges>, CatalogError> {
    Ok(read(rows, key)?.map(|(manifest, _)| edges(&manifest)))
}

/// Writes the rows of a damaged tombstone again, by the manifest's bytes; purges it if these are
/// damaged as well. What the bytes do not tell begins anew: it was deleted now, without tags.
pub(super) fn mend(
    transaction: &mut Transaction<'_>,
    key: &ContentKey,
) -> Result<(), CatalogError> {
    if !transaction.contains(&DELETED_MANIFESTS, key)? || transaction.contains(&MANIFESTS, key)? {
        return end(transaction, key);
    }
    let body = transaction.get_sound(&MANIFEST_BODIES, key)?;
    let bytes = body.and_then(|body| body_of(&key.digest, body, MANIFEST_BYTES_MAX as u64));
    let manifest = bytes.and_then(|bytes| {
        let manifest = Manifest::parse(&bytes, None).ok()?;
        Some((manifest, bytes.len() as u64))
    });
    let Some((manifest, size)) = manifest else {
        let edges = edges_of(transaction, key)?;
        return purge(transaction, key, &edges);
    };
    let tombstone = match tombstone(transaction, key)? {
        Some(tombstone) => tombstone,
        None => DeletedManifestRow {
            manifest: ManifestRow {
                media_type: manifest.kind().as_str().into(),
                artifact_type: manifest.referrer_artifact_type().map(str::to_owned),
                size,
                subject: manifest.subject().map(|subject| subject.digest()),
                depth: 0,
                pushed_ms: now_ms(),
            },
            deleted_ms: now_ms(),
            by: None,
            tags: Vec::new(),
        },
    };
    let moment = MomentKey::new(tombstone.deleted_ms, key);
    transaction.put(&DELETED_MANIFESTS, key, &tombstone)?;
    transaction.put(&DELETED_BY_TIME, &moment, &())?;
    for (target, reference) in edges(&manifest) {
        let edge = edge(key, &target);
        transaction.put(&REFERENCES, &edge, &reference.of_deleted())?;
    }
    Ok(())
}

/// As [`edges_of`], of a manifest that was read.
pub(super) fn edges(manifest: &Manifest) -> Edges {
    // Which parts must be there is of no matter here.
    parts(manifest, MissingReferences::Allow)
        .into_iter()
        .map(|(digest, part)| (digest, part.reference))
        .collect()
}

/// A manifest's bytes, live or deleted, and what they say; `None` if they are not whole.
fn read(
    rows: &impl Rows,
    key: &ContentKey,
) -> Result<Option<(Manifest, bytes::Bytes)>, CatalogError> {
    let row = match rows.get_sound(&MANIFESTS, key)? {
        Some(row) => Some(row),
        None => tombstone(rows, key)?.map(|tombstone| tombstone.manifest),
    };
    let body = rows.get_sound(&MANIFEST_BODIES, key)?;
    Ok(row.zip(body).and_then(|(row, body)| {
        let bytes = body_of(&key.digest, body, row.size)?;
        let manifest = Manifest::parse(&bytes, Some(&row.media_type)).ok()?;
        Some((manifest, bytes))
    }))
}

/// The tombstone of a manifest.
pub(super) fn tombstone(
    rows: &impl Rows,
    key: &ContentKey,
) -> Result<Option<DeletedManifestRow>, CatalogError> {
    rows.get_sound(&DELETED_MANIFESTS, key)
}

/// Makes a manifest a tombstone, and takes its tags along; nothing happens if it is not live. One
/// whose row is damaged cannot come back, and is purged.
pub(super) fn entomb(
    transaction: &mut Transaction<'_>,
    key: &ContentKey,
    edges: &Edges,
    deed: &Deed,
) -> Result<(), CatalogError> {
    let row = transaction.get_sound(&MANIFESTS, key)?;
    if !usage::take(transaction, &MANIFESTS, key)? {
        return Ok(());
    }
    let tags = tags::drop_all_of(transaction, key, deed)?;
    let Some(row) = row else {
        return purge(transaction, key, edges);
    };
    for (target, reference) in edges {
        let edge = edge(key, target);
        transaction.put(&REFERENCES, &edge, &reference.of_deleted())?;
    }
    if let Some(subject) = &row.subject {
        transaction.delete(&REFERRERS, &edge(key, subject))?;
    }
    let tombstone = DeletedManifestRow {
        manifest: row,
        deleted_ms: deed.at_ms,
        by: deed.by.clone(),
        tags,
    };
    transaction.put(&DELETED_MANIFESTS, key, &tombstone)?;
    transaction.put(&DELETED_BY_TIME, &MomentKey::new(deed.at_ms, key), &())?;
    repositories::leave(transaction, &key.repository)
}

/// Ends a tombstone, if there is one: the manifest is there again, or gone for good.
pub(super) fn end(transaction: &mut Transaction<'_>, key: &ContentKey) -> Result<(), CatalogError> {
    if let Some(tombstone) = tombstone(transaction, key)? {
        transaction.delete(&DELETED_BY_TIME, &MomentKey::new(tombstone.deleted_ms, key))?;
    }
    transaction.delete(&DELETED_MANIFESTS, key).map(drop)
}

/// Takes a manifest that is not live any more out for good. What it was made of goes to the queue.
pub(super) fn purge(
    transaction: &mut Transaction<'_>,
    key: &ContentKey,
    edges: &Edges,
) -> Result<(), CatalogError> {
    annotations::leave(transaction, key)?;
    end(transaction, key)?;
    transaction.delete(&MANIFEST_BODIES, key)?;
    transaction.delete(&PULLS, key)?;
    for target in edges.keys() {
        transaction.delete(&REFERENCES, &edge(key, target))?;
        unreferenced::put_in(transaction, &ContentKey::new(&key.repository, target))?;
    }
    repositories::leave(transaction, &key.repository)
}

fn edge(of: &ContentKey, target: &Digest) -> EdgeKey {
    EdgeKey {
        repository: of.repository.clone(),
        target: *target,
        source: of.digest,
    }
}

/// A tombstone that is to be a manifest again.
pub(super) struct Revival {
    key: ContentKey,
    push: Push,
}

impl Revival {
    /// The same rows as its push made, at the time of its push, unless it has come back meanwhile.
    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<(), RegistryError> {
        match tombstone(transaction, &self.key)? {
            Some(_) => self.push.commit(transaction),
            None => Ok(()),
        }
    }
}

/// The tombstones that have to come back for a deleted manifest: its own, and before it those of
/// what it lists, which may have been deleted behind it.
fn revivals(
    rows: &impl Rows,
    key: &ContentKey,
    policy: MissingReferences,
) -> Result<Vec<Revival>, RegistryError> {
    let (mut found, mut waiting) = (Vec::<Revival>::new(), vec![key.clone()]);
    while let Some(key) = waiting.pop() {
        let Some(tombstone) = tombstone(rows, &key)? else {
            continue;
        };
        let Some((manifest, bytes)) = read(rows, &key)? else {
            return Err(purged(&key));
        };
        if found.len() == REVIVED_MAX {
            return Err(RegistryError::TooManyManifests(REVIVED_MAX));
        }
        let put = PutManifest {
            reference: Reference::Digest(key.digest),
            tags: Vec::new(),
            content_type: Some(tombstone.manifest.media_type),
            bytes,
        };
        let push = Push::prepare(&key.repository, put, policy)?;
        for target in edges(&manifest).keys() {
            waiting.push(ContentKey::new(&key.repository, target));
        }
        let push = push.pushed_at(tombstone.manifest.pushed_ms);
        found.push(Revival { key, push });
    }
    // What is listed comes before what lists it.
    found.reverse();
    Ok(found)
}

/// Why a manifest cannot come back.
fn purged(key: &ContentKey) -> RegistryError {
    RegistryError::Purged {
        repository: key.repository.clone(),
        digest: key.digest,
    }
}

impl Registry {
    /// Brings a deleted manifest back, with the tags that went with it and do not point elsewhere
    /// by now, and with what it lists. Refused where the repository's quota has no room for all of it.
    /// The tags that came back.
    pub async fn undelete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Vec<Tag>, RegistryError> {
        let key = ContentKey::new(repository, digest);
        let revivals = {
            let rows = self.storage.catalog().read()?;
            if rows.contains(&MANIFESTS, &key)? {
                return Err(RegistryError::NotDeleted {
                    what: format!("manifest {digest} of repository {repository}"),
                });
            }
            revivals(&rows, &key, self.options.missing_references)?
        };
        if revivals.is_empty() {
            return Err(purged(&key));
        }
        let (deed, quota) = (self.deed(), self.options.quotas.of(repository));
        self.storage
            .catalog()
            .transact(move |transaction| revive(transaction, &key, &revivals, quota, &deed))
            .await
    }

    /// Points a tag at a manifest that may have been deleted, and then comes back.
    pub(super) async fn point_back(
        &self,
        tag: TagKey,
        digest: Digest,
        change: TagChange,
    ) -> Result<(), RegistryError> {
        let key = ContentKey::new(&tag.repository, &digest);
        let revivals = {
            let rows = self.storage.catalog().read()?;
            revivals(&rows, &key, self.options.missing_references)?
        };
        let (deed, options) = (self.deed(), self.options.clone());
        self.storage
            .catalog()
            .transact(move |transaction| {
                let is_new = tags::is_free(transaction, &tag)?;
                if !is_new {
                    options.immutable.release(&tag.repository, &tag.tag)?;
                }
                let quota = options.quotas.of(&tag.repository);
                let bytes = bytes_back(transaction, &revivals)?;
                quota.admit(transaction, &tag.repository, bytes, u64::from(is_new))?;
                for revival in &revivals {
                    revival.apply(transaction)?;
                }
                if !transaction.contains(&MANIFESTS, &key)? {
                    return Err(purged(&key));
                }
                Ok(tags::point(transaction, &tag, &digest, change, &deed)?)
            })
            .await
    }
}

/// The bytes of those that are tombstones yet.
fn bytes_back(rows: &impl Rows, revivals: &[Revival]) -> Result<u64, CatalogError> {
    let mut bytes = 0_u64;
    for revival in revivals {
        let size = tombstone(rows, &revival.key)?.map_or(0, |tombstone| tombstone.manifest.size);
        bytes = bytes.saturating_add(size);
    }
    Ok(bytes)
}

/// Makes all of them manifests again, if the quota has room for them and their tags. The one of `key`
/// gets its tags back, and so do those that were deleted together with it. Which of its tags came back.
fn revive(
    transaction: &mut Transaction<'_>,
    key: &ContentKey,
    revivals: &[Revival],
    quota: Quota,
    deed: &Deed,
) -> Result<Vec<Tag>, RegistryError> {
    let deleted_ms = tombstone(transaction, key)?.map(|tombstone| tombstone.deleted_ms);
    let mut pointing: Vec<(TagKey, Digest)> = Vec::new();
    for revival in revivals {
        let found = tombstone(transaction, &revival.key)?;
        let together = found.filter(|tombstone| Some(tombstone.deleted_ms) == deleted_ms);
        for tag in together.map_or_else(Vec::new, |tombstone| tombstone.tags) {
            let tag = TagKey::new(&key.repository, &tag);
            if tags::is_free(transaction, &tag)? {
                pointing.push((tag, revival.key.digest));
            }
        }
    }
    let bytes = bytes_back(transaction, revivals)?;
    quota.admit(transaction, &key.repository, bytes, pointing.len() as u64)?;
    for revival in revivals {
        revival.apply(transaction)?;
    }
    if !transaction.contains(&MANIFESTS, key)? {
        return Err(purged(key));
    }
    for (tag, digest) in &pointing {
        tags::point(transaction, tag, digest, TagChange::Undeleted, deed)?;
    }
    let own = pointing.into_iter().filter(|(_, of)| *of == key.digest);
    Ok(own.map(|(tag, _)| tag.tag).collect())
}
