//! Multipart uploads that have become objects, remembered for an hour, so that a completion whose answer was
//! lost can be sent again. They lie among the finished uploads of the registry, in the transaction that
//! completes, and are forgotten with them.

use crate::digest::{Algorithm, Digest};
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::ghostbay::engine::MultipartUploadPart;
use crate::ghostbay::multipart::{MultipartKey, joined_etag, md5_of};
use crate::ghostbay::objects::{OBJECTS, ObjectKey};
use crate::ghostbay::terms::Completed;
use crate::ghostbay::uploads::{FINISHED, FINISHED_BY_TIME, FinishedKey, FinishedRow};

/// Whose it was: the object. No repository is named so.
fn scope(upload: &MultipartKey) -> String {
    format!("multipart {}/{}", upload.bucket, upload.key)
}

/// The digest of the list of parts that a completion names: number and ETag of each.
fn digest(named: &[MultipartUploadPart]) -> Digest {
    let mut list = String::new();
    for part in named {
        let etag = part.etag.trim_matches('"');
        list += &format!("{} {etag}\n", part.part_number);
    }
    Digest::of(Algorithm::Sha256, list.as_bytes())
}

/// Notes that an upload became an object of these parts.
pub(super) fn remember(
    transaction: &mut Transaction<'_>,
    upload: &MultipartKey,
    named: &[MultipartUploadPart],
    finished_ms: u64,
) -> Result<(), CatalogError> {
    let id = upload.id;
    let row = FinishedRow {
        scope: scope(upload),
        digest: digest(named),
        finished_ms,
    };
    transaction.put(&FINISHED, &id, &row)?;
    transaction.put(&FINISHED_BY_TIME, &FinishedKey { finished_ms, id }, &())
}

/// What an upload became, if that was of these parts and is still there.
pub(super) fn recall(
    rows: &impl Rows,
    upload: &MultipartKey,
    named: &[MultipartUploadPart],
) -> Result<Option<Completed>, CatalogError> {
    let finished = rows.get_sound(&FINISHED, &upload.id)?;
    if finished.is_none_or(|row| row.scope != scope(upload) || row.digest != digest(named)) {
        return Ok(None);
    }
    let md5s: Option<Vec<_>> = named
        .iter()
        .map(|part| md5_of(part.etag.trim_matches('"')))
        .collect();
    let etag = md5s.map(joined_etag);
    let key = ObjectKey::new(&upload.bucket, &upload.key);
    let object = rows.get_sound(&OBJECTS, &key)?;
    let object = object.filter(|row| Some(&row.etag) == etag.as_ref());
    Ok(object.map(|row| Completed {
        etag: row.etag,
        size: row.size,
        metadata: row.metadata,
    }))
}
