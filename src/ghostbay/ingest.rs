//! Bodies on their way in: from a stream to durable extents to a transaction.
//!
//! Short bodies are gathered in memory and appended by the committer. Longer ones go through a
//! bounded channel to a blocking worker, which hashes and writes; it, and not the caller's
//! future, owns the packs until the committer has answered, so that a caller who goes away
//! in the middle leaves nothing half done (ORDERING.md, O6).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::{Semaphore, mpsc};

use super::blocking::blocking;
use super::catalog::{Catalog, CatalogError, Transaction};
use super::engine::ByteStream;
use super::error::StorageError;
use super::pack::accounts::Written;
use super::pack::small::SMALL_BODY_BYTES_MAX;
use super::pack::writer::BodyWriter;
use super::pack::{PackSpace, SmallBody};
use super::room::Gauge;
use crate::digest::Digest;
use crate::spans::span;

/// Frames that wait for a worker at most; what a client sends beyond them waits in its socket.
const FRAMES_MAX: usize = 8;

/// Workers at once. Each is a thread; a body that finds none free waits for its turn.
const WORKERS_MAX: usize = 256;

/// A running body is checkpointed when it has brought this many bytes.
const CHECKPOINT_BYTES: u64 = 64 << 20;

/// A running body is checkpointed when this has passed, if it brought anything.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);

/// How a body ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// As it should.
    Complete,
    /// Before its end, for this reason.
    Broken(String),
    /// It brought more or fewer bytes than it had announced.
    Mismatch {
        /// Bytes announced.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
}

impl Ending {
    /// The error for a body that did not end as it should, of which `offset` bytes are kept.
    pub fn into_error(self, offset: u64) -> StorageError {
        match self {
            Ending::Complete => StorageError::BodyBroken {
                offset,
                reason: "it ended early".into(),
            },
            Ending::Broken(reason) => StorageError::BodyBroken { offset, reason },
            Ending::Mismatch { expected, found } => StorageError::SizeMismatch { expected, found },
        }
    }
}

/// What is to be done in the transaction that names the written bytes.
pub type Commit<T, E> = Box<dyn Fn(&mut Transaction<'_>, &Written) -> Result<T, E> + Send>;

/// Someone who receives a body.
pub trait Receive: Send + 'static {
    /// What the last transaction gives.
    type Output: Send + 'static;
    /// Why the body is refused.
    type Error: From<StorageError> + From<CatalogError> + Send + 'static;

    /// Whom the records are written for, and the number of the body's first byte in its stream.
    fn place(&self) -> ([u8; 16], u64);

    /// Takes in the next bytes, for hashing.
    fn take_in(&mut self, bytes: &[u8]);

    /// The transaction that keeps what came so far; `None` if only the whole counts.
    fn checkpoint(&mut self) -> Option<Commit<(), Self::Error>>;

    /// The body has ended: the last transaction, and the digest if the body completes a blob. On
    /// an error, what was not checkpointed is dropped.
    fn end(&mut self, ending: Ending) -> Ended<Self::Output, Self::Error>;
}

/// What a receiver makes of the end of its body.
pub type Ended<T, E> = Result<(Commit<T, E>, Option<Digest>), E>;

/// What bodies go into. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    /// The index.
    pub catalog: Catalog,
    /// The packs.
    pub space: PackSpace,
    /// The room on their disk.
    pub gauge: Gauge,
    workers: Arc<Semaphore>,
}

enum Frame {
    Data(Bytes),
    /// Time passes without data.
    Tick,
    End(Ending),
}

/// Counts a body against what was announced.
struct Counted<'a> {
    body: ByteStream<'a>,
    announced: Option<u64>,
    found: u64,
}

impl Counted<'_> {
    /// The next bytes, or how the body ended.
    async fn next(&mut self) -> Result<Bytes, Ending> {
        match self.body.next().await {
            Some(Ok(bytes)) => {
                self.found += bytes.len() as u64;
                match self.announced {
                    Some(expected) if self.found > expected => Err(Ending::Mismatch {
                        expected,
                        found: self.found,
                    }),
                    _ => Ok(bytes),
                }
            }
            Some(Err(error)) => Err(Ending::Broken(format!("{error:#}"))),
            None => Err(match self.announced {
                Some(expected) if self.found < expected => Ending::Mismatch {
                    expected,
                    found: self.found,
                },
                _ => Ending::Complete,
            }),
        }
    }
}

impl Ingest {
    /// An ingest into these packs, on the disk of `gauge`, and this index.
    pub fn new(catalog: Catalog, space: PackSpace, gauge: Gauge) -> Self {
        Ingest {
            catalog,
            space,
            gauge,
            workers: Arc::new(Semaphore::new(WORKERS_MAX)),
        }
    }

    /// Receives a body of `announced` bytes, where known, and commits it.
    pub async fn receive<R: Receive>(
        &self,
        body: ByteStream<'_>,
        announced: Option<u64>,
        mut receiver: R,
    ) -> Result<R::Output, R::Error> {
        // What brings no byte takes next to no room, and ends an upload that holds some.
        if announced != Some(0) {
            self.gauge.check()?;
        }
        let mut body = Counted {
            body,
            announced,
            found: 0,
        };
        let mut gathered = Gathered::default();
        if announced.is_none_or(|announced| announced <= SMALL_BODY_BYTES_MAX) {
            loop {
                match body.next().await {
                    Ok(bytes) => gathered.add(bytes),
                    Err(ending) => {
                        return self
                            .commit_small(gathered.into_bytes(), ending, receiver)
                            .await;
                    }
                }
                if body.found > SMALL_BODY_BYTES_MAX {
                    break;
                }
            }
        }

        // A closed semaphore does not happen; without a permit the body would only be unbounded.
        let permit = self.workers.clone().acquire_owned().await.ok();
        let (frames, mut queue) = mpsc::channel(FRAMES_MAX);
        let (catalog, gauge) = (self.catalog.clone(), self.gauge.clone());
        let space = self.space.clone();
        let write = span!("write");
        let worker = blocking(move || {
            let _write = write.entered();
            let _permit = permit;
            let (owner, position) = receiver.place();
            let writer = BodyWriter::new(space, owner, position, announced);
            work(&catalog, &gauge, writer, &mut receiver, &mut queue)
        });
        feed(gathered.into_bytes(), body, frames).await;
        worker.await
    }

