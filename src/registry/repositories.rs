//! Repositories: they come with their first blob or manifest and go with their last.

use super::tables::{
    BLOB_LINKS, ContentKey, DELETED_MANIFESTS, MANIFESTS, REPOSITORIES, RepositoryRow,
};
use super::{Listing, Page, Registry, RegistryError};
use crate::ghostbay::catalog::{CatalogError, Key, KeyWriter, Rows, Table, Transaction, Value};
use crate::ghostbay::now_ms;
use crate::oci::RepositoryName;

impl Registry {
    /// The repositories that the caller may see, by name. Those that it may not see leave no
    /// trace, neither in the names nor in `more`.
    pub fn repositories(
        &self,
        page: Page,
        may_see: impl Fn(&RepositoryName) -> bool,
    ) -> Result<Listing, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let after = page.last.map(|last| after_text(&[], &last));
        let names = rows
            .scan_sound(&REPOSITORIES, &[], after.as_deref())?
            .filter(|row| {
                row.as_ref()
                    .map_or(true, |(_, row)| row.deleted_ms.is_none())
            })
            .map(|row| row.map(|(name, _)| name))
            .filter(|name| name.as_ref().map_or(true, &may_see))
            .map(|name| name.map(|name| name.to_string()));
        Ok(Listing::collect(page.limit, names)?)
    }
}

/// What the keys of everything in a repository begin with.
pub(super) fn prefix(repository: &RepositoryName) -> Vec<u8> {
    let mut out = KeyWriter::new();
    repository.encode(&mut out);
    out.into_bytes()
}

/// Where a scan goes on behind a text field that a client gave. The text is not parsed: it may
/// be any, even with a NUL in it, and only its place in the order counts.
pub(super) fn after_text(prefix: &[u8], last: &str) -> Vec<u8> {
    let mut out = KeyWriter::new();
    out.raw(prefix).raw(last.as_bytes()).raw(&[0]);
    out.into_bytes()
}

/// Whether there is such a repository. One whose row is damaged is there.
pub(super) fn exists(rows: &impl Rows, repository: &RepositoryName) -> Result<bool, CatalogError> {
    match rows.get_sound(&REPOSITORIES, repository)? {
        Some(row) => Ok(row.deleted_ms.is_none()),
        None => rows.contains(&REPOSITORIES, repository),
    }
}

/// Makes the repository's row if this is its first content, also behind its deletion.
pub(super) fn enter(
    transaction: &mut Transaction<'_>,
    repository: &RepositoryName,
    now_ms: u64,
) -> Result<(), CatalogError> {
    let row = match transaction.get_sound(&REPOSITORIES, repository)? {
        Some(row) if row.deleted_ms.is_none() => return Ok(()),
        Some(deleted) => RepositoryRow {
            deleted_ms: None,
            ..deleted
        },
        None => RepositoryRow {
            created_ms: now_ms,
            deleted_ms: None,
        },
    };
    transaction.put(&REPOSITORIES, repository, &row)
}

/// Makes the row of a repository that holds something and has none.
pub(super) fn mend(
    transaction: &mut Transaction<'_>,
    repository: &RepositoryName,
) -> Result<(), CatalogError> {
    let is_empty = holds_none(transaction, &BLOB_LINKS, repository)?
        && holds_none(transaction, &MANIFESTS, repository)?;
    match is_empty {
        true => Ok(()),
        false => enter(transaction, repository, now_ms()),
    }
}

/// Takes the repository's row away if nothing is left in it. That of a deleted one stays for as
/// long as something of it can come back.
pub(super) fn leave(
    transaction: &mut Transaction<'_>,
    repository: &RepositoryName,
) -> Result<(), CatalogError> {
    let is_empty = holds_none(transaction, &BLOB_LINKS, repository)?
        && holds_none(transaction, &MANIFESTS, repository)?;
    if !is_empty {
        return Ok(());
    }
    let row = transaction.get_sound(&REPOSITORIES, repository)?;
    if row.is_some_and(|row| row.deleted_ms.is_some())
        && !holds_none(transaction, &DELETED_MANIFESTS, repository)?
    {
        return Ok(());
    }
    transaction.delete(&REPOSITORIES, repository).map(drop)
}

pub(super) fn holds_none<V: Value>(
    rows: &impl Rows,
    table: &Table<ContentKey, V>,
    repository: &RepositoryName,
) -> Result<bool, CatalogError> {
    // A damaged row is content as well: pushing it again heals it.
    let first = rows.inspect(table, &prefix(repository), None)?.next();
    Ok(first.transpose()?.is_none())
}
