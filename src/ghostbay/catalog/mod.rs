//! The catalog: a transactional, ordered map of typed rows. The truth of what exists.
//!
//! * [`table`]: typed tables, snapshots and transactions
//! * [`key`], [`codec`]: keys and rows as bytes
//! * `index`: the file of the index, opened again when it fails; `redb_map`, `pages`: the map on
//!   redb, whose types stay there
//! * `committer`: group commit
//! * [`change_log`]: what the index can be made again from; [`rebuild`]: doing so
//! * [`schema`]: what the catalog says of itself, and the steps from version to version

pub mod backup;
pub mod change_log;
pub mod codec;
mod committer;
pub mod compare;
#[cfg(test)]
mod counted;
mod error;
mod index;
pub mod key;
mod pages;
pub mod rebuild;
mod redb_map;
pub mod schema;
pub mod table;

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tracing::Instrument;

pub use codec::Value;
pub use committer::{CommitListener, ReadCatalog, SmallBodies};
#[cfg(test)]
pub use counted::Counted;
pub use error::CatalogError;
pub use index::{IndexPlace, NEW_INDEX_FILE};
pub use key::{Key, KeyReader, KeyWriter};
pub use table::{Change, Fault, Inspected, Rows, Snapshot, Table, TableInfo, Transaction};

use committer::{Committer, Failure, Job, Operation};
use index::Index;

use super::disk::Disk;
use super::figures::Commits;
use super::pack::{Extent, SmallBody};
use crate::spans::span;
use redb_map::RedbMap;

/// An index that is looked at and stays as it is to the byte, whatever a start would mend.
pub struct ViewedCatalog {
    map: RedbMap,
}

impl ViewedCatalog {
    /// Reads every page of the index at `path` and compares it with the checksum that the page
    /// above holds.
    pub fn check_pages(
        disk: &dyn Disk,
        path: &Path,
        cache_bytes: usize,
    ) -> Result<(), CatalogError> {
        RedbMap::view(disk, path, cache_bytes)?.check_pages()
    }

    /// Opens the index at `path` to look at it. Nobody else has it open.
    pub fn open(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<Self, CatalogError> {
        let map = RedbMap::view(disk, path, cache_bytes)?;
        Ok(ViewedCatalog { map })
    }

    /// Leaves it unclosed when it is dropped, for an index whose pages are known to be damaged.
    pub fn let_go(&mut self) {
        self.map.let_go();
    }

    /// The state after the last commit.
    pub fn read(&self) -> Result<Snapshot, CatalogError> {
        Ok(Snapshot::new(self.map.read()?))
    }
}

/// A catalog whose index is open and migrated, but that nothing writes to yet.
pub struct OpenCatalog {
    index: Arc<Index>,
    sequence: u64,
    migrated: bool,
}

impl OpenCatalog {
    /// Opens the index at `place`, making it if it is not there, and brings it to the newest
    /// schema of `steps`.
    pub fn open(place: IndexPlace, steps: &[schema::Step]) -> Result<Self, CatalogError> {
        let (map, migrated) = match place.open()? {
            Some(map) => {
                schema::check_made(&map)?;
                let migrated = schema::migrate(&map, steps)?;
                (map, migrated)
            }
            None => (
                place.make(|map| schema::migrate(map, steps).map(drop))?,
                true,
            ),
        };
        let index = Arc::new(Index::new(place, map));
        let sequence = schema::sequence(&Snapshot::new(index.read()?))?;
        Ok(OpenCatalog {
            index,
            sequence,
            migrated,
        })
    }

    /// The schema version of the index at `place`; `None` if there is none. Not a byte of it is
    /// changed.
    pub fn version(place: &IndexPlace) -> Result<Option<u32>, CatalogError> {
        let Some(map) = place.view()? else {
            return Ok(None);
        };
        schema::check_made(&map)?;
        schema::version(&Snapshot::new(map.read()?)).map(Some)
    }

    /// The state as it was found.
    pub fn read(&self) -> Result<Snapshot, CatalogError> {
        Ok(Snapshot::new(self.index.read()?))
    }

    /// What gives the state after the last commit.
    pub fn reader(&self) -> ReadCatalog {
        Index::reader(&self.index)
    }

    /// Sequence number of the last transaction.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether opening changed the schema: the change log then needs a new checkpoint.
    pub fn migrated(&self) -> bool {
        self.migrated
    }

