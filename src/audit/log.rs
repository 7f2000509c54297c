//! Where events go in.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
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

#[cfg(test)]
impl AuditOptions {
    /// One file that nothing is taken out of, and a table without an end.
    pub(super) fn without_end(file: &std::path::Path) -> Self {
        AuditOptions {
            file: FileOptions {
                path: file.to_owned(),
                bytes_max: u64::MAX,
                keep: 1,
            },
            rows: u64::MAX,
            detail: Detail::Changes,
        }
    }
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

/// Complains of an event that came behind the end.
fn outlived() {
    tracing::error!("an event came behind the end of the audit log, and is missing there");
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
            _ => outlived(),
        }
    }

    /// As [`AuditLog::record`], for somebody who cannot wait.
    pub fn record_later(&self, event: Event) {
        let event = Message::Event(Box::new(event.bounded()));
        let event = match self.queue.try_send(event) {
            Err(TrySendError::Full(Message::Event(event))) => *event,
            Err(TrySendError::Closed(_)) => return outlived(),
            Ok(()) | Err(TrySendError::Full(Message::Flush(_))) => return,
        };
        let log = self.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { log.record(event).await })),
            Err(_) => outlived(),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::FutureExt;

    use super::*;
    use crate::audit::Verdict;
    use crate::audit::table::AUDIT;
    use crate::ghostbay::LocalStorageEngine;
    use crate::ghostbay::catalog::Rows;

    const EVENTS: usize = 3 * WAITING_MAX;

    fn push(number: usize) -> Event {
        let mut event = Event::new("user:a", "push-new", Verdict::Allow);
        event.reference = Some(number.to_string());
        event
    }

    fn references(events: impl Iterator<Item = Event>) -> BTreeSet<usize> {
        events
            .map(|event| event.reference.unwrap().parse().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_full_queue_drops_nothing_also_where_whoever_waits_has_gone() {
        let directory = tempfile::tempdir().unwrap();
        let storage = LocalStorageEngine::new(directory.path()).await.unwrap();
        // The index stands still, and with it the writer.
        let (began, mut standing) = mpsc::channel(1);
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let catalog = storage.catalog().clone();
        let still = tokio::spawn(async move {
            let stand = catalog.transact(move |_| {
                let _ = began.try_send(());
                let _ = wait.recv();
                Ok::<_, CatalogError>(())
            });
            stand.await
        });
        standing.recv().await.unwrap();
        let file = directory.path().join("audit.jsonl");
        let options = AuditOptions::without_end(&file);
        let log = AuditLog::start(storage.catalog().clone(), options).unwrap();
        let mut waited = 0;
        for number in 0..EVENTS {
            // Whoever finds no room goes at once.
            waited += usize::from(log.record(push(number)).now_or_never().is_none());
        }
        assert!(waited >= WAITING_MAX / 2, "{waited} found the queue full");
        drop(go_on);
        still.await.unwrap().unwrap();
        let all: BTreeSet<_> = (0..EVENTS).collect();
        let written = async {
            loop {
                log.flush().await;
                let rows = storage.catalog().read().unwrap();
                let rows = rows.scan(&AUDIT, &[], None).unwrap();
                if references(rows.map(|row| row.unwrap().1.event().unwrap())) == all {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        let patience = std::time::Duration::from_secs(60);
        tokio::time::timeout(patience, written).await.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), EVENTS);
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        assert_eq!(references(lines), all);
        log.close().await;
        storage.close().await;
    }
}
