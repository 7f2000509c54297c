//! What a catalog says of itself: schema version, identity of the store, sequence.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::codec::Value;
use super::error::CatalogError;
use super::redb_map::{self, RedbMap};
use super::table::{Rows, Table, Transaction};

/// The catalog's own facts, by name.
pub const META: Table<String, MetaRow> = Table::new(0x01, "meta");

/// A fact of the catalog about itself.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum MetaRow {
    /// A number: `schema` (version), `sequence` (of the last transaction), `node` (0 to 65535,
    /// the upper bits of the pack ids that this writer gives out), `log_gaps` (how often the
    /// change log was found not to reach the index), `branch` (of the store's history; absent
    /// before the first restore), `next_pack` (a counter that no pack of this writer's has had;
    /// absent before the first pack was removed), and 1 for each work that stands still
    /// (`compaction_paused`, `collection_paused`, `scrub_paused`).
    Number(u64),
    /// An identity: `store`.
    Id([u8; 16]),
}

impl Value for MetaRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "variant (0: u64, 1: 16 bytes)";
}

/// One step from a schema version to the next.
pub struct Step {
    /// The version that the step leads to.
    pub version: u32,
    /// What it does, for the log.
    pub name: &'static str,
    /// Changes the rows; runs in one transaction with the change of the version.
    pub apply: fn(&mut Transaction<'_>) -> Result<(), CatalogError>,
}

/// A fact that every index has, and this one has not.
fn lost(name: &str) -> CatalogError {
    CatalogError::Corrupt {
        table: META.info().name,
        reason: format!("there is no {name}"),
    }
}

fn number(rows: &impl Rows, name: &str) -> Result<Option<u64>, CatalogError> {
    match rows.get(&META, &name.to_owned())? {
        None => Ok(None),
        Some(MetaRow::Number(number)) => Ok(Some(number)),
        Some(MetaRow::Id(_)) => Err(CatalogError::Corrupt {
            table: META.info().name,
            reason: format!("{name} is not a number"),
        }),
    }
}

fn set_number(
    transaction: &mut Transaction<'_>,
    name: &str,
    value: u64,
) -> Result<(), CatalogError> {
    transaction.put(&META, &name.to_owned(), &MetaRow::Number(value))
}

/// The sequence number of the last transaction.
pub fn sequence(rows: &impl Rows) -> Result<u64, CatalogError> {
    match number(rows, "sequence")? {
        Some(sequence) => Ok(sequence),
        None if version(rows)? == 0 => Ok(0),
        // Numbers that were given out already would be given out again.
        None => Err(lost("sequence")),
    }
}

/// Notes the sequence number of the last transaction.
pub fn set_sequence(transaction: &mut Transaction<'_>, sequence: u64) -> Result<(), CatalogError> {
    set_number(transaction, "sequence", sequence)
}

/// The schema version; 0 in an empty file.
pub fn version(rows: &impl Rows) -> Result<u32, CatalogError> {
    let version = number(rows, "schema")?.unwrap_or(0);
    u32::try_from(version).map_err(|_| CatalogError::Corrupt {
        table: META.info().name,
        reason: format!("schema version {version}"),
    })
}

/// The node that this writer gives out pack ids for.
pub fn node(rows: &impl Rows) -> Result<u16, CatalogError> {
    number(rows, "node")?
        .and_then(|node| u16::try_from(node).ok())
        .ok_or_else(|| lost("node"))
}

/// The branch of the store's history: 0 until a restore or a rebuild that lost something begins
/// another one.
pub fn branch(rows: &impl Rows) -> Result<u64, CatalogError> {
    Ok(number(rows, "branch")?.unwrap_or(0))
}

/// Notes the branch of the store's history.
pub fn set_branch(transaction: &mut Transaction<'_>, branch: u64) -> Result<(), CatalogError> {
    set_number(transaction, "branch", branch)
}

/// A counter that no pack of this writer's has had, as far as packs were removed.
pub fn next_pack(rows: &impl Rows) -> Result<u64, CatalogError> {
    Ok(number(rows, "next_pack")?.unwrap_or(0))
}

/// Notes a counter that no pack of this writer's has had.
pub fn set_next_pack(transaction: &mut Transaction<'_>, next: u64) -> Result<(), CatalogError> {
    set_number(transaction, "next_pack", next)
}

/// Whether a fact is noted that is so while its row is there.
pub fn is_noted(rows: &impl Rows, name: &str) -> Result<bool, CatalogError> {
    Ok(number(rows, name)?.is_some())
}

/// Notes such a fact, or that it is not so.
pub fn note(
    transaction: &mut Transaction<'_>,
    name: &str,
    is_so: bool,
) -> Result<(), CatalogError> {
    match is_so {
        true => set_number(transaction, name, 1),
        false => transaction.delete(&META, &name.to_owned()).map(drop),
    }
}

/// The store's identity, made when the store was.
pub fn store_id(rows: &impl Rows) -> Result<Uuid, CatalogError> {
    match rows.get(&META, &"store".to_owned())? {
        Some(MetaRow::Id(bytes)) => Ok(Uuid::from_bytes(bytes)),
        _ => Err(lost("store")),
    }
}

/// Notes that the change log had a gap; a commit, so that a checkpoint can be taken behind it.
pub(super) fn note_log_gap(transaction: &mut Transaction<'_>) -> Result<(), CatalogError> {
    let gaps = number(transaction, "log_gaps")?.unwrap_or(0);
    set_number(transaction, "log_gaps", gaps + 1)
}

/// Writes a new store's identity; for the first migration.
pub fn set_identity(transaction: &mut Transaction<'_>, store: Uuid) -> Result<(), CatalogError> {
    transaction.put(&META, &"store".to_owned(), &MetaRow::Id(*store.as_bytes()))?;
    set_number(transaction, "node", 1)
}

/// Sees that an index which was found says what it is. One gets its name only when it does, so one
/// that does not has lost it; taken for a new one, it would get another identity, and the packs of
/// the old would be removed.
pub(super) fn check_made(map: &RedbMap) -> Result<(), CatalogError> {
    match version(&super::table::Snapshot::new(map.read()?))? {
        0 => Err(lost("schema")),
        _ => Ok(()),
    }
}

/// The steps that a catalog of version `found` still needs, in order. A catalog that is newer than
/// the last of all steps is refused.
pub fn pending(found: u32, steps: &[Step]) -> Result<&[Step], CatalogError> {
    let known = steps.last().map_or(0, |step| step.version);
    if found > known {
        return Err(CatalogError::NewerSchema { found, known });
    }
    let done = steps.partition_point(|step| step.version <= found);
    Ok(&steps[done..])
}

/// Makes the steps that are pending, each in a transaction of its own.
///
/// Whether there was a step to make. Its rows are not in the change log, which begins anew with a
/// checkpoint.
pub(super) fn migrate(map: &RedbMap, steps: &[Step]) -> Result<bool, CatalogError> {
    let snapshot = super::table::Snapshot::new(map.read()?);
    let found = version(&snapshot)?;
    let sequence = sequence(&snapshot)?;
    drop(snapshot);
    let pending = pending(found, steps)?;
    for (sequence, step) in (sequence + 1..).zip(pending) {
        tracing::info!(
            version = step.version,
            name = step.name,
            "migrating the index"
        );
        redb_map::write_once(map, |transaction| {
            (step.apply)(transaction)?;
            set_number(transaction, "schema", u64::from(step.version))?;
            set_sequence(transaction, sequence)
        })?;
    }
    Ok(!pending.is_empty())
}

/// Does something with the rows of an index that has none, for the tests of steps.
#[cfg(test)]
pub fn on_an_empty_index(work: impl FnOnce(&mut Transaction<'_>) -> Result<(), CatalogError>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index.redb");
    let map = RedbMap::open(&crate::ghostbay::disk::OsDisk, &path, 1 << 20).unwrap();
    redb_map::write_once(&map, work).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::catalog::RedbMap;
    use crate::ghostbay::disk::OsDisk;

    #[test]
    fn an_index_that_has_lost_a_fact_of_itself_is_damaged_and_not_new() {
        for name in ["schema", "sequence", "store", "node"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("index.redb");
            let map = RedbMap::open(&OsDisk, &path, 1 << 20).unwrap();
            migrate(&map, crate::migrations::STEPS).unwrap();
            redb_map::write_once(&map, |transaction| {
                transaction.delete(&META, &name.to_owned())
            })
            .unwrap();
            let facts = || {
                check_made(&map)?;
                migrate(&map, crate::migrations::STEPS)?;
                let rows = crate::ghostbay::catalog::Snapshot::new(map.read()?);
                sequence(&rows)?;
                node(&rows)?;
                store_id(&rows)
            };
            let error = facts().unwrap_err();
            assert!(matches!(error, CatalogError::Corrupt { .. }), "{name}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
