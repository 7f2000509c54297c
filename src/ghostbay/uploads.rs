//! Upload sessions: bytes that arrive in pieces until their digest closes them.
//!
//! A session keeps its extents, its offset and its running hash in the index, so that it goes on
//! at the byte it stopped at, after a kill at its last checkpoint, and nothing is hashed twice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::blocking::blocking;
use super::catalog::{CatalogError, Key, KeyReader, KeyWriter, Rows, Table, Transaction, Value};
use super::clock::now_ms;
use super::engine::ByteStream;
use super::error::{StorageError, excerpt};
use super::ingest::{Commit, Ended, Ending, Ingest, Receive};
use super::objects::{self, ObjectKey, blob_key, blob_row};
use super::pack::accounts::{self, Written};
use super::pack::reader::read_window;
use super::pack::{Extent, PackSpace};
use super::sessions::{SessionGuard, Sessions};
use crate::digest::{Algorithm, Digest, Hasher};

/// Uploads that are under way.
pub const UPLOADS: Table<UploadId, UploadRow> = Table::new(0x06, "uploads");

/// Uploads that were finished within [`FINISHED_KEPT_MS`].
pub const FINISHED: Table<UploadId, FinishedRow> = Table::new(0x07, "finished_uploads");

/// The same by the time of their end, for forgetting them.
pub const FINISHED_BY_TIME: Table<FinishedKey, ()> = Table::new(0x08, "finished_uploads_by_time");

/// How long a finished upload is remembered, so that a closing request whose answer was lost
/// can be repeated: an hour, in milliseconds.
pub const FINISHED_KEPT_MS: u64 = 60 * 60 * 1000;

/// Identity of an upload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(Uuid);

impl UploadId {
    /// A new identity; it cannot be guessed.
    pub fn random() -> Self {
        UploadId(Uuid::new_v4())
    }

    /// The identity's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The identity of these bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(UploadId)
    }
}

impl FromStr for UploadId {
    type Err = StorageError;

    /// An id that was never given out is like one that has gone.
    fn from_str(text: &str) -> Result<Self, StorageError> {
        Uuid::try_parse(text)
            .ok()
            .map(UploadId)
            // Only the spelling that we give out.
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| StorageError::NoSuchUpload {
                upload: excerpt(text),
            })
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Key for UploadId {
    const LAYOUT: &'static str = "upload 16 bytes";

    fn encode(&self, out: &mut KeyWriter) {
        out.raw(self.as_bytes());
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        UploadId::from_slice(input.raw())
    }
}

/// An upload under way.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct UploadRow {
    /// Whose it is; nobody else finds it.
    pub scope: String,
    /// Bytes that it holds.
    pub offset: u64,
    /// Where they lie.
    pub extents: Vec<Extent>,
    /// Running hash over them, as [`Hasher::save`] gives it.
    pub hash: Vec<u8>,
    /// Code of the running hash's algorithm.
    pub algorithm: u8,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: u64,
    /// When bytes last came.
    pub touched_ms: u64,
}

impl Value for UploadRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "scope text, offset u64, extents [pack u64, offset u64, length u64], hash bytes, algorithm u8, begun_ms u64, touched_ms u64";
}

/// An upload that was finished.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FinishedRow {
    /// Whose it was.
    pub scope: String,
    /// What it became.
    pub digest: Digest,
    /// When, in milliseconds since 1970.
    pub finished_ms: u64,
}

impl Value for FinishedRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "scope text, digest (algorithm u8, raw bytes), finished_ms u64";
}

/// A finished upload by its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FinishedKey {
    /// When, in milliseconds since 1970.
    pub finished_ms: u64,
    /// Which.
    pub id: UploadId,
}

impl Key for FinishedKey {
    const LAYOUT: &'static str = "finished_ms u64, upload 16 bytes";

    fn encode(&self, out: &mut KeyWriter) {
        out.u64(self.finished_ms).raw(self.id.as_bytes());
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(FinishedKey {
            finished_ms: input.u64()?,
            id: UploadId::from_slice(input.raw())?,
        })
    }
}

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

