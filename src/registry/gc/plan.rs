//! What is due, and what becomes of it. The judgement is the same for a plan, which looks at a
//! snapshot, and within the transaction that acts.

use std::collections::{BTreeSet, HashSet};

use super::Moment;
use super::act::BATCH_ROWS_MIN;
use super::report::{Act, Collected, Item};
use crate::digest::Digest;
use crate::ghostbay::blob_key;
use crate::ghostbay::catalog::{CatalogError, Rows, Snapshot};
use crate::ghostbay::objects::{OBJECTS, ObjectKey};
use crate::registry::tables::{
    BLOB_HOLDERS, BLOB_LINKS, ContentKey, DELETED_BY_TIME, DeletedManifestRow, EdgeKey, HolderKey,
    MomentKey, REFERENCES, UNREFERENCED,
};
use crate::registry::{Registry, RegistryError, tombstones};

/// What becomes of a blob in the queue.
pub(super) enum Verdict {
    /// The repository does not hold it any more, or the row is older than its link: the queue's
    /// row says nothing.
    Moot,
    /// A manifest is made of it.
    Referenced(Digest),
    /// A client was told that it is there.
    Leased,
    /// Nothing keeps it.
    Goes,
}

/// What becomes of a blob. `stays` says whether an edge does, and `is_leased` whether the digest
/// is.
pub(super) fn judge(
    rows: &impl Rows,
    row: &MomentKey,
    stays: impl Fn(&EdgeKey) -> Result<bool, CatalogError>,
    is_leased: impl Fn(&Digest) -> bool,
) -> Result<Verdict, CatalogError> {
    let key = &row.content;
    // A damaged link is for a check to write again, with its row of the queue.
    match rows.get_sound(&BLOB_LINKS, key)? {
        Some(link) if link.linked_ms <= row.at_ms => {}
        _ => return Ok(Verdict::Moot),
    }
    let prefix = EdgeKey::prefix(&key.repository, &key.digest);
    for edge in rows.inspect(&REFERENCES, &prefix, None)? {
        // A row that is damaged is an edge as well.
        if let Some(edge) = edge?.key
            && stays(&edge)?
        {
            return Ok(Verdict::Referenced(edge.source));
        }
    }
    Ok(match is_leased(&key.digest) {
        true => Verdict::Leased,
        false => Verdict::Goes,
    })
}

/// What is told of a verdict; nothing of one that says nothing.
pub(super) fn item(key: &ContentKey, verdict: &Verdict, bytes: Option<u64>) -> Option<Item> {
    let (act, reason) = match (verdict, bytes) {
        (Verdict::Moot, _) => return None,
        (Verdict::Referenced(by), _) => (Act::Keep, format!("manifest {by} is made of it")),
        (Verdict::Leased, _) => (
            Act::Keep,
            "a client was told within the grace that it is there".to_owned(),
        ),
        (Verdict::Goes, Some(_)) => (
            Act::Remove,
            "no manifest is made of it, and no other repository holds it".to_owned(),
        ),
        (Verdict::Goes, None) => (
            Act::Unlink,
            "no manifest of the repository is made of it".to_owned(),
        ),
    };
    Some(Item {
        repository: key.repository.clone(),
        digest: key.digest,
        act,
        reason,
        bytes: bytes.unwrap_or(0),
    })
}

/// What is told of a manifest that is purged; `early` if only for want of room on the disk.
pub(super) fn purge_item(key: &ContentKey, tombstone: &DeletedManifestRow, early: bool) -> Item {
    let by = match &tombstone.by {
        Some(by) => format!(" by {by}"),
        None => String::new(),
    };
    let why = match early {
        true => "the disk has less room than [storage] min_free",
        false => "not brought back in time",
    };
    Item {
        repository: key.repository.clone(),
        digest: key.digest,
        act: Act::Purge,
        reason: format!("deleted{by}, and {why}"),
        bytes: 0,
    }
}

/// The plan: everything that is due now, what will be due by what that purges, and what goes early while
/// the disk has too little room.
pub(super) fn of(
    registry: &Registry,
    moment: &Moment,
    tell: &mut dyn FnMut(Item),
) -> Result<Collected, RegistryError> {
    let rows = registry.storage.catalog().read()?;
    let mut planner = Planner {
        registry,
        moment,
        rows: &rows,
        purged: HashSet::new(),
        going: HashSet::new(),
        collected: Collected {
            all_leased_ms: registry.all_leased_ms(moment),
            ..Collected::default()
        },
        tell,
    };
    let mut queue = Queue::new();
    for row in rows.scan_sound(&DELETED_BY_TIME, &[], None)? {
        let (MomentKey { at_ms, content }, ()) = row?;
        if !moment.is_dead(at_ms) {
            break;
        }
        planner.purge(&content, false, &mut queue)?;
    }
    for row in rows.scan_sound(&UNREFERENCED, &[], None)? {
        let (MomentKey { at_ms, content }, ()) = row?;
        if !moment.is_over(at_ms) {
            break;
        }
        queue.insert((
            at_ms,
            content.repository.to_string(),
            content.digest.to_string(),
        ));
    }
    if planner.collected.all_leased_ms.is_none() {
        planner.take(queue)?;
        planner.make_room()?;
    }
    Ok(planner.collected)
}

