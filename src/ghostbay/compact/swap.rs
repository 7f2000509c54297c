//! The transaction that has owners name the copies of their extents.

use std::collections::HashSet;

use super::copy::Moved;
use crate::ghostbay::catalog::{CatalogError, Transaction};
use crate::ghostbay::pack::Extent;
use crate::ghostbay::pack::accounts::{self, Written};

/// Enters the copies, has every owner that still names the originals name them instead, and releases
/// the originals. Copies that nobody takes are released in turn.
pub(super) fn swap(
    transaction: &mut Transaction<'_>,
    moved: &[Moved],
    written: &Written,
) -> Result<(), CatalogError> {
    accounts::add(transaction, written)?;
    let mut taken: HashSet<Extent> = HashSet::new();
    for Moved { owner, runs } in moved {
        let Some(mut extents) = owner.extents(transaction)? else {
            continue;
        };
        let mut released = Vec::new();
        for run in runs {
            let Some(at) = place_of(&extents, &run.old) else {
                continue;
            };
            match &run.shared_with {
                None => taken.extend(&run.new),
                Some(with) => {
                    // Copies that lost their first owner meanwhile are dead, and stay so.
                    let owned = with.extents(transaction)?.unwrap_or_default();
                    if !run.new.iter().all(|extent| owned.contains(extent)) {
                        continue;
                    }
                    accounts::share(transaction, &run.new)?;
                }
            }
            extents.splice(at..at + run.old.len(), run.new.iter().copied());
            released.extend_from_slice(&run.old);
        }
        if !released.is_empty() {
            owner.set_extents(transaction, extents)?;
            accounts::release(transaction, &released)?;
        }
    }
    let unclaimed: Vec<Extent> = written
        .extents
        .iter()
        .filter(|extent| !taken.contains(extent))
        .copied()
        .collect();
    accounts::release(transaction, &unclaimed)
}

/// Where extents lie, one behind the other, among those of an owner.
fn place_of(extents: &[Extent], run: &[Extent]) -> Option<usize> {
    extents.windows(run.len()).position(|window| window == run)
}
