//! What each repository holds: counted in the transaction that changes it.
//!
//! Links, manifests and tags are written and taken out through [`put`] and [`take`] alone, which
//! change the repository's counters by what the row in this place counted for before and counts for
//! after. So the counters never are what a count of the rows would not give.

use super::repositories::prefix;
use super::tables::{
    BLOB_LINKS, BlobLinkRow, ContentKey, MANIFESTS, ManifestRow, TAGS, TagKey, TagRow, USAGE,
    UsageRow,
};
use super::{Registry, RegistryError};
use crate::ghostbay::catalog::{CatalogError, Key, Rows, Table, Transaction, Value};
use crate::oci::RepositoryName;

/// A row that counts for its repository.
pub trait Counted: Value {
    /// What it counts for.
    fn weight(&self) -> UsageRow;

    /// What a damaged one counts for, of which only the key is known.
    fn damaged_weight() -> UsageRow;
}

/// The key of something in a repository.
pub trait InRepository: Key {
    /// The repository.
    fn repository(&self) -> &RepositoryName;
}

impl InRepository for ContentKey {
    fn repository(&self) -> &RepositoryName {
        &self.repository
    }
}

impl InRepository for TagKey {
    fn repository(&self) -> &RepositoryName {
        &self.repository
    }
}

impl Counted for BlobLinkRow {
    fn weight(&self) -> UsageRow {
        UsageRow {
            bytes: self.size,
            ..Self::damaged_weight()
        }
    }

    fn damaged_weight() -> UsageRow {
        UsageRow {
            blobs: 1,
            ..UsageRow::default()
        }
    }
}

impl Counted for ManifestRow {
    fn weight(&self) -> UsageRow {
        UsageRow {
            bytes: self.size,
            ..Self::damaged_weight()
        }
    }

    fn damaged_weight() -> UsageRow {
        UsageRow {
            manifests: 1,
            ..UsageRow::default()
        }
    }
}

impl Counted for TagRow {
    fn weight(&self) -> UsageRow {
        Self::damaged_weight()
    }

    fn damaged_weight() -> UsageRow {
        UsageRow {
            tags: 1,
            ..UsageRow::default()
        }
    }
}

impl UsageRow {
    /// This and `more`.
    fn plus(self, more: UsageRow) -> UsageRow {
        UsageRow {
            bytes: self.bytes.saturating_add(more.bytes),
            blobs: self.blobs + more.blobs,
            manifests: self.manifests + more.manifests,
            tags: self.tags + more.tags,
        }
    }

    /// This without `less`; `None` if there is less than that.
    fn minus(self, less: UsageRow) -> Option<UsageRow> {
        Some(UsageRow {
            bytes: self.bytes.checked_sub(less.bytes)?,
            blobs: self.blobs.checked_sub(less.blobs)?,
            manifests: self.manifests.checked_sub(less.manifests)?,
            tags: self.tags.checked_sub(less.tags)?,
        })
    }
}

impl Registry {
    /// What the repository holds: nothing, if there is no such repository.
    pub fn usage(&self, repository: &RepositoryName) -> Result<UsageRow, RegistryError> {
        let rows = self.storage.catalog().read()?;
        Ok(of(&rows, repository)?)
    }
}

/// What the repository holds, as it is counted.
pub(super) fn of(rows: &impl Rows, repository: &RepositoryName) -> Result<UsageRow, CatalogError> {
    Ok(rows.get_sound(&USAGE, repository)?.unwrap_or_default())
}

/// Puts a row that counts.
pub fn put<K: InRepository, V: Counted>(
    transaction: &mut Transaction<'_>,
    table: &Table<K, V>,
    key: &K,
    row: &V,
) -> Result<(), CatalogError> {
    let before = weight_at(transaction, table, key)?;
    transaction.put(table, key, row)?;
    settle(transaction, key.repository(), before, row.weight())
}

/// Takes out a row that counts; whether there was one.
pub fn take<K: InRepository, V: Counted>(
    transaction: &mut Transaction<'_>,
    table: &Table<K, V>,
    key: &K,
) -> Result<bool, CatalogError> {
    let before = weight_at(transaction, table, key)?;
    let found = transaction.delete(table, key)?;
    settle(transaction, key.repository(), before, UsageRow::default())?;
    Ok(found)
}

/// What counts in that place; `None` if the row there is damaged, and what it counted for when it was
/// whole cannot be known.
fn weight_at<K: Key, V: Counted>(
    rows: &impl Rows,
    table: &Table<K, V>,
    key: &K,
) -> Result<Option<UsageRow>, CatalogError> {
    match rows.get(table, key) {
        Ok(row) => Ok(Some(row.map_or_else(UsageRow::default, |row| row.weight()))),
        Err(CatalogError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Changes the counters. Where something is damaged, or was counted wrongly, they are counted again.
fn settle(
    transaction: &mut Transaction<'_>,
    repository: &RepositoryName,
    before: Option<UsageRow>,
    after: UsageRow,
) -> Result<(), CatalogError> {
    let counted = match transaction.get(&USAGE, repository) {
        Ok(row) => Some(row.unwrap_or_default()),
        Err(CatalogError::Corrupt { .. }) => None,
        Err(error) => return Err(error),
    };
    let changed = counted
        .zip(before)
        .and_then(|(counted, before)| counted.plus(after).minus(before));
    match changed {
        Some(changed) if Some(changed) == counted => Ok(()),
        Some(changed) => write(transaction, repository, changed),
        None => {
            tracing::warn!(%repository, "what the repository holds is counted again");
            recount(transaction, repository)
        }
    }
}

fn write(
    transaction: &mut Transaction<'_>,
    repository: &RepositoryName,
    usage: UsageRow,
) -> Result<(), CatalogError> {
    match usage == UsageRow::default() {
        true => transaction.delete(&USAGE, repository).map(drop),
        false => transaction.put(&USAGE, repository, &usage),
    }
}

/// Writes the counters as a count of all rows gives them.
pub(super) fn recount(
    transaction: &mut Transaction<'_>,
    repository: &RepositoryName,
) -> Result<(), CatalogError> {
    let usage = count(transaction, repository)?.usage;
    write(transaction, repository, usage)
}

/// A count of a repository's rows.
#[derive(Default)]
pub(super) struct Count {
    pub(super) usage: UsageRow,
    /// Whether a row was damaged: then there may be more bytes than were counted.
    pub(super) damaged: bool,
}

/// What the repository holds, by a count of all its rows.
pub(super) fn count(rows: &impl Rows, repository: &RepositoryName) -> Result<Count, CatalogError> {
    let mut count = Count::default();
    count.add(rows, &BLOB_LINKS, repository)?;
    count.add(rows, &MANIFESTS, repository)?;
    count.add(rows, &TAGS, repository)?;
    Ok(count)
}

impl Count {
    fn add<K: Key, V: Counted>(
        &mut self,
        rows: &impl Rows,
        table: &Table<K, V>,
        repository: &RepositoryName,
    ) -> Result<(), CatalogError> {
        for row in rows.inspect(table, &prefix(repository), None)? {
            let row = row?;
            self.damaged |= row.row.is_err();
            if row.key.is_some() {
                let weight = row
                    .row
                    .map_or_else(|_| V::damaged_weight(), |row| row.weight());
                self.usage = self.usage.plus(weight);
            }
        }
        Ok(())
    }
}