/// Rows of the queue, in its order.
type Queue = BTreeSet<(u64, String, String)>;

/// What goes, as far as it is known.
struct Planner<'a> {
    registry: &'a Registry,
    moment: &'a Moment,
    rows: &'a Snapshot,
    /// Manifests, by repository.
    purged: HashSet<(String, Digest)>,
    /// Blobs, by repository.
    going: HashSet<(String, Digest)>,
    collected: Collected,
    tell: &'a mut dyn FnMut(Item),
}

impl Planner<'_> {
    fn told(&mut self, item: Item) {
        self.collected.count(&item);
        (self.tell)(item);
    }

    /// Purges a manifest, which puts its blobs into the queue. How many rows that is.
    fn purge(
        &mut self,
        content: &ContentKey,
        early: bool,
        queue: &mut Queue,
    ) -> Result<usize, RegistryError> {
        let Some(tombstone) = tombstones::tombstone(self.rows, content)? else {
            return Ok(0);
        };
        self.told(purge_item(content, &tombstone, early));
        self.purged
            .insert((content.repository.to_string(), content.digest));
        let edges = tombstones::edges_of(self.rows, content)?;
        for target in edges.keys() {
            let key = ContentKey::new(&content.repository, target);
            if let Some(link) = self.rows.get_sound(&BLOB_LINKS, &key)? {
                queue.insert((
                    link.linked_ms,
                    key.repository.to_string(),
                    key.digest.to_string(),
                ));
            }
        }
        Ok(1 + edges.len())
    }

    /// Judges what is in the queue.
    fn take(&mut self, queue: Queue) -> Result<(), RegistryError> {
        let (registry, moment, rows) = (self.registry, self.moment, self.rows);
        for (at_ms, repository, digest) in queue {
            let (Ok(repository), Ok(digest)) = (repository.parse(), digest.parse::<Digest>())
            else {
                continue;
            };
            let key = ContentKey::new(&repository, &digest);
            if !moment.is_over(at_ms) {
                continue;
            }
            let purged = &self.purged;
            let stays = |edge: &EdgeKey| -> Result<bool, CatalogError> {
                Ok(!purged.contains(&(edge.repository.to_string(), edge.source)))
            };
            let row = MomentKey::new(at_ms, &key);
            let verdict = judge(rows, &row, stays, |digest| {
                registry.is_leased(digest, moment)
            })?;
            let mut bytes = None;
            if matches!(verdict, Verdict::Goes) {
                self.going.insert((repository.to_string(), digest));
                let going = &self.going;
                let is_last = rows
                    .scan_sound(&BLOB_HOLDERS, &HolderKey::prefix(&digest), None)?
                    .all(|row| {
                        row.is_ok_and(|(holder, ())| {
                            going.contains(&(holder.repository.to_string(), digest))
                        })
                    });
                if is_last {
                    let bucket = registry.options.bucket.as_str();
                    let object = ObjectKey::new(bucket, blob_key(&digest));
                    let object = rows.get_sound(&OBJECTS, &object)?;
                    bytes = Some(object.map_or(0, |object| object.size));
                }
            }
            if let Some(item) = item(&key, &verdict, bytes) {
                self.told(item);
            }
        }
        Ok(())
    }

    /// While there is too little room on the disk, purges what could come back yet, as a collection does:
    /// the oldest first, a few at a time. What a blob frees is taken to be its length.
    fn make_room(&mut self) -> Result<(), RegistryError> {
        let shortage = self.registry.storage.shortage();
        if shortage == 0 {
            return Ok(());
        }
        let rows = self.rows;
        let (mut queue, mut weight) = (Queue::new(), 0);
        for row in rows.scan_sound(&DELETED_BY_TIME, &[], None)? {
            let (MomentKey { at_ms, content }, ()) = row?;
            if self.moment.is_dead(at_ms) {
                continue;
            }
            weight += self.purge(&content, true, &mut queue)?;
            if weight >= BATCH_ROWS_MIN {
                weight = 0;
                self.take(std::mem::take(&mut queue))?;
                if self.collected.bytes >= shortage {
                    return Ok(());
                }
            }
        }
        self.take(queue)
    }
}

impl Registry {
    /// For how long, in milliseconds, everything is leased yet.
    pub(super) fn all_leased_ms(&self, moment: &Moment) -> Option<u64> {
        let left = self
            .gc
            .leases
            .all_left_ms(self.gc.clock_ms(), moment.grace_ms);
        (left > 0).then_some(left)
    }

    fn is_leased(&self, digest: &Digest, moment: &Moment) -> bool {
        let clock_ms = self.gc.clock_ms();
        self.gc.leases.left_ms(digest, clock_ms, moment.grace_ms) > 0
    }
}