    async fn commit_small<R: Receive>(
        &self,
        bytes: Bytes,
        ending: Ending,
        mut receiver: R,
    ) -> Result<R::Output, R::Error> {
        receiver.take_in(&bytes);
        let (owner, position) = receiver.place();
        let (commit, digest) = receiver.end(ending)?;
        // The receiver may hold what keeps others away. The operation takes it along, so that it is
        // let go when all is committed, also if the caller goes away before.
        let commit = move |transaction: &mut Transaction<'_>, written: &Written| {
            let _held = &receiver;
            commit(transaction, written)
        };
        if bytes.is_empty() {
            let commit =
                move |transaction: &mut Transaction<'_>| commit(transaction, &Written::default());
            return self.catalog.transact(commit).await;
        }
        let body = SmallBody {
            owner,
            position,
            bytes,
            digest,
        };
        self.catalog
            .transact_with_body(body, move |transaction, extent| {
                let written = Written {
                    extents: vec![*extent],
                    full: Vec::new(),
                };
                commit(transaction, &written)
            })
            .await
    }
}

/// A body's beginning. One frame stays as it came; several are joined as they come, since each holds
/// on to the buffer that it was read into, however short it is.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    joined: BytesMut,
}

impl Gathered {
    fn add(&mut self, bytes: Bytes) {
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = bytes;
            return;
        }
        self.joined
            .extend_from_slice(&std::mem::take(&mut self.first));
        self.joined.extend_from_slice(&bytes);
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        }
    }
}

/// Sends a body to its worker, frame by frame. Stops early if the worker has given up.
async fn feed(gathered: Bytes, mut body: Counted<'_>, frames: mpsc::Sender<Frame>) {
    if frames.send(Frame::Data(gathered)).await.is_err() {
        return;
    }
    loop {
        let frame = match tokio::time::timeout(CHECKPOINT_INTERVAL, body.next()).await {
            Ok(Ok(bytes)) => Frame::Data(bytes),
            Ok(Err(ending)) => Frame::End(ending),
            Err(_) => Frame::Tick,
        };
        let ended = matches!(frame, Frame::End(_));
        if frames.send(frame).await.is_err() || ended {
            return;
        }
    }
}

/// The blocking half: hash, write, checkpoint, commit.
fn work<R: Receive>(
    catalog: &Catalog,
    gauge: &Gauge,
    mut writer: BodyWriter,
    receiver: &mut R,
    queue: &mut mpsc::Receiver<Frame>,
) -> Result<R::Output, R::Error> {
    let mut since_checkpoint = 0;
    let mut last_checkpoint = Instant::now();
    let ending = loop {
        match queue.blocking_recv() {
            Some(Frame::Data(bytes)) => {
                gauge.check()?;
                receiver.take_in(&bytes);
                // A body that cannot be written is dropped and cut off: a full disk gets its
                // space back.
                writer.write(&bytes).map_err(write_error)?;
                since_checkpoint += bytes.len() as u64;
            }
            Some(Frame::Tick) => {}
            Some(Frame::End(ending)) => break ending,
            None => break Ending::Broken("the caller went away".into()),
        }
        let due = since_checkpoint >= CHECKPOINT_BYTES
            || since_checkpoint > 0 && last_checkpoint.elapsed() >= CHECKPOINT_INTERVAL;
        if due && let Some(commit) = receiver.checkpoint() {
            writer = seal_and_commit(catalog, writer, None, commit)?.1;
            since_checkpoint = 0;
            last_checkpoint = Instant::now();
        }
    };
    let (commit, digest) = receiver.end(ending)?;
    Ok(seal_and_commit(catalog, writer, digest, commit)?.0)
}

fn write_error(error: std::io::Error) -> StorageError {
    StorageError::Write(Arc::new(error))
}

/// Body, then fdatasync, then the transaction (ORDERING.md, O1 and O2). Gives the writer back.
fn seal_and_commit<T, E>(
    catalog: &Catalog,
    mut writer: BodyWriter,
    digest: Option<Digest>,
    commit: Commit<T, E>,
) -> Result<(T, BodyWriter), E>
where
    T: Send + 'static,
    E: From<StorageError> + From<CatalogError> + Send + 'static,
{
    writer.seal(digest).map_err(write_error)?;
    if let Err(error) = writer.sync() {
        // After a failed sync nobody knows what of the pack is on the disk: it is not used again.
        writer.abandon();
        return Err(write_error(error).into());
    }
    let written = writer.written().clone();
    match catalog.transact_blocking(move |transaction| commit(transaction, &written)) {
        Ok(Ok(done)) => {
            writer.commit();
            Ok((done, writer))
        }
        // Refused: nothing names the bytes, and dropping the writer cuts them off.
        Ok(Err(refusal)) => Err(refusal),
        Err(error) => {
            writer.abandon();
            Err(error.into())
        }
    }
}
