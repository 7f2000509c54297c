//! Receiving bytes for an upload: kept piece by piece, or closed into a blob.

use std::sync::Arc;

use super::rows::{
    FINISHED, FINISHED_BY_TIME, FinishedKey, FinishedRow, UPLOADS, UploadId, UploadRow,
};
use super::{UploadStatus, in_order, no_such_upload};
use crate::digest::{Digest, Hasher};
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::ghostbay::clock::now_ms;
use crate::ghostbay::error::StorageError;
use crate::ghostbay::ingest::{Commit, Ended, Ending, Receive};
use crate::ghostbay::objects::{self, ObjectKey, blob_key, blob_row};
use crate::ghostbay::pack::accounts::{self, Written};
use crate::ghostbay::sessions::SessionGuard;

/// Pieces of one upload at most. Each is named in the session's row, which every further one
/// writes again; checkpoints of a slow transfer reach this after six days.
const PIECES_MAX: usize = 100_000;

/// What closes an upload.
pub(super) struct Closing<F> {
    pub(super) digest: Digest,
    pub(super) bucket: String,
    pub(super) record: F,
}

impl<F> Closing<F> {
    fn verify(&self, hasher: Hasher) -> Result<(), StorageError> {
        let computed = hasher.finish();
        if computed == self.digest {
            return Ok(());
        }
        Err(StorageError::DigestMismatch {
            expected: self.digest,
            computed,
        })
    }
}

/// A refusal, by the store or by the caller's own record.
pub(super) enum Refusal<E> {
    Store(StorageError),
    Caller(E),
}

impl<E> From<StorageError> for Refusal<E> {
    fn from(error: StorageError) -> Self {
        Refusal::Store(error)
    }
}

impl<E> From<CatalogError> for Refusal<E> {
    fn from(error: CatalogError) -> Self {
        Refusal::Store(error.into())
    }
}

impl From<Refusal<StorageError>> for StorageError {
    fn from(refusal: Refusal<StorageError>) -> Self {
        match refusal {
            Refusal::Store(error) | Refusal::Caller(error) => error,
        }
    }
}

/// What became of bytes for a session.
pub(super) enum Outcome {
    /// They were kept. Why they are not all, if they are not.
    Kept(UploadStatus, Option<Ending>),
    /// They closed the upload.
    Closed,
}

/// Receives bytes for a session. Holds it until the committer has answered.
pub(super) struct Body<F> {
    pub(super) _guard: Arc<SessionGuard>,
    pub(super) id: UploadId,
    /// Offset that the index knows.
    pub(super) base: u64,
    /// Offset behind what was taken in.
    pub(super) offset: u64,
    pub(super) hasher: Hasher,
    pub(super) closing: Option<Closing<F>>,
}

impl<F> Body<F> {
    /// Keeps what was taken in since the last commit.
    fn keep<E: 'static>(&mut self) -> Commit<UploadStatus, Refusal<E>> {
        let (id, base, offset) = (self.id, self.base, self.offset);
        let algorithm = self.hasher.algorithm();
        let hash = self.hasher.save();
        let now = now_ms();
        self.base = offset;
        Box::new(move |transaction, written| {
            let mut row = at(transaction, &id, base)?;
            if row.extents.len() + written.extents.len() > PIECES_MAX {
                return Err(StorageError::TooManyPieces { most: PIECES_MAX }.into());
            }
            row.extents.extend_from_slice(&written.extents);
            row.offset = offset;
            row.hash.clone_from(&hash);
            row.algorithm = algorithm.code();
            row.touched_ms = now;
            accounts::add(transaction, written)?;
            transaction.put(&UPLOADS, &id, &row)?;
            Ok(UploadStatus {
                id,
                offset,
                algorithm,
            })
        })
    }
}

/// The session, if it still stands where the receiver took it up.
pub(super) fn at(
    transaction: &Transaction<'_>,
    id: &UploadId,
    base: u64,
) -> Result<UploadRow, StorageError> {
    let row = transaction
        .get_sound(&UPLOADS, id)?
        .ok_or_else(|| no_such_upload(id))?;
    in_order(&row, Some(base))?;
    Ok(row)
}

