//! Every byte of every object: header, body, trailer and digest.

use super::finding::{Repair, Subject};
use super::run::{CheckError, Run};
use super::tables::mark;
use crate::digest::{Digest, Hasher};
use crate::ghostbay::catalog::{CatalogError, Rows, Snapshot};
use crate::ghostbay::multipart::PARTS;
use crate::ghostbay::objects::{BLOBS_PREFIX, OBJECTS, ObjectKey, ObjectRow, addressed_digest};
use crate::ghostbay::pack::Extent;
use crate::ghostbay::pack::accounts::{self, PACKS};
use crate::ghostbay::pack::reader::{header_before, header_reach, read_window};
use crate::ghostbay::pack::record::{Trailer, footprint, trailer_bytes_max, trailer_offset};
use crate::ghostbay::pinned::pinned;
use crate::ghostbay::uploads::{UPLOADS, UploadId};

/// What the bytes of objects are looked at in, as [`Event::Progress`](super::Event) names it.
pub const BYTES_PHASE: &str = "bytes";

pub(super) fn check(run: &mut Run<'_>) -> Result<(), CheckError> {
    let total = {
        let rows = run.store().read()?;
        let packs = rows.scan_sound(&PACKS, &[], None)?;
        packs.map(|row| row.map_or(0, |(_, row)| row.live)).sum()
    };
    // Reading takes long, and no snapshot is kept meanwhile: the rows are gathered first.
    let mut after = None;
    loop {
        let objects = run.store().some_after(&OBJECTS, after.as_deref())?;
        let Some(last) = objects.last() else {
            break;
        };
        after = Some(last.bytes[1..].to_vec());
        for row in objects {
            if let (Some(key), Ok(_)) = (row.key, row.row) {
                check_object(run, total, &key)?;
            }
        }
    }
    let mut after = None;
    loop {
        let uploads = run.store().some_after(&UPLOADS, after.as_deref())?;
        let Some(last) = uploads.last() else {
            break;
        };
        after = Some(last.bytes[1..].to_vec());
        for row in uploads {
            if let (Some(id), Ok(_)) = (row.key, row.row) {
                check_upload(run, total, id)?;
            }
        }
    }
    let mut after = None;
    loop {
        let parts = run.store().some_after(&PARTS, after.as_deref())?;
        let Some(last) = parts.last() else {
            return Ok(());
        };
        after = Some(last.bytes[1..].to_vec());
        for row in parts {
            let (Some(key), Ok(_)) = (row.key, row.row) else {
                continue;
            };
            let look = |rows: &Snapshot| rows.get_sound(&PARTS, &key);
            let store = run.store();
            let Some(held) = pinned(store, &store.space, look)? else {
                continue;
            };
            if let Err(fault) = read_all(run, total, &held.row.extents, None)? {
                run.found(Subject::row(PARTS.info().name, &row.bytes), fault, None)?;
            }
        }
    }
}

fn check_object(run: &mut Run<'_>, total: u64, key: &ObjectKey) -> Result<(), CheckError> {
    let addressed = run.store().is_addressed(&key.bucket) && key.key.starts_with(BLOBS_PREFIX);
    // A second look: the first may have met a disk that failed for a moment.
    for look in 0..2 {
        let whole = |row: ObjectRow| row.damaged_ms.is_none().then_some(row);
        let look_up =
            |rows: &Snapshot| Ok::<_, CatalogError>(rows.get_sound(&OBJECTS, key)?.and_then(whole));
        let store = run.store();
        // Its bytes stay while they are read. What was deleted meanwhile is nobody's any more.
        let Some(held) = pinned(store, &store.space, look_up)? else {
            return Ok(());
        };
        let object = held.row;
        let digest = match addressed {
            true => addressed_digest(&key.key).ok().flatten(),
            false => object.digest,
        };
        let Err(fault) = read_all(run, total, &object.extents, digest)? else {
            return Ok(());
        };
        let now = run.store().read()?.get_sound(&OBJECTS, key)?;
        if now.is_none_or(|now| now.extents != object.extents || now.damaged_ms.is_some()) {
            return Ok(());
        }
        if look == 1 {
            run.found(Subject::Object(key.clone()), fault, mark(key, &object))?;
        }
    }
    Ok(())
}

