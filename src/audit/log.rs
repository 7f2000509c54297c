//! Where events go in.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::event::Event;
use super::file::FileOptions;
use super::query::Query;
use super::writer::Writer;
use crate::ghostbay::catalog::{Catalog, CatalogError};

/// Events that wait to be written. Whoever has one more waits until there is room.
const WAITING_MAX: usize = 4096;

/// What is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// Logins, refusals and changes.
    #[default]
    Changes,
    /// Every request.
    Everything,
}

/// How the log is kept.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// The file.
    pub file: FileOptions,
    /// How many rows the index keeps; 0: none.
    pub rows: u64,
    /// What is written down.
    pub detail: Detail,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The table cannot be read.
    #[error("the audit log's table cannot be read: {0}")]
    Table(#[from] CatalogError),
    /// The writer cannot be started.
    #[error("the audit log's thread cannot be started: {0}")]
    Thread(io::Error),
}

/// What the writer is told.
pub(super) enum Message {
    /// To write an event down.
    Event(Box<Event>),
    /// To write all down that it has, and to say when that is done.
    Flush(oneshot::Sender<()>),
}

/// An event for which there is no room yet.
struct Unsent<'a> {
    log: &'a AuditLog,
    event: Option<Event>,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.log.record_later(event);
        }
    }
}

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct AuditLog {
    queue: mpsc::Sender<Message>,
    detail: Detail,
    catalog: Catalog,
    closing: CancellationToken,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl AuditLog {
    /// Begins to write. Numbers go on behind the newest event of file and table. A file that cannot be
    /// written is no error: it is logged, and tried again with each event.
    pub fn start(catalog: Catalog, options: AuditOptions) -> Result<Self, AuditError> {
        let (queue, events) = mpsc::channel(WAITING_MAX);
        let closing = CancellationToken::new();
        let detail = options.detail;
        let writer = Writer::new(events, closing.clone(), catalog.clone(), options)?;
        // It has timers of its own, and blocks where the file does.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(AuditError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || runtime.block_on(writer.run()))
            .map_err(AuditError::Thread)?;
        Ok(AuditLog {
            queue,
            detail,
            catalog,
            closing,
            writer: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// What is written down.
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// Has an event written down. Waits where too many wait already: none is dropped, also where
    /// whoever waits is.
    pub async fn record(&self, event: Event) {
        let mut unsent = Unsent {
            log: self,
            event: Some(event.bounded()),
        };
        let room = self.queue.reserve().await;
        match (room, unsent.event.take()) {
            (Ok(room), Some(event)) => room.send(Message::Event(Box::new(event))),
            _ => tracing::error!(
                "an event came behind the end of the audit log, and is missing there"
            ),
        }
    }

    /// As [`AuditLog::record`], for somebody who cannot wait.
    pub fn record_later(&self, event: Event) {
        let log = self.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { log.record(event).await })),
            Err(_) => {
                tracing::error!("an event outlived the server, and is missing in the audit log")
            }
        }
    }

    /// Waits until everything that was recorded before is in file and table, as far as these can be
    /// written.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            // A writer that is gone has written what it had.
            let _ = flushed.await;
        }
    }

    /// Tells the events of the table. For a thread that may block.
    pub fn read(
        &self,
        query: &Query,
        tell: &mut dyn FnMut(Event) -> bool,
    ) -> Result<(), CatalogError> {
        query.run(&self.catalog, tell)
    }

    /// Writes down what there is, and ends. The catalog is still open.
    pub async fn close(&self) {
        self.closing.cancel();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            let joined = tokio::task::spawn_blocking(move || writer.join());
            if !matches!(joined.await, Ok(Ok(()))) {
                tracing::error!("the audit log's thread had panicked");
            }
        }
    }
}
