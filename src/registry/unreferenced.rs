//! The queue of blobs that no manifest of their repository is made of.
//!
//! A link that no manifest points at has its row here, under the moment that it was linked at.
//! Who makes such a link puts it in: a push or a mount, and the purge of the last manifest. A
//! manifest that comes to point at it leaves the row be; the collector drops it when it is due.

use super::tables::{BLOB_LINKS, ContentKey, MomentKey, UNREFERENCED};
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};

/// Puts the repository's blob in, if the repository holds it.
pub(super) fn put_in(
    transaction: &mut Transaction<'_>,
    key: &ContentKey,
) -> Result<(), CatalogError> {
    // A damaged link is for a check to write again, which puts it in.
    match transaction.get_sound(&BLOB_LINKS, key)? {
        Some(link) => transaction.put(&UNREFERENCED, &MomentKey::new(link.linked_ms, key), &()),
        None => Ok(()),
    }
}

/// Takes it out, before its link goes or is made anew.
pub(super) fn take_out(
    transaction: &mut Transaction<'_>,
    key: &ContentKey,
) -> Result<(), CatalogError> {
    if let Some(link) = transaction.get_sound(&BLOB_LINKS, key)? {
        transaction.delete(&UNREFERENCED, &MomentKey::new(link.linked_ms, key))?;
    }
    Ok(())
}