fn check_upload(run: &mut Run<'_>, total: u64, id: UploadId) -> Result<(), CheckError> {
    let look = |rows: &Snapshot| rows.get_sound(&UPLOADS, &id);
    let store = run.store();
    let Some(held) = pinned(store, &store.space, look)? else {
        return Ok(());
    };
    let upload = held.row;
    let Err(fault) = read_all(run, total, &upload.extents, None)? else {
        return Ok(());
    };
    // It may have been finished or cancelled meanwhile.
    let now = run.store().read()?.get_sound(&UPLOADS, &id)?;
    if now.is_none_or(|now| !now.extents.starts_with(&upload.extents)) {
        return Ok(());
    }
    let drop = Repair::rows("drop it, so that it is begun again", move |transaction| {
        if let Some(row) = transaction.get_sound(&UPLOADS, &id)? {
            transaction.delete(&UPLOADS, &id)?;
            accounts::release(transaction, &row.extents)?;
        }
        Ok(())
    });
    let subject = Subject::Upload {
        id: id.to_string(),
        scope: Some(upload.scope),
    };
    run.found(subject, fault, Some(drop))
}

/// Reads extents whole; what is wrong with them, if anything is.
fn read_all(
    run: &mut Run<'_>,
    total: u64,
    extents: &[Extent],
    digest: Option<Digest>,
) -> Result<Result<(), String>, CheckError> {
    let mut hasher = digest.map(|digest: Digest| Hasher::new(digest.algorithm()));
    for extent in extents {
        if let Err(fault) = read_record(run, total, extent, &mut hasher)? {
            return Ok(Err(fault));
        }
    }
    let computed = hasher.map(Hasher::finish);
    Ok(match computed == digest {
        true => Ok(()),
        false => Err("its bytes have another digest".to_owned()),
    })
}

fn read_record(
    run: &mut Run<'_>,
    total: u64,
    extent: &Extent,
    hasher: &mut Option<Hasher>,
) -> Result<Result<(), String>, CheckError> {
    let space = &run.store().space;
    let mut body_crc = 0;
    let mut at = 0;
    while at < extent.length {
        let window = match read_window(space, extent, &(at..extent.length)) {
            Ok(window) => window,
            Err(error) => return Ok(Err(error.to_string())),
        };
        body_crc = crc32c::crc32c_append(body_crc, &window);
        if let Some(hasher) = hasher {
            hasher.update(&window);
        }
        at += window.len() as u64;
        run.read(BYTES_PHASE, window.len() as u64, total)?;
    }
    let rest = footprint(extent.offset, extent.length) - extent.length;
    run.read(BYTES_PHASE, rest, total)?;
    Ok(check_frame(run, extent, body_crc))
}

/// Whether a record's header and trailer are those of the body.
fn check_frame(run: &Run<'_>, extent: &Extent, body_crc: u32) -> Result<(), String> {
    let (pack, offset) = (extent.pack, extent.offset);
    let file = run.store().space.pack(pack);
    let file = file.map_err(|error| format!("its pack {pack} cannot be used: {error}"))?;
    let failed = |error| format!("pack {pack} cannot be read at {offset}: {error}");
    let mut bytes = Vec::new();
    let trailer_at = trailer_offset(offset, extent.length);
    file.file
        .read_at(
            &mut bytes,
            trailer_at,
            trailer_bytes_max(extent.length) as usize,
        )
        .map_err(failed)?;
    Trailer::decode(&bytes, extent.length)
        .map_err(|error| format!("the trailer of its record in pack {pack}: {error}"))?;

    let from = offset.saturating_sub(header_reach(offset));
    bytes.clear();
    file.file
        .read_at(&mut bytes, from, (offset - from) as usize)
        .map_err(failed)?;
    let found = header_before(&bytes, |header| {
        header.length == extent.length && header.body_crc == body_crc
    });
    found
        .map(drop)
        .ok_or_else(|| format!("the header of its record at {offset} of pack {pack} is damaged"))
}
