//! When manifests lost their tags, as the history of the tags has it.

use std::collections::HashMap;

use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::oci::{RepositoryName, Tag};
use crate::registry::repositories;
use crate::registry::tables::{TAG_HISTORY, TagMomentRow};

/// For each manifest that a tag has left, when the last one did, in milliseconds since 1970.
pub(super) fn of(
    rows: &impl Rows,
    repository: &RepositoryName,
) -> Result<HashMap<Digest, u64>, CatalogError> {
    let mut left = HashMap::new();
    let mut later: Option<(Tag, TagMomentRow)> = None;
    // The changes of a tag come newest first.
    for row in rows.scan_sound(&TAG_HISTORY, &repositories::prefix(repository), None)? {
        let (key, row) = row?;
        let moved_ms = later
            .take()
            .filter(|(tag, later)| *tag == key.tag && later.digest != row.digest)
            .map(|(_, later)| later.at_ms);
        let at_ms = match row.change.is_delete() {
            true => Some(row.at_ms),
            false => moved_ms,
        };
        if let Some(at_ms) = at_ms {
            let last = left.entry(row.digest).or_insert(at_ms);
            *last = at_ms.max(*last);
        }
        later = Some((key.tag, row));
    }
    Ok(left)
}
