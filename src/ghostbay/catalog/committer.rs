//! Group commit: all that waits becomes one transaction.
//!
//! One thread owns writing. It takes everything in its queue, makes the small bodies among it
//! durable with one fsync (ORDERING.md, O1), runs every operation in one redb transaction (O2),
//! writes the change log (O3), and only then answers each caller (O4).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::CatalogError;
use super::index::Index;
use super::schema;
use super::table::{Change, RawWrite, Snapshot, Transaction};
use crate::ghostbay::figures::Commits;
use crate::ghostbay::pack::{Extent, SmallBody};

/// Operations that one transaction takes in at most; it bounds the memory of a batch and the
/// time that its first caller waits for its last.
const BATCH_OPERATIONS_MAX: usize = 1024;

/// A batch whose small bodies have grown to this takes in no more: they are gathered in one
/// buffer.
const BATCH_BODY_BYTES_MAX: usize = 32 << 20;

/// How often an idle committer looks after the index.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A failed index is opened again after this, and after twice as long each time that fails.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(500);

/// The longest pause between two attempts.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(15);

/// Where the committer puts small bodies: appended together, durable when `append` returns.
pub trait SmallBodies: Send {
    /// Appends the bodies and makes them durable; one extent for each, in order.
    fn append(&mut self, bodies: &[&SmallBody]) -> io::Result<Vec<Extent>>;

    /// Nothing was appended for a while: what is held for appending may be used otherwise.
    fn rest(&mut self);
}

/// Gives the state after the last commit.
pub type ReadCatalog = Arc<dyn Fn() -> Result<Snapshot, CatalogError> + Send + Sync>;

/// Where the committer tells each committed transaction.
pub trait CommitListener: Send {
    /// Called after the commit of transaction `sequence` and before its callers are answered.
    fn committed(&mut self, sequence: u64, changes: &[Change], read: &ReadCatalog);

    /// Called when the index was opened again and stands behind transaction `sequence`, which
    /// [`CommitListener::committed`] may not have been told of: its commit failed, and is done
    /// all the same.
    fn reopened(&mut self, sequence: u64);
}

/// An operation in the queue.
pub(super) trait Job: Send {
    /// A small body that is to be appended with the batch.
    fn body(&self) -> Option<&SmallBody>;

