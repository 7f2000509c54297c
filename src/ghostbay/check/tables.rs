//! GhostBay's own tables: whether each row is whole, and fits the others and the packs.

use std::collections::HashMap;

use super::finding::{Repair, Subject};
use super::run::{CheckError, Run};
use crate::ghostbay::catalog::{Inspected, Key, Rows, Snapshot, Table, Value, schema};
use crate::ghostbay::clock::now_ms;
use crate::ghostbay::multipart::{MULTIPART, PARTS};
use crate::ghostbay::objects::{
    BLOBS_PREFIX, BUCKETS, BucketRow, OBJECTS, ObjectKey, ObjectRow, addressed_digest,
};
use crate::ghostbay::pack::accounts::PACKS;
use crate::ghostbay::pack::file::PackFile;
use crate::ghostbay::pack::record::{TRAILER_FIXED_BYTES, record_end, trailer_offset};
use crate::ghostbay::pack::{Extent, PackId};
use crate::ghostbay::uploads::{FINISHED, FINISHED_BY_TIME, FinishedKey, UPLOADS};

pub(super) fn check(run: &mut Run<'_>) -> Result<(), CheckError> {
    let mut packs = Packs::default();
    meta(run)?;
    objects(run, &mut packs)?;
    uploads(run, &mut packs)?;
    finished(run)?;
    run.each_row(&BUCKETS, |run, _, row| {
        if whole(run, &BUCKETS, &row)?.is_none()
            && let Some(name) = row.key
        {
            // A bucket is only its name.
            let put = Repair::rows("write the row again", move |transaction| {
                let created_ms = now_ms();
                transaction.put(&BUCKETS, &name, &BucketRow { created_ms })
            });
            let subject = Subject::row(BUCKETS.info().name, &row.bytes);
            run.found(subject, DAMAGED, Some(put))?;
        }
        Ok(())
    })?;
    strays(run)
}

const DAMAGED: &str = "its row is damaged";

/// The row, if it is whole. A row whose key does not decode is told here; of one that is damaged
/// under a key that tells something, the caller knows more.
fn whole<'r, K: Key, V: Value>(
    run: &mut Run<'_>,
    table: &Table<K, V>,
    row: &'r Inspected<K, V>,
) -> Result<Option<(&'r K, &'r V)>, CheckError> {
    match (&row.key, &row.row) {
        (Some(key), Ok(row)) => Ok(Some((key, row))),
        (Some(_), Err(_)) => Ok(None),
        (None, _) => {
            stray(run, table.info().name, &row.bytes)?;
            Ok(None)
        }
    }
}

/// Whether a row stands as it was seen. What was deleted or compacted since may have its pack
/// removed, which is no damage.
fn is_still<K: Key, V: Value + PartialEq>(
    run: &Run<'_>,
    table: &Table<K, V>,
    key: &K,
    seen: &V,
) -> Result<bool, CheckError> {
    let now = run.store().read()?.get_sound(table, key)?;
    Ok(now.as_ref() == Some(seen))
}

fn stray(run: &mut Run<'_>, table: &'static str, key: &[u8]) -> Result<(), CheckError> {
    let repair = Repair::remove_stray(key.to_vec());
    run.found(
        Subject::row(table, key),
        "its key is one that nobody writes",
        Some(repair),
    )
}

fn meta(run: &mut Run<'_>) -> Result<(), CheckError> {
    run.each_row(&schema::META, |run, _, row| match row.row {
        Ok(_) => Ok(()),
        Err(error) => run.found(
            Subject::Index,
            format!("what the index says of itself: {error}"),
            None,
        ),
    })
}

/// Rows of tables that there are not.
fn strays(run: &mut Run<'_>) -> Result<(), CheckError> {
    let strays = run.store().read()?.strays(&run.store().tables)?;
    for key in strays {
        stray(run, "(none)", &key)?;
    }
    Ok(())
}

