//! Upload sessions: bytes that arrive in pieces until their digest closes them.
//!
//! A session keeps its extents, its offset and its running hash in the index, so that it goes on
//! at the byte it stopped at, after a kill at its last checkpoint, and nothing is hashed twice.

mod receive;
mod rows;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::blocking::blocking;
use super::catalog::{CatalogError, Rows, Snapshot, Transaction};
use super::clock::now_ms;
use super::engine::ByteStream;
use super::error::StorageError;
use super::ingest::{Ending, Ingest};
use super::pack::accounts;
use super::pack::reader::read_window;
use super::pinned::pinned;
use super::sessions::{SessionGuard, Sessions};
use crate::digest::{Algorithm, Digest, Hasher};

use receive::{Body, Closing, Outcome, Refusal, Whole};
pub use rows::{
    FINISHED, FINISHED_BY_TIME, FINISHED_KEPT_MS, FinishedKey, FinishedRow, UPLOADS, UploadId,
    UploadRow,
};

/// Where an upload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadStatus {
    /// The upload.
    pub id: UploadId,
    /// Bytes that it holds.
    pub offset: u64,
    /// Algorithm of its running hash.
    pub algorithm: Algorithm,
}

/// Bytes for an upload.
pub struct Append<'a> {
    /// Where they begin, if the sender says so; another place than the upload's offset is
    /// refused.
    pub start: Option<u64>,
    /// How many they are, where known; another number is refused.
    pub length: Option<u64>,
    /// The bytes.
    pub body: ByteStream<'a>,
}

/// The uploads of a store. Cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    ingest: Ingest,
    sessions: Sessions,
}

fn no_such_upload(id: &UploadId) -> StorageError {
    StorageError::NoSuchUpload {
        upload: id.to_string(),
    }
}

/// How many are under way.
pub fn under_way(rows: &impl Rows) -> Result<u64, CatalogError> {
    let mut count = 0;
    for row in rows.scan_raw(&UPLOADS, &[], None)? {
        row?;
        count += 1;
    }
    Ok(count)
}

/// An upload under way, for those who look on: without its id, which would let them go on with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnderWay {
    /// Whose it is.
    pub scope: String,
    /// Bytes that it held at its last checkpoint.
    pub bytes: u64,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: u64,
    /// When bytes last came.
    pub touched_ms: u64,
}

/// The uploads under way that were touched last, at most `limit` of them, the latest first; and how many
/// there are in all. Damaged ones are passed over.
pub fn latest(rows: &impl Rows, limit: usize) -> Result<(Vec<UnderWay>, u64), CatalogError> {
    let (mut latest, mut count) = (Vec::new(), 0);
    let cut = |latest: &mut Vec<UnderWay>| {
        latest.sort_unstable_by_key(|it| std::cmp::Reverse((it.touched_ms, it.begun_ms)));
        latest.truncate(limit);
    };
    for row in rows.scan_sound(&UPLOADS, &[], None)? {
        let (_, row) = row?;
        count += 1;
        latest.push(UnderWay {
            scope: row.scope,
            bytes: row.offset,
            begun_ms: row.begun_ms,
            touched_ms: row.touched_ms,
        });
        // However many there are, few are held.
        if latest.len() > limit.saturating_mul(2) {
            cut(&mut latest);
        }
    }
    cut(&mut latest);
    Ok((latest, count))
}

fn find(rows: &impl Rows, scope: &str, id: &UploadId) -> Result<UploadRow, StorageError> {
    // Of a damaged session nothing is left; the client begins another.
    rows.get_sound(&UPLOADS, id)?
        .filter(|row| row.scope == scope)
        .ok_or_else(|| no_such_upload(id))
}

impl Uploads {
    /// The uploads of a store that receives through `ingest`.
    pub fn new(ingest: Ingest) -> Self {
        Uploads {
            ingest,
            sessions: Sessions::default(),
        }
    }

    /// Begins an upload for `scope`, hashed by `algorithm` as it comes.
    pub async fn begin(
        &self,
        scope: &str,
        algorithm: Algorithm,
    ) -> Result<UploadStatus, StorageError> {
        self.ingest.gauge.check()?;
        let id = UploadId::random();
        let now = now_ms();
        let row = UploadRow {
            scope: scope.to_owned(),
            offset: 0,
            extents: Vec::new(),
            hash: Hasher::new(algorithm).save(),
            algorithm: algorithm.code(),
            begun_ms: now,
            touched_ms: now,
        };
        self.ingest
            .catalog
            .transact(move |transaction| transaction.put(&UPLOADS, &id, &row))
            .await
            .map_err(StorageError::Catalog)?;
        Ok(UploadStatus {
            id,
            offset: 0,
            algorithm,
        })
    }