    /// Runs the operation, and whether it succeeded. May be called again.
    fn run(&mut self, transaction: &mut Transaction<'_>, body: Option<&Extent>) -> bool;

    /// Answers the caller: with the operation's own result if the batch was committed.
    fn answer(self: Box<Self>, batch: Result<(), CatalogError>);
}

/// The operation's own result, or why its batch was not committed.
pub(super) type Answer<T, E> = oneshot::Receiver<Result<Result<T, E>, CatalogError>>;

/// An operation with its types.
pub(super) struct Operation<T, E, F> {
    operation: F,
    body: Option<SmallBody>,
    result: Option<Result<T, E>>,
    caller: oneshot::Sender<Result<Result<T, E>, CatalogError>>,
}

impl<T, E, F> Operation<T, E, F>
where
    F: Fn(&mut Transaction<'_>, Option<&Extent>) -> Result<T, E>,
{
    pub fn new(operation: F, body: Option<SmallBody>) -> (Box<Self>, Answer<T, E>) {
        let (caller, answer) = oneshot::channel();
        let operation = Box::new(Operation {
            operation,
            body,
            result: None,
            caller,
        });
        (operation, answer)
    }
}

impl<T, E, F> Job for Operation<T, E, F>
where
    F: Fn(&mut Transaction<'_>, Option<&Extent>) -> Result<T, E> + Send,
    T: Send,
    E: Send,
{
    fn body(&self) -> Option<&SmallBody> {
        self.body.as_ref()
    }

    fn run(&mut self, transaction: &mut Transaction<'_>, body: Option<&Extent>) -> bool {
        // A run before this one has no say any more, also if this one panics.
        self.result = None;
        let result = (self.operation)(transaction, body);
        let succeeded = result.is_ok();
        self.result = Some(result);
        succeeded
    }

    fn answer(self: Box<Self>, batch: Result<(), CatalogError>) {
        let result = match (self.result, batch) {
            (Some(result), Ok(())) => Ok(result),
            // Also instead of a refusal: it may rest on what another of the batch had written,
            // which then never came to be.
            (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(CatalogError::Panicked),
        };
        // A caller that has gone needs no answer; what was committed stays.
        let _ = self.caller.send(result);
    }
}

/// Why the index failed in the last commit, if it did.
pub(super) type Failure = Arc<Mutex<Option<CatalogError>>>;

/// The thread that owns writing.
pub(super) struct Committer {
    index: Arc<Index>,
    read: ReadCatalog,
    bodies: Box<dyn SmallBodies>,
    listener: Box<dyn CommitListener>,
    sequence: u64,
    failure: Failure,
    commits: Arc<Commits>,
    /// When the index is to be opened again at the soonest, and how long to wait behind that.
    retry: Retry,
}

/// How often a failed index is opened again.
struct Retry {
    at: Instant,
    pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            at: Instant::now(),
            pause: RETRY_PAUSE_MIN,
        }
    }
}

impl Committer {
    /// A committer that goes on behind transaction `sequence`.
    pub fn new(
        index: Arc<Index>,
        bodies: Box<dyn SmallBodies>,
        listener: Box<dyn CommitListener>,
        sequence: u64,
    ) -> Self {
        Committer {
            read: Index::reader(&index),
            index,
            bodies,
            listener,
            sequence,
            failure: Failure::default(),
            commits: Arc::default(),
            retry: Retry::default(),
        }
    }

    /// Where this committer leaves word of a failed index.
    pub fn failure(&self) -> Failure {
        self.failure.clone()
    }

    /// What is counted of the commits.
    pub fn commits(&self) -> Arc<Commits> {
        self.commits.clone()
    }

    fn note(&self, failure: Option<&CatalogError>) {
        let mut noted = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = failure.cloned();
    }

    /// Commits until every sender is gone and the queue is empty.
    pub fn run(mut self, queue: &Receiver<Box<dyn Job>>) {
        loop {
            let first = match queue.recv_timeout(LOOK_INTERVAL) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.bodies.rest();
                    // A read may have found the index failed: it comes back without a write.
                    self.see_to_index();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let body_bytes = |job: &dyn Job| job.body().map_or(0, |body| body.bytes.len());
            let mut bytes = body_bytes(&*first);
            let mut batch = vec![first];
            while batch.len() < BATCH_OPERATIONS_MAX && bytes < BATCH_BODY_BYTES_MAX {
                match queue.try_recv() {
                    Ok(job) => {
                        bytes += body_bytes(&*job);
                        batch.push(job);
                    }
                    Err(_) => break,
                }
            }
            self.commit(batch);
        }
    }

    /// Opens a failed index again; whether it can be written.
    fn see_to_index(&mut self) -> bool {
        if !self.index.has_failed() {
            return true;
        }
        if Instant::now() < self.retry.at {
            return false;
        }
        let reopened = self
            .index
            .reopen()
            .and_then(|()| schema::sequence(&Snapshot::new(self.index.read()?)));
        match reopened {
            Ok(sequence) => {
                tracing::warn!(sequence, "the index was opened again and takes writes");
                self.sequence = sequence;
                self.listener.reopened(sequence);
                self.note(None);
                self.retry = Retry::default();
                true
            }
            Err(error) => {
                let pause = self.retry.pause;
                tracing::error!(%error, ?pause, "the index could not be opened again");
                self.note(Some(&error));
                self.retry = Retry {
                    at: Instant::now() + pause,
                    pause: RETRY_PAUSE_MAX.min(2 * pause),
                };
                false
            }
        }
    }

    fn commit(&mut self, mut batch: Vec<Box<dyn Job>>) {
        // Before anything is written for a commit that cannot be.
        if !self.see_to_index() {
            let why = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            let error = why.clone().unwrap_or(CatalogError::Closed);
            drop(why);
            for job in batch {
                job.answer(Err(error.clone()));
            }
            return;
        }
        let began = Instant::now();
        let outcome = self.append_bodies(&batch).and_then(|extents| {
            let mut refused = vec![false; batch.len()];
            // An operation that fails after it wrote spoils the transaction: it is dropped and
            // the others run again without it. Each round takes out at least one.
            loop {
                match self.attempt(&mut batch, &extents, &mut refused) {
                    Ok(Attempt::Committed(changes)) => return Ok(changes),
                    Ok(Attempt::Spoiled) => continue,
                    Err(error) => return Err(error),
                }
            }
        });
        let answer = match outcome {
            Ok(changes) => {
                if !changes.is_empty() {
                    self.note(None);
                    self.sequence += 1;
                    self.listener.committed(self.sequence, &changes, &self.read);
                    self.commits.operations.observe(batch.len() as u64);
                    self.commits.times.observe_time(began.elapsed());
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, operations = batch.len(), "a commit failed");
                if matches!(error, CatalogError::Index(_) | CatalogError::Damaged(_)) {
                    self.note(Some(&error));
                    // Whether the commit is done is settled before anybody is told that it
                    // failed: nobody sees it undone first and done later.
                    self.see_to_index();
                }
                Err(error)
            }
        };
        for job in batch {
            job.answer(answer.clone());
        }
    }

    fn append_bodies(
        &mut self,
        batch: &[Box<dyn Job>],
    ) -> Result<Vec<Option<Extent>>, CatalogError> {
        let bodies: Vec<&SmallBody> = batch.iter().filter_map(|job| job.body()).collect();
        if bodies.is_empty() {
            return Ok(vec![None; batch.len()]);
        }
        let mut appended = self
            .bodies
            .append(&bodies)
            .map_err(|error| CatalogError::Body(Arc::new(error)))?
            .into_iter();
        Ok(batch
            .iter()
            .map(|job| job.body().and_then(|_| appended.next()))
            .collect())
    }

    /// Runs all operations that were not refused, in one transaction.
    fn attempt(
        &self,
        batch: &mut [Box<dyn Job>],
        extents: &[Option<Extent>],
        refused: &mut [bool],
    ) -> Result<Attempt, CatalogError> {
        let mut changes = Vec::new();
        let mut spoiled = false;
        let work = |rows: &mut dyn RawWrite| {
            for (position, job) in batch.iter_mut().enumerate() {
                if refused[position] {
                    continue;
                }
                let before = changes.len();
                let mut transaction = Transaction::new(rows, &mut changes);
                let body = extents[position].as_ref();
                // A panic is caught here, and not by whoever holds the transaction: redb does
                // not roll back while a thread unwinds, and nothing more would ever be written.
                let ran = catch_unwind(AssertUnwindSafe(|| job.run(&mut transaction, body)));
                if !matches!(ran, Ok(true)) {
                    refused[position] = true;
                    if ran.is_err() || changes.len() > before {
                        spoiled = true;
                        return Err(CatalogError::Closed);
                    }
                }
            }
            if changes.is_empty() {
                return Err(CatalogError::Closed);
            }
            schema::set_sequence(&mut Transaction::new(rows, &mut changes), self.sequence + 1)
        };
        match self.index.write(work) {
            Ok(()) => Ok(Attempt::Committed(changes)),
            Err(_) if spoiled => Ok(Attempt::Spoiled),
            // Nothing to write: no commit, no fsync.
            Err(CatalogError::Closed) if changes.is_empty() => Ok(Attempt::Committed(changes)),
            Err(error) => Err(error),
        }
    }
}

enum Attempt {
    Committed(Vec<Change>),
    Spoiled,
}

/// Sends a job to the committer.
pub(super) fn send(queue: &Sender<Box<dyn Job>>, job: Box<dyn Job>) {
    if let Err(unsent) = queue.send(job) {
        unsent.0.answer(Err(CatalogError::Closed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_batch_said_is_not_believed() {
        let answer = |batch: Result<(), CatalogError>| {
            let refuse = |_: &mut Transaction<'_>, _: Option<&Extent>| Err::<(), _>("refused");
            let (mut job, answer) = Operation::new(refuse, None);
            job.result = Some(Err("refused"));
            let job: Box<dyn Job> = job;
            job.answer(batch);
            answer.blocking_recv().unwrap()
        };
        assert!(matches!(answer(Ok(())), Ok(Err("refused"))));
        assert!(answer(Err(CatalogError::Closed)).is_err());
    }
}