fn objects(run: &mut Run<'_>, packs: &mut Packs) -> Result<(), CheckError> {
    run.each_row(&OBJECTS, |run, rows, row| {
        let Some((key, object)) = whole(run, &OBJECTS, &row)? else {
            if let Some(key) = row.key {
                let subject = Subject::Object(key.clone());
                run.found(subject, DAMAGED, Some(Repair::remove_damaged(OBJECTS, key)))?;
            }
            return Ok(());
        };
        let addressed = run.store().is_addressed(&key.bucket) && key.key.starts_with(BLOBS_PREFIX);
        let reason = if object.damaged_ms.is_some() {
            let reason = "its bytes were found damaged, and nobody has pushed it again since";
            return run.found(Subject::Object(key.clone()), reason, None);
        } else if addressed && addressed_digest(&key.key).ok().flatten() != object.digest {
            Some("its row names another digest than its key".to_owned())
        } else {
            fault_of_extents(run, rows, packs, object.size, &object.extents)?
        };
        match reason {
            Some(reason) if is_still(run, &OBJECTS, key, object)? => {
                let repair = mark(key, object);
                run.found(Subject::Object(key.clone()), reason, repair)
            }
            _ => Ok(()),
        }
    })
}

/// Marks an object's bytes as damaged, so that it is answered as missing until it is pushed again.
pub(super) fn mark(key: &ObjectKey, object: &ObjectRow) -> Option<Repair> {
    let extent = object.extents.first()?;
    Some(Repair::mark(key.clone(), *extent))
}

fn uploads(run: &mut Run<'_>, packs: &mut Packs) -> Result<(), CheckError> {
    run.each_row(&UPLOADS, |run, rows, row| {
        let Some((id, upload)) = whole(run, &UPLOADS, &row)? else {
            if let Some(id) = row.key {
                let subject = Subject::Upload {
                    id: id.to_string(),
                    scope: None,
                };
                run.found(subject, DAMAGED, Some(Repair::remove_damaged(UPLOADS, id)))?;
            }
            return Ok(());
        };
        let reason = fault_of_extents(run, rows, packs, upload.offset, &upload.extents)?;
        match reason {
            Some(reason) if is_still(run, &UPLOADS, id, upload)? => {
                let subject = Subject::Upload {
                    id: id.to_string(),
                    scope: Some(upload.scope.clone()),
                };
                run.found(subject, reason, None)
            }
            _ => Ok(()),
        }
    })?;
    run.each_row(&MULTIPART, |run, _, row| {
        if whole(run, &MULTIPART, &row)?.is_none()
            && let Some(key) = row.key
        {
            let subject = Subject::row(MULTIPART.info().name, &row.bytes);
            run.found(
                subject,
                DAMAGED,
                Some(Repair::remove_damaged(MULTIPART, key)),
            )?;
        }
        Ok(())
    })?;
    run.each_row(&PARTS, |run, rows, row| {
        let subject = Subject::row(PARTS.info().name, &row.bytes);
        let Some((key, part)) = whole(run, &PARTS, &row)? else {
            return match row.key {
                Some(key) => run.found(subject, DAMAGED, Some(Repair::remove_damaged(PARTS, key))),
                None => Ok(()),
            };
        };
        match fault_of_extents(run, rows, packs, part.size, &part.extents)? {
            Some(reason) if is_still(run, &PARTS, key, part)? => run.found(subject, reason, None),
            _ => Ok(()),
        }
    })
}

