//! What becomes of each manifest without a tag.

use std::collections::{HashMap, HashSet};

use super::plan::Repository;
use super::rule::{millis, spell};
use super::tags::recently;
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::oci::Role;
use crate::registry::tables::{ContentKey, EdgeKey, MANIFESTS, ManifestRow, REFERENCES};

/// A chain of subjects or indexes longer than this is kept: nobody makes it but to see what happens.
const CHAIN_MAX: usize = 256;

/// Looks for what keeps manifests. An answer is found once and then known, because a repository's
/// manifests share what keeps them.
pub(super) struct Keeper<'a, R: Rows> {
    pub(super) rows: &'a R,
    pub(super) repository: &'a Repository<'a>,
    /// For how long manifests without a tag stay.
    pub(super) after_ms: u64,
    /// What tags point at.
    pub(super) tagged: HashSet<Digest>,
    /// When the last tag went from what a tag pointed at before.
    pub(super) untagged_ms: HashMap<Digest, u64>,
    pub(super) known: HashMap<Digest, Option<String>>,
}

impl<R: Rows> Keeper<'_, R> {
    /// Since when a manifest has had no tag: since it was pushed, or since its last tag went.
    pub(super) fn since_ms(&self, digest: &Digest, row: &ManifestRow) -> u64 {
        let left = self.untagged_ms.get(digest).copied().unwrap_or_default();
        row.pushed_ms.max(left)
    }

    /// Why a manifest is kept, if it is.
    pub(super) fn kept(
        &mut self,
        digest: &Digest,
        row: &ManifestRow,
    ) -> Result<Option<String>, CatalogError> {
        self.kept_below(digest, row, 0)
    }

    fn kept_below(
        &mut self,
        digest: &Digest,
        row: &ManifestRow,
        length: usize,
    ) -> Result<Option<String>, CatalogError> {
        if let Some(known) = self.known.get(digest) {
            return Ok(known.clone());
        }
        if length > CHAIN_MAX {
            return Ok(Some("what it belongs to is too long a chain".to_owned()));
        }
        let reason = match self.by_itself(digest, row)? {
            None => self.by_others(digest, row, length)?,
            reason => reason,
        };
        self.known.insert(*digest, reason.clone());
        Ok(reason)
    }

    fn by_itself(
        &self,
        digest: &Digest,
        row: &ManifestRow,
    ) -> Result<Option<String>, CatalogError> {
        if self.tagged.contains(digest) {
            return Ok(Some("it has a tag".to_owned()));
        }
        let since_ms = self.since_ms(digest, row);
        if since_ms.saturating_add(self.after_ms) > self.repository.now_ms {
            return Ok(Some(format!(
                "without a tag for {} only, and delete_untagged_after is {}",
                self.repository.age(since_ms),
                spell(self.after_ms)
            )));
        }
        let key = ContentKey::new(self.repository.name, digest);
        recently(self.rows, self.repository, &key, row.pushed_ms)
    }

    fn by_others(
        &mut self,
        digest: &Digest,
        row: &ManifestRow,
        length: usize,
    ) -> Result<Option<String>, CatalogError> {
        for index in self.indexes_of(digest)? {
            let key = ContentKey::new(self.repository.name, &index);
            if let Some(row) = self.rows.get_sound(&MANIFESTS, &key)?
                && self.kept_below(&index, &row, length + 1)?.is_some()
            {
                return Ok(Some(format!("listed by index {index}, which is kept")));
            }
        }
        if let Some(subject) = row.subject {
            let key = ContentKey::new(self.repository.name, &subject);
            if let Some(row) = self.rows.get_sound(&MANIFESTS, &key)?
                && self.kept_below(&subject, &row, length + 1)?.is_some()
            {
                return Ok(Some(format!("it is about {subject}, which is kept")));
            }
        }
        Ok(None)
    }

    /// The manifests that list it as a child.
    fn indexes_of(&self, digest: &Digest) -> Result<Vec<Digest>, CatalogError> {
        let prefix = EdgeKey::prefix(self.repository.name, digest);
        let mut indexes = Vec::new();
        for row in self.rows.inspect(&REFERENCES, &prefix, None)? {
            let row = row?;
            // A damaged row may be of any role.
            let lists = row
                .row
                .map_or(true, |row| row.has(Role::Child) && !row.is_of_deleted());
            indexes.extend(row.key.filter(|_| lists).map(|edge| edge.source));
        }
        Ok(indexes)
    }
}

/// A time as the rule has it.
pub(super) fn after_ms(repository: &Repository<'_>) -> Option<u64> {
    repository.rule.delete_untagged_after.map(millis)
}