fn find(rows: &impl Rows, scope: &str, id: &UploadId) -> Result<UploadRow, StorageError> {
    rows.get(&UPLOADS, id)?
        .filter(|row| row.scope == scope)
        .ok_or_else(|| no_such_upload(id))
}

impl UploadRow {
    fn algorithm(&self) -> Result<Algorithm, StorageError> {
        Algorithm::from_code(self.algorithm).ok_or_else(|| {
            StorageError::Catalog(CatalogError::Corrupt {
                table: UPLOADS.info().name,
                reason: format!("hash algorithm {}", self.algorithm),
            })
        })
    }
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
        let guard = self.sessions.acquire(*id).await;
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
    /// the bucket's blob in the transaction that `record` runs in too. A wrong digest drops the
    /// upload. A repetition within an hour answers as the first time.
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
        F: Fn(&mut Transaction<'_>) -> Result<(), E> + Send + 'static,
        E: From<StorageError> + From<CatalogError> + Send + 'static,
    {
        let guard = self.sessions.acquire(*id).await;
        let snapshot = self.ingest.catalog.read()?;
        let Some(row) = snapshot.get(&UPLOADS, id)?.filter(|row| row.scope == scope) else {
            return match snapshot.get(&FINISHED, id)? {
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
            .open(guard, *id, row, digest.algorithm(), Some(closing))
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
        F: Fn(&mut Transaction<'_>) -> Result<(), E> + Send + 'static,
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

    async fn drop_rows(&self, id: UploadId) -> Result<(), StorageError> {
        self.ingest
            .catalog
            .transact(move |transaction| {
                let Some(row) = transaction.get(&UPLOADS, &id)? else {
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
            let rows = snapshot.scan(&FINISHED_BY_TIME, &[], None)?;
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
        guard: SessionGuard,
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
            None => rehash(self.ingest.space.clone(), row.extents, algorithm).await?,
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

async fn rehash(
    space: PackSpace,
    extents: Vec<Extent>,
    algorithm: Algorithm,
) -> Result<Hasher, StorageError> {
    blocking(move || {
        let mut hasher = Hasher::new(algorithm);
        for extent in &extents {
            let mut at = 0;
            while at < extent.length {
                let window = read_window(&space, extent, &(at..extent.length))?;
                hasher.update(&window);
                at += window.len() as u64;
            }
        }
        Ok(hasher)
    })
    .await
}

/// The record of a receiver that closes nothing.
type RecordNothing = fn(&mut Transaction<'_>) -> Result<(), StorageError>;

/// What closes an upload.
struct Closing<F> {
    digest: Digest,
    bucket: String,
    record: F,
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
enum Refusal<E> {
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
enum Outcome {
    /// They were kept. Why they are not all, if they are not.
    Kept(UploadStatus, Option<Ending>),
    /// They closed the upload.
    Closed,
}

/// Receives bytes for a session. Holds it until the committer has answered.
struct Body<F> {
    _guard: SessionGuard,
    id: UploadId,
    /// Offset that the index knows.
    base: u64,
    /// Offset behind what was taken in.
    offset: u64,
    hasher: Hasher,
    closing: Option<Closing<F>>,
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
fn at(transaction: &Transaction<'_>, id: &UploadId, base: u64) -> Result<UploadRow, StorageError> {
    let row = transaction
        .get(&UPLOADS, id)?
        .ok_or_else(|| no_such_upload(id))?;
    in_order(&row, Some(base))?;
    Ok(row)
}

impl<E, F> Receive for Body<F>
where
    F: Fn(&mut Transaction<'_>) -> Result<(), E> + Send + 'static,
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
            record(transaction).map_err(Refusal::Caller)?;
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
struct Whole<F> {
    owner: [u8; 16],
    hasher: Option<Hasher>,
    size: u64,
    closing: Option<Closing<F>>,
}

impl<E, F> Receive for Whole<F>
where
    F: Fn(&mut Transaction<'_>) -> Result<(), E> + Send + 'static,
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
            record(transaction).map_err(Refusal::Caller)?;
            accounts::add(transaction, written)?;
            let blob = blob_row(&digest, size, written.extents.clone(), now);
            objects::put_addressed(transaction, &key, &blob)?;
            Ok(())
        });
        Ok((commit, Some(digest)))
    }
}