fn finished(run: &mut Run<'_>) -> Result<(), CheckError> {
    let by_time = |finished_ms, id| FinishedKey { finished_ms, id };
    run.each_row(&FINISHED, |run, rows, row| {
        let subject = Subject::row(FINISHED.info().name, &row.bytes);
        let Some((id, finished)) = whole(run, &FINISHED, &row)? else {
            return match row.key {
                Some(id) => run.found(subject, DAMAGED, Some(Repair::remove_damaged(FINISHED, id))),
                None => Ok(()),
            };
        };
        let key = by_time(finished.finished_ms, *id);
        if rows.get_sound(&FINISHED_BY_TIME, &key)?.is_some() {
            return Ok(());
        }
        let id = *id;
        let put = Repair::rows("write the row again", move |transaction| match transaction
            .get_sound(&FINISHED, &id)?
        {
            Some(row) if row.finished_ms == key.finished_ms => {
                transaction.put(&FINISHED_BY_TIME, &key, &())
            }
            _ => Ok(()),
        });
        run.found(subject, "it is not listed by its time", Some(put))
    })?;
    run.each_row(&FINISHED_BY_TIME, |run, rows, row| {
        let Some(key) = row.key else {
            return stray(run, FINISHED_BY_TIME.info().name, &row.bytes);
        };
        let known = rows.get_sound(&FINISHED, &key.id)?;
        if row.row.is_ok() && known.is_some_and(|row| row.finished_ms == key.finished_ms) {
            return Ok(());
        }
        let subject = Subject::row(FINISHED_BY_TIME.info().name, &row.bytes);
        let put =
            Repair::rows(
                "write the row again, or remove it",
                move |transaction| match transaction.get_sound(&FINISHED, &key.id)? {
                    Some(row) if row.finished_ms == key.finished_ms => {
                        transaction.put(&FINISHED_BY_TIME, &key, &())
                    }
                    _ => transaction.delete(&FINISHED_BY_TIME, &key).map(drop),
                },
            );
        run.found(
            subject,
            "it is damaged or names no finished upload",
            Some(put),
        )
    })
}

/// What is wrong with the place of something's bytes, if anything is.
fn fault_of_extents(
    run: &Run<'_>,
    rows: &Snapshot,
    packs: &mut Packs,
    size: u64,
    extents: &[Extent],
) -> Result<Option<String>, CheckError> {
    let sum: u64 = extents.iter().map(|extent| extent.length).sum();
    if sum != size {
        return Ok(Some(format!(
            "it has {size} bytes, and the places of {sum} are known"
        )));
    }
    for extent in extents {
        let pack = extent.pack;
        let tail = match rows.get_sound(&PACKS, &pack)? {
            Some(row) => row.tail,
            None => return Ok(Some(format!("the index knows nothing of its pack {pack}"))),
        };
        if record_end(extent.offset, extent.length) > tail {
            return Ok(Some(format!(
                "its bytes at {} of pack {pack} lie behind the pack's tail, {tail}",
                extent.offset
            )));
        }
        let end = trailer_offset(extent.offset, extent.length) + TRAILER_FIXED_BYTES;
        match packs.length(run, pack, end) {
            Ok(length) if length >= end => {}
            Ok(length) => {
                return Ok(Some(format!(
                    "its bytes end at {end} of pack {pack}, which has {length}"
                )));
            }
            Err(reason) => return Ok(Some(reason)),
        }
    }
    Ok(None)
}

/// The files of the packs, each looked at once.
#[derive(Default)]
struct Packs {
    lengths: HashMap<PackId, Result<u64, String>>,
}

impl Packs {
    /// The length of a pack's file, looked at again if it was shorter than `wanted` before: packs
    /// grow.
    fn length(&mut self, run: &Run<'_>, pack: PackId, wanted: u64) -> Result<u64, String> {
        let known = self.lengths.get(&pack);
        if let Some(known) = known
            && known.as_ref().map_or(true, |length| *length >= wanted)
        {
            return known.clone();
        }
        let store = run.store();
        let looked = PackFile::open(&*store.disk, &store.packs(), pack, store.store)
            .and_then(|pack| pack.file.length())
            .map_err(|error| format!("its pack {pack} cannot be used: {error}"));
        self.lengths.insert(pack, looked.clone());
        looked
    }
}