    /// Starts the committer.
    pub fn start(
        self,
        bodies: Box<dyn SmallBodies>,
        listener: Box<dyn CommitListener>,
    ) -> std::io::Result<Catalog> {
        let (queue, jobs) = channel::<Box<dyn Job>>();
        let committer = Committer::new(self.index.clone(), bodies, listener, self.sequence);
        let failure = committer.failure();
        let commits = committer.commits();
        let thread = std::thread::Builder::new()
            .name("committer".into())
            .spawn(move || committer.run(&jobs))?;
        Ok(Catalog {
            index: self.index,
            writer: Arc::new(Mutex::new(Some(Writer { queue, thread }))),
            failure,
            commits,
        })
    }
}

struct Writer {
    queue: Sender<Box<dyn Job>>,
    thread: JoinHandle<()>,
}

/// The catalog of a running store. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    index: Arc<Index>,
    writer: Arc<Mutex<Option<Writer>>>,
    failure: Failure,
    commits: Arc<Commits>,
}

impl Catalog {
    /// What is counted of its commits.
    pub fn commits(&self) -> &Arc<Commits> {
        &self.commits
    }

    /// The state after the last commit.
    pub fn read(&self) -> Result<Snapshot, CatalogError> {
        Ok(Snapshot::new(self.index.read()?))
    }

    /// Runs `operation` in a transaction and answers when it is durable.
    ///
    /// The operation shares its transaction with others, may be run again, and is then to do the
    /// same: it is a pure function of the rows, validates before it writes, and does not rely on
    /// being the only writer. An error of its own leaves no trace.
    pub async fn transact<T, E, F>(&self, operation: F) -> Result<T, E>
    where
        F: Fn(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        let commit = span!("commit");
        let answer = self.submit(None, move |transaction, _| operation(transaction));
        let answer = answer.instrument(commit).await;
        answer.unwrap_or(Err(CatalogError::Closed))?
    }

    /// As [`Catalog::transact`], for a small body that is to be durable before the rows that name
    /// it. The operation is given the body's extent.
    pub async fn transact_with_body<T, E, F>(&self, body: SmallBody, operation: F) -> Result<T, E>
    where
        F: Fn(&mut Transaction<'_>, &Extent) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        let commit = span!("commit", drift.body_bytes = body.bytes.len() as i64);
        let answer = self.submit(Some(body), move |transaction, extent| match extent {
            Some(extent) => operation(transaction, extent),
            None => Err(CatalogError::Closed.into()),
        });
        let answer = answer.instrument(commit).await;
        answer.unwrap_or(Err(CatalogError::Closed))?
    }

    /// As [`Catalog::transact`], for a thread that may block. The outer error says that the
    /// commit itself failed, and that it is not known whether the operation will be found done
    /// after the next start.
    pub fn transact_blocking<T, E, F>(&self, operation: F) -> Result<Result<T, E>, CatalogError>
    where
        F: Fn(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let _commit = span!("commit").entered();
        self.submit(None, move |transaction, _| operation(transaction))
            .blocking_recv()
            .unwrap_or(Err(CatalogError::Closed))
    }

    fn submit<T, E, F>(&self, body: Option<SmallBody>, operation: F) -> committer::Answer<T, E>
    where
        F: Fn(&mut Transaction<'_>, Option<&Extent>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (job, answer) = Operation::new(operation, body);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        match &*writer {
            Some(writer) => committer::send(&writer.queue, job),
            None => job.answer(Err(CatalogError::Closed)),
        }
        answer
    }

    /// Whether a transaction would be taken: an error if the catalog is closed, or if the index
    /// failed and could not be opened again yet.
    pub fn writable(&self) -> Result<(), CatalogError> {
        if self.is_closed() {
            return Err(CatalogError::Closed);
        }
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone().map_or(Ok(()), Err)
    }

    /// Whether nothing can be written any more: the catalog was closed, or its thread has died.
    fn is_closed(&self) -> bool {
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_none_or(|writer| writer.thread.is_finished())
    }

    /// Commits what is queued and ends the committer; whatever comes later is refused.
    /// Blocks until the thread has ended.
    pub fn close(&self) {
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            drop(writer.queue);
            if writer.thread.join().is_err() {
                tracing::error!("the committer had panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests;
