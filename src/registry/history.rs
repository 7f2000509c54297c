//! The tags' history: what each pointed at, since when and by whose doing, and the way back.

use serde::{Deserialize, Serialize};

use super::tables::{
    ContentKey, DELETED_MANIFESTS, MANIFESTS, TAG_HISTORY, TAGS, TagChange, TagKey, TagMomentKey,
    TagMomentRow,
};
use super::{Deed, Registry, RegistryError};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Key, KeyWriter, Rows, Transaction};
use crate::oci::{Reference, RepositoryName, Tag};

/// Changes of one tag that are kept; older ones are forgotten.
pub const CHANGES_MAX: u32 = 1_000;

/// A change of a tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagMoment {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    pub change: TagChange,
    /// The manifest that it points at from then on, or pointed at until then.
    pub digest: Digest,
    /// By whom, where that is known.
    pub by: Option<String>,
    /// What has become of the manifest.
    pub manifest: Presence,
}

/// Whether something is there.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It is there.
    Live,
    /// It was deleted, and can come back.
    Deleted,
    /// It is gone for good.
    Purged,
}

impl Registry {
    /// The changes of a tag, newest first.
    pub fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Vec<TagMoment>, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let key = TagKey::new(repository, tag);
        let mut moments = Vec::new();
        for row in rows.scan_sound(&TAG_HISTORY, &prefix(&key), None)? {
            let (_, row) = row?;
            let content = ContentKey::new(repository, &row.digest);
            moments.push(TagMoment {
                at_ms: row.at_ms,
                change: row.change,
                digest: row.digest,
                by: row.by,
                manifest: presence(&rows, &content)?,
            });
        }
        match moments.is_empty() {
            true => Err(unknown(&key)),
            false => Ok(moments),
        }
    }

    /// Points a tag back at a manifest that it pointed at before: at `to`, or at the one before
    /// the present. A manifest that was deleted comes back with it, if the quota has room. Where it
    /// points now.
    pub async fn rollback_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        to: Option<&Digest>,
    ) -> Result<Digest, RegistryError> {
        let key = TagKey::new(repository, tag);
        let digest = {
            let rows = self.storage.catalog().read()?;
            let now = rows.get_sound(&TAGS, &key)?.ok_or_else(|| unknown(&key))?;
            let mut earlier = rows
                .scan_sound(&TAG_HISTORY, &prefix(&key), None)?
                .map(|row| row.map(|(_, row)| row.digest));
            let found = earlier.find(|digest| match (digest, to) {
                (Err(_), _) => true,
                (Ok(digest), Some(to)) => digest == to,
                (Ok(digest), None) => *digest != now.digest,
            });
            found
                .transpose()?
                .ok_or_else(|| RegistryError::NotInHistory {
                    repository: repository.clone(),
                    tag: tag.clone(),
                    digest: to.copied(),
                })?
        };
        self.point_back(key, digest, TagChange::RolledBack).await?;
        Ok(digest)
    }

    /// Brings a deleted tag back, and its manifest if that was deleted as well; refused where the
    /// quota has no room. Where it points.
    pub async fn undelete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Digest, RegistryError> {
        let key = TagKey::new(repository, tag);
        let last = {
            let rows = self.storage.catalog().read()?;
            if rows.contains(&TAGS, &key)? {
                return Err(RegistryError::NotDeleted {
                    what: format!("tag {repository}:{tag}"),
                });
            }
            let mut changes = rows.scan_sound(&TAG_HISTORY, &prefix(&key), None)?;
            let last = changes.next().transpose()?;
            last.ok_or_else(|| unknown(&key))?.1
        };
        self.point_back(key, last.digest, TagChange::Undeleted)
            .await?;
        Ok(last.digest)
    }
}

fn unknown(key: &TagKey) -> RegistryError {
    RegistryError::ManifestUnknown {
        repository: key.repository.clone(),
        reference: Reference::Tag(key.tag.clone()),
    }
}

/// Whether a manifest is there.
pub(super) fn presence(rows: &impl Rows, key: &ContentKey) -> Result<Presence, CatalogError> {
    if rows.contains(&MANIFESTS, key)? {
        return Ok(Presence::Live);
    }
    Ok(match rows.contains(&DELETED_MANIFESTS, key)? {
        true => Presence::Deleted,
        false => Presence::Purged,
    })
}

/// What the keys of all changes of a tag begin with.
fn prefix(key: &TagKey) -> Vec<u8> {
    let mut out = KeyWriter::new();
    key.encode(&mut out);
    out.into_bytes()
}

/// Notes a change of a tag, in the transaction that makes it.
pub(super) fn note(
    transaction: &mut Transaction<'_>,
    tag: &TagKey,
    digest: &Digest,
    change: TagChange,
    deed: &Deed,
) -> Result<(), CatalogError> {
    let last = transaction
        .inspect(&TAG_HISTORY, &prefix(tag), None)?
        .next()
        .transpose()?;
    let numbered = |number| TagMomentKey {
        repository: tag.repository.clone(),
        tag: tag.tag.clone(),
        number,
    };
    let number = last
        .and_then(|row| row.key)
        .map_or(0, |key| key.number.saturating_add(1));
    let row = TagMomentRow {
        at_ms: deed.at_ms,
        digest: *digest,
        change,
        by: deed.by.clone(),
    };
    transaction.put(&TAG_HISTORY, &numbered(number), &row)?;
    if let Some(oldest) = number.checked_sub(CHANGES_MAX) {
        transaction.delete(&TAG_HISTORY, &numbered(oldest))?;
    }
    Ok(())
}
