//! A store that has lost its index gets a new one, made of its change log.

use std::path::Path;
use std::sync::Arc;

use super::catalog::rebuild::{RebuildError, Rebuilt, Tell};
use super::disk::{Disk, OsDisk};
use super::error::StorageError;
use super::replace::{Future, Replacement};

pub use super::replace::Aside;

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RebuiltStore {
    /// What the new index was made of, and what is lost.
    pub rebuilt: Rebuilt,
    /// What was moved aside.
    pub aside: Aside,
}

/// Why a store could not be given a new index.
#[derive(Debug, thiserror::Error)]
pub enum RebuildStoreError {
    /// Somebody holds the store, or a file could not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log does not give an index.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

/// Makes a new index for the stopped store in `directory`. An index that is there is kept under
/// another name; it is left alone until the new one is whole and durable.
///
/// A damaged checkpoint is passed over for the one before it and the changes between. Where
/// transactions are lost, the store's history begins anew behind the last that was found.
pub fn rebuild(directory: &Path) -> Result<RebuiltStore, RebuildStoreError> {
    rebuild_on(Arc::new(OsDisk), directory, &mut |_, _| {})
}

/// As [`rebuild`], on that disk, and tells how much of the log is read.
pub fn rebuild_on(
    disk: Arc<dyn Disk>,
    directory: &Path,
    tell: Tell<'_>,
) -> Result<RebuiltStore, RebuildStoreError> {
    let replacement = Replacement::begin(disk, directory)?;
    let log = replacement.log();
    let rebuilt = replacement
        .index()
        .fill_from_log(&*replacement.disk, &log, tell)?;
    let future = match rebuilt.lost {
        None => Future::GoesOn {
            damaged: rebuilt.damaged.clone(),
        },
        // Later files of the log tell of transactions whose numbers are given out again.
        Some(_) => Future::BeginsAnew,
    };
    let aside = replacement.finish(&future)?;
    Ok(RebuiltStore { rebuilt, aside })
}
