//! Tags: listing, pointing, deleting.

use super::repositories::{self, after_text, prefix};
use super::tables::{ContentKey, TAGS, TAGS_BY_DIGEST, TagChange, TagKey, TagOfKey, TagRow};
use super::{Deed, Listing, Page, Registry, RegistryError, history, usage};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Key, KeyWriter, Rows, Transaction};
use crate::ghostbay::now_ms;
use crate::oci::{Reference, RepositoryName, Tag};

impl Registry {
    /// The repository's tags (distribution-spec, "Listing Tags").
    pub fn tags(&self, repository: &RepositoryName, page: Page) -> Result<Listing, RegistryError> {
        let rows = self.storage.catalog().read()?;
        if !repositories::exists(&rows, repository)? {
            return Err(RegistryError::NameUnknown {
                repository: repository.clone(),
            });
        }
        let prefix = prefix(repository);
        let after = page.last.map(|last| after_text(&prefix, &last));
        let tags = rows
            .scan_sound(&TAGS, &prefix, after.as_deref())?
            .map(|row| row.map(|(key, _)| key.tag.to_string()));
        Ok(Listing::collect(page.limit, tags)?)
    }

    /// Deletes a tag; the manifest stays, and the history knows where it pointed.
    pub async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<(), RegistryError> {
        self.check_delete()?;
        let key = TagKey::new(repository, tag);
        let (deed, options) = (self.deed(), self.options.clone());
        self.storage
            .catalog()
            .transact(move |transaction| {
                let Some(row) = transaction.get_sound(&TAGS, &key)? else {
                    return Err(RegistryError::ManifestUnknown {
                        repository: key.repository.clone(),
                        reference: Reference::Tag(key.tag.clone()),
                    });
                };
                options.immutable.release(&key.repository, &key.tag)?;
                Ok(delete(transaction, &key, &row.digest, &deed)?)
            })
            .await
    }

