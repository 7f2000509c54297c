//! A stopped store's index is brought to the newest schema: look, then make the same steps.

use std::path::Path;
use std::sync::Arc;

use super::catalog::schema::{Step, pending};
use super::catalog::{CatalogError, IndexPlace, OpenCatalog};
use super::disk::{Disk, OsDisk};
use super::error::StorageError;
use super::local::{EngineOptions, INDEX_FILE, LocalStorageEngine, OFFLINE_CACHE_BYTES};

/// What a store's index needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The schema version that was found.
    pub found: u32,
    /// The steps that are to be made, in order.
    pub steps: Vec<PlannedStep>,
}

/// A step that is to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlannedStep {
    /// The version that it leads to.
    pub version: u32,
    /// What it does, in a word or two.
    pub name: &'static str,
}

/// Looks at the stopped store in `directory`, and changes nothing.
pub fn plan(directory: &Path) -> Result<Plan, StorageError> {
    let place = IndexPlace {
        disk: Arc::new(OsDisk),
        path: directory.join(INDEX_FILE),
        cache_bytes: OFFLINE_CACHE_BYTES,
    };
    let no_store = || StorageError::File {
        what: "there is no index to migrate:",
        path: place.path.clone(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    // Looked for before the lock is taken: the lock's file would make a directory look like a store.
    if !place.path.exists() {
        return Err(no_store());
    }
    let _lock = OsDisk.lock(directory)?;
    let found = OpenCatalog::version(&place)?.ok_or_else(no_store)?;
    Ok(planned(found, crate::migrations::STEPS)?)
}

fn planned(found: u32, steps: &[Step]) -> Result<Plan, CatalogError> {
    let steps = pending(found, steps)?.iter();
    Ok(Plan {
        found,
        steps: steps
            .map(|step| PlannedStep {
                version: step.version,
                name: step.name,
            })
            .collect(),
    })
}

/// Makes the steps, with the checkpoint of the change log behind them: what each start with those
/// options does. The store is closed again when this returns.
pub async fn migrate(directory: &Path, options: EngineOptions) -> Result<(), StorageError> {
    LocalStorageEngine::open(directory, options)
        .await?
        .close()
        .await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_steps_behind_the_version_found_are_planned() {
        let steps = [1, 2, 3].map(|version| Step {
            version,
            name: "step",
            apply: |_| Ok(()),
        });
        let versions = |found| {
            let plan = planned(found, &steps)?;
            let versions = plan.steps.iter().map(|step| step.version);
            Ok::<Vec<u32>, CatalogError>(versions.collect())
        };
        assert_eq!(versions(1).unwrap(), [2, 3]);
        assert!(versions(3).unwrap().is_empty());
        assert!(versions(4).is_err(), "a newer schema");
    }
}
