//! Two states of the catalog, side by side.

use super::error::CatalogError;
use super::table::{RawRow, Rows, Snapshot};

/// A row in which two states differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowChange {
    /// Its key, with its table's id before it.
    pub key: Vec<u8>,
    /// What it is in the one.
    pub before: Option<Vec<u8>>,
    /// What it is in the other.
    pub after: Option<Vec<u8>>,
}

/// Gives each row in which `after` differs from `before`, in the order of the keys.
pub fn compare(
    before: &Snapshot,
    after: &Snapshot,
    mut tell: impl FnMut(RowChange),
) -> Result<(), CatalogError> {
    let mut old = before.raw().range(&[], false, &[u8::MAX])?;
    let mut new = after.raw().range(&[], false, &[u8::MAX])?;
    let (mut left, mut right) = (next(&mut old)?, next(&mut new)?);
    loop {
        let order = match (&left, &right) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let take_left = order.is_le().then(|| left.take()).flatten();
        let take_right = order.is_ge().then(|| right.take()).flatten();
        if order.is_le() {
            left = next(&mut old)?;
        }
        if order.is_ge() {
            right = next(&mut new)?;
        }
        match (take_left, take_right) {
            (Some((key, before)), Some((_, after))) if before != after => tell(RowChange {
                key,
                before: Some(before),
                after: Some(after),
            }),
            (Some((key, before)), None) => tell(RowChange {
                key,
                before: Some(before),
                after: None,
            }),
            (None, Some((key, after))) => tell(RowChange {
                key,
                before: None,
                after: Some(after),
            }),
            _ => {}
        }
    }
}

fn next(
    rows: &mut dyn Iterator<Item = Result<RawRow, CatalogError>>,
) -> Result<Option<RawRow>, CatalogError> {
    rows.next().transpose()
}