    /// Deletes a tag, and with `purge` its manifest as well and for good, if no other tag points at it and
    /// no index lists it. Where the tag pointed, and whether that manifest is gone.
    pub async fn untag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        purge: bool,
    ) -> Result<(Digest, bool), RegistryError> {
        let digest = self.tag_target(repository, tag)?;
        self.delete_tag(repository, tag).await?;
        if !purge || self.is_tagged(repository, &digest)? {
            return Ok((digest, false));
        }
        match self.purge_manifest(repository, &digest).await {
            Ok(()) => Ok((digest, true)),
            Err(RegistryError::StillReferenced { .. } | RegistryError::ManifestUnknown { .. }) => {
                Ok((digest, false))
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes a tag that still is as it was found; whether it was. For a thread that may block.
    pub(super) fn delete_tag_as_found(
        &self,
        key: TagKey,
        found: TagRow,
    ) -> Result<bool, RegistryError> {
        let (deed, options) = (self.deed(), self.options.clone());
        let delete = move |transaction: &mut Transaction<'_>| {
            if transaction.get_sound(&TAGS, &key)?.as_ref() != Some(&found) {
                return Ok(false);
            }
            options.immutable.release(&key.repository, &key.tag)?;
            delete(transaction, &key, &found.digest, &deed)?;
            Ok::<_, RegistryError>(true)
        };
        self.storage.catalog().transact_blocking(delete)?
    }
}

/// Takes a tag out that points at the manifest, and notes it.
fn delete(
    transaction: &mut Transaction<'_>,
    key: &TagKey,
    digest: &Digest,
    deed: &Deed,
) -> Result<(), CatalogError> {
    usage::take(transaction, &TAGS, key)?;
    transaction.delete(&TAGS_BY_DIGEST, &key.of(digest))?;
    history::note(transaction, key, digest, TagChange::Deleted, deed)
}

impl TagKey {
    /// The key the other way round.
    pub(super) fn of(&self, digest: &Digest) -> TagOfKey {
        TagOfKey {
            repository: self.repository.clone(),
            digest: *digest,
            tag: self.tag.clone(),
        }
    }
}

/// Points a tag at a manifest, away from any other.
pub(super) fn point(
    transaction: &mut Transaction<'_>,
    key: &TagKey,
    digest: &Digest,
    change: TagChange,
    deed: &Deed,
) -> Result<(), CatalogError> {
    let before = transaction.get_sound(&TAGS, key)?;
    match &before {
        Some(row) if row.digest != *digest => {
            transaction.delete(&TAGS_BY_DIGEST, &key.of(&row.digest))?;
        }
        None if transaction.contains(&TAGS, key)? => forget_damaged(transaction, key)?,
        _ => {}
    }
    let row = TagRow {
        digest: *digest,
        tagged_ms: deed.at_ms,
    };
    usage::put(transaction, &TAGS, key, &row)?;
    transaction.put(&TAGS_BY_DIGEST, &key.of(digest), &())?;
    // The same again is no change.
    match before.is_some_and(|before| before.digest == *digest) {
        true => Ok(()),
        false => history::note(transaction, key, digest, change, deed),
    }
}

/// Whether a tag points nowhere.
pub(super) fn is_free(rows: &impl Rows, key: &TagKey) -> Result<bool, CatalogError> {
    Ok(!rows.contains(&TAGS, key)?)
}

/// Gives a tag whose row is damaged the manifest that lists it, or takes it out if none or several
/// do.
pub(super) fn mend(transaction: &mut Transaction<'_>, key: &TagKey) -> Result<(), CatalogError> {
    if transaction.get_sound(&TAGS, key)?.is_some() || !transaction.contains(&TAGS, key)? {
        return Ok(());
    }
    let listing: Vec<TagOfKey> = listing_tag(transaction, key)?;
    match listing.as_slice() {
        [of] => {
            let row = TagRow {
                digest: of.digest,
                tagged_ms: now_ms(),
            };
            usage::put(transaction, &TAGS, key, &row)
        }
        _ => {
            for of in &listing {
                transaction.delete(&TAGS_BY_DIGEST, of)?;
            }
            usage::take(transaction, &TAGS, key).map(drop)
        }
    }
}

/// The rows by which manifests list a tag: one, unless something is damaged.
fn listing_tag(rows: &impl Rows, key: &TagKey) -> Result<Vec<TagOfKey>, CatalogError> {
    rows.scan_sound(&TAGS_BY_DIGEST, &prefix(&key.repository), None)?
        .filter(|row| row.as_ref().map_or(true, |(of, ())| of.tag == key.tag))
        .map(|row| row.map(|(of, ())| of))
        .collect()
}

/// Takes out what a tag is under the other way round, if its own row does not tell any more. Left
/// there, it would take the tag along when the manifest that it pointed at is deleted.
fn forget_damaged(transaction: &mut Transaction<'_>, key: &TagKey) -> Result<(), CatalogError> {
    for of in listing_tag(transaction, key)? {
        transaction.delete(&TAGS_BY_DIGEST, &of)?;
    }
    Ok(())
}

/// All tags that point at a manifest.
pub(super) fn all_of(
    rows: &impl Rows,
    manifest: &ContentKey,
) -> Result<Vec<TagOfKey>, CatalogError> {
    let mut prefix = KeyWriter::new();
    manifest.encode(&mut prefix);
    rows.scan_sound(&TAGS_BY_DIGEST, prefix.as_bytes(), None)?
        .map(|row| row.map(|(key, ())| key))
        .collect()
}

/// Deletes all tags that point at a manifest, which goes as well; which those are.
pub(super) fn drop_all_of(
    transaction: &mut Transaction<'_>,
    manifest: &ContentKey,
    deed: &Deed,
) -> Result<Vec<Tag>, CatalogError> {
    let mut tags = Vec::new();
    for of in all_of(transaction, manifest)? {
        let key = TagKey::new(&of.repository, &of.tag);
        usage::take(transaction, &TAGS, &key)?;
        transaction.delete(&TAGS_BY_DIGEST, &of)?;
        let change = TagChange::DeletedWithManifest;
        history::note(transaction, &key, &of.digest, change, deed)?;
        tags.push(of.tag);
    }
    Ok(tags)
}
