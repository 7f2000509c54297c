//! From what lies there to a store that can serve: look, plan, apply.
//!
//! The index is the truth. What packs hold behind their committed tails was never acknowledged
//! and is cut off; packs that the index does not name hold nothing that was acknowledged and
//! are removed. Nothing is scanned: the work grows with the number of packs, not with the bytes.

use std::io;
use std::path::Path;

use uuid::Uuid;

use super::catalog::{Rows, schema};
use super::disk::Disk;
use super::error::StorageError;
use super::pack::accounts::PACKS;
use super::pack::file::{file_name, parse_file_name};
use super::pack::{PackId, PackSpace};

/// One thing to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Cut a pack back to its committed tail.
    Cut {
        /// The pack.
        pack: PackId,
        /// Length of its file, in bytes.
        length: u64,
        /// Where its committed records end.
        tail: u64,
    },
    /// Remove a pack that the index does not name.
    Remove {
        /// The pack.
        pack: PackId,
    },
    /// Put a pack back to use.
    Resume {
        /// The pack.
        pack: PackId,
        /// Where its committed records end.
        tail: u64,
    },
    /// Say that a pack is gone: what it held cannot be read.
    Missing {
        /// The pack.
        pack: PackId,
        /// Where its committed records end.
        tail: u64,
    },
}

/// What is to be done, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// The first counter that no pack has had.
    pub next: u64,
}

/// Looks at the packs in `directory` and at what the index says of them.
pub fn plan(
    disk: &dyn Disk,
    directory: &Path,
    rows: &impl Rows,
    node: u16,
) -> Result<Plan, StorageError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StorageError::File {
            what: "cannot look at",
            path,
            source,
        }
    };
    let mut plan = Plan::default();
    let mut found: Vec<PackId> = disk
        .list(directory)
        .map_err(failed(directory))?
        .iter()
        .filter_map(|name| parse_file_name(name))
        .collect();
    let counters = found.iter().filter(|id| id.node() == node);
    // Those of removed packs are not given out again either: an older index or a backup may still
    // name them.
    let given = schema::next_pack(rows)?.max(1);
    plan.next = counters.map(|id| id.counter() + 1).fold(given, u64::max);
    for row in rows.scan(&PACKS, &[], None)? {
        let (pack, row) = row?;
        if pack.node() == node {
            plan.next = plan.next.max(pack.counter() + 1);
        }
        let Some(position) = found.iter().position(|id| *id == pack) else {
            plan.steps.push(Step::Missing {
                pack,
                tail: row.tail,
            });
            continue;
        };
        found.swap_remove(position);
        let path = directory.join(file_name(pack));
        let length = disk
            .open(&path)
            .and_then(|file| file.length())
            .map_err(failed(&path))?;
        let tail = row.tail;
        // A file may end before its tail, where room is kept for the longest trailer. If it ends
        // within a record, reading that record finds it damaged.
        if length > tail && !row.sealed {
            plan.steps.push(Step::Cut { pack, length, tail });
        }
        if !row.sealed {
            plan.steps.push(Step::Resume { pack, tail });
        }
    }
    plan.steps
        .extend(found.into_iter().map(|pack| Step::Remove { pack }));
    Ok(plan)
}

/// Does what the plan says. What cannot be put back to use is left alone, and said.
pub fn apply(
    plan: &Plan,
    disk: &dyn Disk,
    directory: &Path,
    space: &PackSpace,
    store: Uuid,
) -> io::Result<()> {
    let mut uncut = Vec::new();
    for step in &plan.steps {
        match *step {
            Step::Cut { pack, length, tail } => {
                tracing::info!(%pack, bytes = length - tail, %store, "cutting off what was never acknowledged");
                if let Err(error) = space.pack(pack).and_then(|open| open.file.truncate(tail)) {
                    tracing::error!(%pack, %error, "a pack was not cut back and is left alone");
                    uncut.push(pack);
                }
            }
            Step::Remove { pack } => {
                tracing::info!(%pack, "removing a pack that holds nothing acknowledged");
                // Not synced: one that comes back is removed again.
                disk.remove(&directory.join(file_name(pack)))?;
            }
            // Appended to, what was not cut would be taken for records by a walk.
            Step::Resume { pack, .. } if uncut.contains(&pack) => {}
            Step::Resume { pack, tail } => {
                if let Err(error) = space.resume(pack, tail) {
                    tracing::error!(%pack, %error, "a pack is not put back to use");
                }
            }
            Step::Missing { pack, tail } => {
                tracing::error!(%pack, tail, "a pack that the index names is missing: what it held cannot be read");
            }
        }
    }
    Ok(())
}