    /// Where an upload stands.
    pub fn status(&self, scope: &str, id: &UploadId) -> Result<UploadStatus, StorageError> {
        let row = find(&self.ingest.catalog.read()?, scope, id)?;
        Ok(UploadStatus {
            id: *id,
            offset: row.offset,
            algorithm: row.algorithm()?,
        })
    }

    /// Appends bytes. When the body breaks off, what came of it is kept, and the error names
    /// the offset.
    pub async fn append(
        &self,
        scope: &str,
        id: &UploadId,
        append: Append<'_>,
    ) -> Result<UploadStatus, StorageError> {
        let guard = Arc::new(self.sessions.acquire(*id).await);
        let row = find(&self.ingest.catalog.read()?, scope, id)?;
        in_order(&row, append.start)?;
        let algorithm = row.algorithm()?;
        let body = guard.interruptible(append.body);
        let receiver: Body<RecordNothing> = self.open(guard, *id, row, algorithm, None).await?;
        match self.ingest.receive(body, append.length, receiver).await? {
            Outcome::Kept(status, None) => Ok(status),
            Outcome::Kept(status, Some(ending)) => Err(ending.into_error(status.offset)),
            Outcome::Closed => Err(no_such_upload(id)),
        }
    }

    /// Closes an upload, with a last piece or without: if its content has the digest, it becomes
    /// the bucket's blob in the transaction that `record` runs in too, with the blob's size. A wrong
    /// digest drops the upload. A repetition within an hour answers as the first time.
    pub async fn finish<E, F>(
        &self,
        scope: &str,
        id: &UploadId,
        digest: &Digest,
        bucket: &str,
        append: Option<Append<'_>>,
        record: F,
    ) -> Result<(), E>
    where
        F: Fn(&mut Transaction<'_>, u64) -> Result<(), E> + Send + 'static,
        E: From<StorageError> + From<CatalogError> + Send + 'static,
    {
        let guard = Arc::new(self.sessions.acquire(*id).await);
        let snapshot = self.ingest.catalog.read()?;
        let session = snapshot.get_sound(&UPLOADS, id)?;
        let Some(row) = session.filter(|row| row.scope == scope) else {
            return match snapshot.get_sound(&FINISHED, id)? {
                Some(row) if row.scope == scope && row.digest == *digest => Ok(()),
                _ => Err(no_such_upload(id).into()),
            };
        };
        drop(snapshot);
        in_order(&row, append.as_ref().and_then(|append| append.start))?;
        let closing = Closing {
            digest: *digest,
            bucket: bucket.to_owned(),
            record,
        };
        let (body, length) = match append {
            Some(append) => (guard.interruptible(append.body), append.length),
            None => (nothing(), Some(0)),
        };
        let receiver = self
            .open(guard.clone(), *id, row, digest.algorithm(), Some(closing))
            .await?;
        match self.ingest.receive(body, length, receiver).await {
            Ok(Outcome::Closed) => Ok(()),
            Ok(Outcome::Kept(status, ending)) => Err(ending
                .unwrap_or(Ending::Complete)
                .into_error(status.offset)
                .into()),
            Err(Refusal::Caller(error)) => Err(error),
            Err(Refusal::Store(error)) => {
                if matches!(error, StorageError::DigestMismatch { .. }) {
                    // Still held: nobody else's bytes are dropped.
                    match self.drop_rows(*id).await {
                        // Somebody else was faster.
                        Ok(()) | Err(StorageError::NoSuchUpload { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error.into())
            }
        }
    }

    /// Stores a whole blob at once, without a session.
    pub async fn put<E, F>(
        &self,
        digest: &Digest,
        bucket: &str,
        append: Append<'_>,
        record: F,
    ) -> Result<(), E>
    where
        F: Fn(&mut Transaction<'_>, u64) -> Result<(), E> + Send + 'static,
        E: From<StorageError> + From<CatalogError> + Send + 'static,
    {
        let receiver = Whole {
            owner: *UploadId::random().as_bytes(),
            hasher: Some(Hasher::new(digest.algorithm())),
            size: 0,
            closing: Some(Closing {
                digest: *digest,
                bucket: bucket.to_owned(),
                record,
            }),
        };
        match self
            .ingest
            .receive(append.body, append.length, receiver)
            .await
        {
            Ok(()) => Ok(()),
            Err(Refusal::Caller(error)) => Err(error),
            Err(Refusal::Store(error)) => Err(error.into()),
        }
    }

    /// Drops an upload and its bytes.
    pub async fn cancel(&self, scope: &str, id: &UploadId) -> Result<(), StorageError> {
        let _guard = self.sessions.acquire(*id).await;
        find(&self.ingest.catalog.read()?, scope, id)?;
        self.drop_rows(*id).await
    }

    /// Drops an upload to which no byte has come since `before_ms`, unless a request holds it;
    /// whether it was dropped.
    pub async fn end_abandoned(&self, id: UploadId, before_ms: u64) -> Result<bool, StorageError> {
        let Some(_guard) = self.sessions.try_acquire(id) else {
            return Ok(false);
        };
        let row = self.ingest.catalog.read()?.get_sound(&UPLOADS, &id)?;
        if row.is_none_or(|row| row.touched_ms > before_ms) {
            return Ok(false);
        }
        match self.drop_rows(id).await {
            Err(StorageError::NoSuchUpload { .. }) => Ok(false),
            dropped => dropped.map(|()| true),
        }
    }

    async fn drop_rows(&self, id: UploadId) -> Result<(), StorageError> {
        self.ingest
            .catalog
            .transact(move |transaction| {
                let Some(row) = transaction.get_sound(&UPLOADS, &id)? else {
                    return Err(no_such_upload(&id));
                };
                transaction.delete(&UPLOADS, &id)?;
                accounts::release(transaction, &row.extents)?;
                Ok(())
            })
            .await
    }

    /// Forgets finished uploads whose hour has passed, up to a bounded number; how many.
    pub async fn forget_finished(&self, now_ms: u64) -> Result<usize, StorageError> {
        const ROWS_MAX: usize = 1000;
        let before = now_ms.saturating_sub(FINISHED_KEPT_MS);
        let due = {
            let snapshot = self.ingest.catalog.read()?;
            let rows = snapshot.scan_sound(&FINISHED_BY_TIME, &[], None)?;
            let mut due = Vec::new();
            for row in rows.take(ROWS_MAX) {
                let (key, ()) = row?;
                if key.finished_ms >= before {
                    break;
                }
                due.push(key);
            }
            due
        };
        if due.is_empty() {
            return Ok(0);
        }
        let forgotten = due.len();
        self.ingest
            .catalog
            .transact::<_, CatalogError, _>(move |transaction| {
                for key in &due {
                    transaction.delete(&FINISHED_BY_TIME, key)?;
                    transaction.delete(&FINISHED, &key.id)?;
                }
                Ok(())
            })
            .await?;
        Ok(forgotten)
    }

    /// A receiver that goes on where the session stands, with a hash of `algorithm`.
    async fn open<F>(
        &self,
        guard: Arc<SessionGuard>,
        id: UploadId,
        row: UploadRow,
        algorithm: Algorithm,
        closing: Option<Closing<F>>,
    ) -> Result<Body<F>, StorageError> {
        let saved = Hasher::restore(&row.hash).filter(|hash| hash.algorithm() == algorithm);
        let hasher = match saved {
            Some(hasher) => hasher,
            // The closing digest is of another algorithm than was hinted, or the state was saved
            // by another version: only then is what is stored read again.
            None => rehash(self.ingest.clone(), id, algorithm).await?,
        };
        Ok(Body {
            _guard: guard,
            id,
            base: row.offset,
            offset: row.offset,
            hasher,
            closing,
        })
    }
}

fn in_order(row: &UploadRow, start: Option<u64>) -> Result<(), StorageError> {
    match start {
        Some(start) if start != row.offset => Err(StorageError::OutOfOrder {
            offset: row.offset,
            start,
        }),
        _ => Ok(()),
    }
}

fn nothing() -> ByteStream<'static> {
    Box::pin(futures::stream::empty())
}

/// Hashes what an upload holds, which whoever calls has to hold: it does not grow meanwhile.
async fn rehash(
    ingest: Ingest,
    id: UploadId,
    algorithm: Algorithm,
) -> Result<Hasher, StorageError> {
    // A caller that goes away takes the work along: each repetition of its request would begin
    // another reading of all bytes.
    let gone = CancellationToken::new();
    let _going = gone.clone().drop_guard();
    blocking(move || {
        let look = |rows: &Snapshot| Ok::<_, StorageError>(rows.get_sound(&UPLOADS, &id)?);
        let (catalog, space) = (&ingest.catalog, &ingest.space);
        let held = pinned(catalog, space, look)?;
        let held = held.ok_or_else(|| no_such_upload(&id))?;
        let mut hasher = Hasher::new(algorithm);
        for extent in &held.row.extents {
            let mut at = 0;
            while at < extent.length {
                if gone.is_cancelled() {
                    return Err(Ending::Broken("the caller went away".into()).into_error(0));
                }
                let window = read_window(space, extent, &(at..extent.length))?;
                hasher.update(&window);
                at += window.len() as u64;
            }
        }
        Ok(hasher)
    })
    .await
}

/// The record of a receiver that closes nothing.
type RecordNothing = fn(&mut Transaction<'_>, u64) -> Result<(), StorageError>;
