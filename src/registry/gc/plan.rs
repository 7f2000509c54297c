//! What is due, and what becomes of it. The judgement is the same for a plan, which looks at a
//! snapshot, and within the transaction that acts.

use std::collections::{BTreeSet, HashSet};

use super::Moment;
use super::report::{Act, Collected, Item};
use crate::digest::Digest;
use crate::ghostbay::blob_key;
use crate::ghostbay::catalog::{CatalogError, Rows};
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

/// What is told of a manifest that is purged.
pub(super) fn purge_item(key: &ContentKey, tombstone: &DeletedManifestRow) -> Item {
    let by = match &tombstone.by {
        Some(by) => format!(" by {by}"),
        None => String::new(),
    };
    Item {
        repository: key.repository.clone(),
        digest: key.digest,
        act: Act::Purge,
        reason: format!("deleted{by}, and not brought back in time"),
        bytes: 0,
    }
}

/// The plan: everything that is due now, and what will be due by what that purges.
pub(super) fn of(
    registry: &Registry,
    moment: &Moment,
    tell: &mut dyn FnMut(Item),
) -> Result<Collected, RegistryError> {
    let rows = registry.storage.catalog().read()?;
    let mut collected = Collected {
        all_leased_ms: registry.all_leased_ms(moment),
        ..Collected::default()
    };
    let mut told = |item: Item| {
        collected.count(&item);
        tell(item);
    };
    // What the purges put into the queue, in its order.
    let mut queue = BTreeSet::new();
    for row in rows.scan_sound(&DELETED_BY_TIME, &[], None)? {
        let (MomentKey { at_ms, content }, ()) = row?;
        if !moment.is_dead(at_ms) {
            break;
        }
        if let Some(tombstone) = tombstones::tombstone(&rows, &content)? {
            told(purge_item(&content, &tombstone));
            for target in tombstones::edges_of(&rows, &content)?.keys() {
                let key = ContentKey::new(&content.repository, target);
                if let Some(link) = rows.get_sound(&BLOB_LINKS, &key)? {
                    queue.insert((
                        link.linked_ms,
                        key.repository.to_string(),
                        key.digest.to_string(),
                    ));
                }
            }
        }
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
    if collected.all_leased_ms.is_some() {
        return Ok(collected);
    }
    let mut going = HashSet::new();
    for (at_ms, repository, digest) in queue {
        let (Ok(repository), Ok(digest)) = (repository.parse(), digest.parse::<Digest>()) else {
            continue;
        };
        let key = ContentKey::new(&repository, &digest);
        if !moment.is_over(at_ms) {
            continue;
        }
        let stays = |edge: &EdgeKey| -> Result<bool, CatalogError> {
            let source = ContentKey::new(&edge.repository, &edge.source);
            let tombstone = tombstones::tombstone(&rows, &source)?;
            Ok(tombstone.is_none_or(|tombstone| !moment.is_dead(tombstone.deleted_ms)))
        };
        let row = MomentKey::new(at_ms, &key);
        let verdict = judge(&rows, &row, stays, |digest| {
            registry.is_leased(digest, moment)
        })?;
        let mut bytes = None;
        if matches!(verdict, Verdict::Goes) {
            going.insert((repository.to_string(), digest));
            let is_last = rows
                .scan_sound(&BLOB_HOLDERS, &HolderKey::prefix(&digest), None)?
                .all(|row| {
                    row.is_ok_and(|(holder, ())| {
                        going.contains(&(holder.repository.to_string(), digest))
                    })
                });
            if is_last {
                let object = ObjectKey::new(registry.options.bucket.as_str(), blob_key(&digest));
                let object = rows.get_sound(&OBJECTS, &object)?;
                bytes = Some(object.map_or(0, |object| object.size));
            }
        }
        if let Some(item) = item(&key, &verdict, bytes) {
            collected.count(&item);
            tell(item);
        }
    }
    Ok(collected)
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