impl<E, F> Receive for Body<F>
where
    F: Fn(&mut Transaction<'_>, u64) -> Result<(), E> + Send + 'static,
    E: Send + 'static,
{
    type Output = Outcome;
    type Error = Refusal<E>;

    fn place(&self) -> ([u8; 16], u64) {
        (*self.id.as_bytes(), self.offset)
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
    }

    fn checkpoint(&mut self) -> Option<Commit<(), Refusal<E>>> {
        let keep = self.keep();
        Some(Box::new(move |transaction, written| {
            keep(transaction, written).map(drop)
        }))
    }

    fn end(&mut self, ending: Ending) -> Ended<Outcome, Refusal<E>> {
        let closing = match ending {
            Ending::Complete => self.closing.take(),
            Ending::Broken(_) | Ending::Mismatch { .. } => None,
        };
        let Some(closing) = closing else {
            let keep = self.keep();
            let broken = match ending {
                Ending::Complete => None,
                broken => Some(broken),
            };
            let commit: Commit<_, _> = Box::new(move |transaction, written| {
                let status = keep(transaction, written)?;
                Ok(Outcome::Kept(status, broken.clone()))
            });
            return Ok((commit, None));
        };
        closing.verify(self.hasher.clone())?;
        let (id, base, size) = (self.id, self.base, self.offset);
        let digest = closing.digest;
        let key = ObjectKey::new(closing.bucket, blob_key(&digest));
        let record = closing.record;
        let now = now_ms();
        let commit: Commit<_, _> = Box::new(move |transaction, written| {
            let row = at(transaction, &id, base)?;
            record(transaction, size).map_err(Refusal::Caller)?;
            let mut extents = row.extents;
            extents.extend_from_slice(&written.extents);
            accounts::add(transaction, written)?;
            let blob = blob_row(&digest, size, extents, now);
            objects::put_addressed(transaction, &key, &blob)?;
            transaction.delete(&UPLOADS, &id)?;
            let finished = FinishedRow {
                scope: row.scope,
                digest,
                finished_ms: now,
            };
            transaction.put(&FINISHED, &id, &finished)?;
            let by_time = FinishedKey {
                finished_ms: now,
                id,
            };
            transaction.put(&FINISHED_BY_TIME, &by_time, &())?;
            Ok(Outcome::Closed)
        });
        Ok((commit, Some(digest)))
    }
}

/// Receives a whole blob.
pub(super) struct Whole<F> {
    pub(super) owner: [u8; 16],
    pub(super) hasher: Option<Hasher>,
    pub(super) size: u64,
    pub(super) closing: Option<Closing<F>>,
}

impl<E, F> Receive for Whole<F>
where
    F: Fn(&mut Transaction<'_>, u64) -> Result<(), E> + Send + 'static,
    E: Send + 'static,
{
    type Output = ();
    type Error = Refusal<E>;

    fn place(&self) -> ([u8; 16], u64) {
        (self.owner, 0)
    }

    fn take_in(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.size += bytes.len() as u64;
    }

    fn checkpoint(&mut self) -> Option<Commit<(), Refusal<E>>> {
        None
    }

    fn end(&mut self, ending: Ending) -> Ended<(), Refusal<E>> {
        let (Ending::Complete, Some(closing), Some(hasher)) =
            (&ending, self.closing.take(), self.hasher.take())
        else {
            return Err(ending.into_error(0).into());
        };
        closing.verify(hasher)?;
        let (digest, size) = (closing.digest, self.size);
        let key = ObjectKey::new(closing.bucket, blob_key(&digest));
        let record = closing.record;
        let now = now_ms();
        let commit: Commit<_, _> = Box::new(move |transaction, written: &Written| {
            record(transaction, size).map_err(Refusal::Caller)?;
            accounts::add(transaction, written)?;
            let blob = blob_row(&digest, size, written.extents.clone(), now);
            objects::put_addressed(transaction, &key, &blob)?;
            Ok(())
        });
        Ok((commit, Some(digest)))
    }
}
