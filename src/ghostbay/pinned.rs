//! Reading what a row names while others delete, compact and give space back.
//!
//! The protocol: look at the row in a snapshot; pin its extents; look at the row in a *fresh*
//! snapshot. If it still names them, the pin was there before any transaction that releases them,
//! and the reclaimer, which looks at the pins once a release is committed, leaves them alone
//! (ORDERING.md, O11). If it names others, as behind a compaction, the same begins again with those.
//! Without the second look, a row could be released, and its extents given back, between the look
//! and the pin.

use super::catalog::{Catalog, CatalogError, Snapshot};
use super::multipart::{Joined, PartRow};
use super::objects::ObjectRow;
use super::pack::pins::Pin;
use super::pack::{Extent, PackSpace};
use super::uploads::UploadRow;

/// A row, and the pin of what it names.
pub struct Pinned<T> {
    /// The row.
    pub row: T,
    /// Its extents stay until this is dropped.
    pub pin: Pin,
}

/// Where a check reads its rows, beside the catalog of a running store.
pub trait Snapshots {
    /// The state after the last commit.
    fn snapshot(&self) -> Result<Snapshot, CatalogError>;
}

impl Snapshots for Catalog {
    fn snapshot(&self) -> Result<Snapshot, CatalogError> {
        self.read()
    }
}

/// Something whose bytes lie in extents.
pub trait Stored {
    /// Where they lie, in order.
    fn extents(&self) -> &[Extent];
}

impl Stored for Vec<Extent> {
    fn extents(&self) -> &[Extent] {
        self
    }
}

impl Stored for ObjectRow {
    fn extents(&self) -> &[Extent] {
        &self.extents
    }
}

impl Stored for UploadRow {
    fn extents(&self) -> &[Extent] {
        &self.extents
    }
}

impl Stored for PartRow {
    fn extents(&self) -> &[Extent] {
        &self.extents
    }
}

impl Stored for Joined {
    fn extents(&self) -> &[Extent] {
        &self.extents
    }
}

/// Looks a row up with `look` and pins its extents.
pub fn pinned<T: Stored, E: From<CatalogError>>(
    source: &impl Snapshots,
    space: &PackSpace,
    look: impl Fn(&Snapshot) -> Result<Option<T>, E>,
) -> Result<Option<Pinned<T>>, E> {
    let mut found = look(&source.snapshot()?)?;
    while let Some(row) = found {
        let pin = space.pins().pin(row.extents());
        match look(&source.snapshot()?)? {
            Some(again) if again.extents() == row.extents() => {
                return Ok(Some(Pinned { row: again, pin }));
            }
            other => found = other,
        }
    }
    Ok(None)
}
