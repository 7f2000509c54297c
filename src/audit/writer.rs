//! The one thread that writes events down.
//!
//! The file gets each batch as it comes, and is synced within a second; the table gets one transaction
//! for what came within a second, or for a hundred events. So a crash takes the last second of what a
//! power cut takes from the file, and of the table what the file still has.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::event::{Event, MISSING, Verdict};
use super::file::AuditFile;
use super::log::{AuditError, AuditOptions, Message};
use super::repeats::Repeats;
use super::table;
use crate::ghostbay::catalog::{Catalog, CatalogError, Transaction};

/// Events that are taken from the queue at once.
const BATCH_MAX: usize = 1000;
/// Events that go into the table in one transaction. Pushes wait for it, so that more make the slowest of
/// them slower.
const TABLE_BATCH_MAX: usize = 100;
/// For how long the file is not synced, and an event not in the table.
const LAG_MAX: Duration = Duration::from_secs(1);
/// Events that wait for the table while it cannot be written. Of more the oldest are missing there.
const TABLE_WAITING_MAX: usize = 10_000;
/// How often the same trouble is logged.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// The writer.
pub struct Writer {
    queue: Receiver<Message>,
    closing: CancellationToken,
    catalog: Catalog,
    file: AuditFile,
    rows: u64,
    /// The number of the newest event.
    newest: u64,
    repeats: Repeats,
    /// What is not in the table yet.
    waiting: Vec<(u64, String)>,
    table_due: Option<Instant>,
    sync_due: Option<Instant>,
    file_trouble: Trouble,
    table_trouble: Trouble,
}

/// What could not be written, and when that was last said.
#[derive(Default)]
struct Trouble {
    missing: u64,
    said: Option<Instant>,
}

impl Trouble {
    fn says(&mut self) -> bool {
        let says = self.said.is_none_or(|at| at.elapsed() >= COMPLAINT_PAUSE);
        if says {
            self.said = Some(Instant::now());
        }
        says
    }

    /// The event that says how many are missing, once something can be written again.
    fn notice(&self, place: &str) -> Option<Event> {
        if self.missing == 0 {
            return None;
        }
        let mut event = Event::new("server", MISSING, Verdict::Allow);
        event.object = Some(place.to_owned());
        event.reason = Some(format!(
            "so many events before this one are missing in the {place}, which could not be written"
        ));
        event.count = self.missing;
        Some(event)
    }
}

impl Writer {
    /// One that goes on behind the newest event of file and table.
    pub fn new(
        queue: Receiver<Message>,
        closing: CancellationToken,
        catalog: Catalog,
        options: AuditOptions,
    ) -> Result<Self, AuditError> {
        let file = AuditFile::new(options.file);
        let in_file = file.newest().unwrap_or_else(|error| {
            let path = file.path().display();
            tracing::error!(%path, %error, "the audit log's file cannot be read");
            0
        });
        let newest = table::newest(&catalog.read()?)?.max(in_file);
        Ok(Writer {
            queue,
            closing,
            catalog,
            file,
            rows: options.rows,
            newest,
            repeats: Repeats::default(),
            waiting: Vec::new(),
            // The bound may be another than it was.
            table_due: Some(Instant::now()),
            sync_due: None,
            file_trouble: Trouble::default(),
            table_trouble: Trouble::default(),
        })
    }

    /// Writes until it is told to end, or nobody is left who could tell it something.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        let closing = self.closing.clone();
        loop {
            let due = [self.repeats.next_due(), self.table_due, self.sync_due];
            let due = due.into_iter().flatten().min();
            let taken = tokio::select! {
                taken = self.queue.recv_many(&mut batch, BATCH_MAX) => Some(taken),
                () = sleep_until(due) => None,
                () = closing.cancelled(), if !self.queue.is_closed() => {
                    // What is in the queue is still written.
                    self.queue.close();
                    None
                }
            };
            if taken == Some(0) {
                break;
            }
            self.write(batch.drain(..)).await;
        }
        self.flush().await;
    }

    async fn write(&mut self, batch: impl Iterator<Item = Message>) {
        let now = Instant::now();
        let mut events = Vec::new();
        let mut waiting = Vec::new();
        for message in batch {
            match message {
                Message::Event(event) => events.extend(self.repeats.take(*event, now)),
                Message::Flush(done) => waiting.push(done),
            }
        }
        events.extend(self.repeats.due(now));
        self.write_file(events);
        if !waiting.is_empty() {
            self.flush().await;
        }
        for done in waiting {
            // Whoever waits no more need not be told.
            let _ = done.send(());
        }
        if self.sync_due.is_some_and(|due| due <= now) {
            self.sync();
        }
        let is_full = self.waiting.len() >= TABLE_BATCH_MAX && self.table_trouble.said.is_none();
        if self.table_due.is_some_and(|due| due <= now) || is_full {
            self.write_table().await;
        }
    }

    /// Writes everything that there is.
    async fn flush(&mut self) {
        let held = self.repeats.all();
        self.write_file(held);
        self.sync();
        self.write_table().await;
        while !self.waiting.is_empty() && self.table_trouble.said.is_none() {
            self.write_table().await;
        }
    }

    /// Has the file and those that wait for the table have events.
    fn write_file(&mut self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        // What is missing is told before anything else is written, and once.
        let heals = match self.file_trouble.notice("file") {
            Some(notice) => self.append(vec![notice], true),
            None => Ok(()),
        };
        let appended = match heals {
            Ok(()) => {
                self.file_trouble.missing = 0;
                self.append(events, false)
            }
            Err((_, error)) => {
                let missing = events.len();
                self.number(events);
                Err((missing, error))
            }
        };
        if let Err((missing, error)) = appended {
            self.file_trouble.missing += missing as u64;
            self.lament(&error);
        }
    }

    /// Appends events to the file. Of an error it says how many are missing there. A notice of what is
    /// missing there that is not written itself has no number, and comes again.
    fn append(&mut self, events: Vec<Event>, is_notice: bool) -> Result<(), (usize, io::Error)> {
        let before = (self.newest, self.waiting.len());
        let lines = self.number(events);
        let appended = self.file.append(&lines);
        let written = appended.as_ref().map_or_else(|it| it.0, |()| lines.len());
        if written > 0 {
            self.sync_due.get_or_insert(Instant::now() + LAG_MAX);
        } else if is_notice {
            self.newest = before.0;
            self.waiting.truncate(before.1);
        }
        appended.map_err(|(_, error)| (lines.len() - written, error))
    }

    /// Numbers events, and has them wait for the table; their lines.
    fn number(&mut self, events: Vec<Event>) -> Vec<String> {
        let mut lines = Vec::with_capacity(events.len());
        for mut event in events {
            self.newest += 1;
            event.sequence = self.newest;
            let line = event.line();
            if self.rows > 0 {
                self.waiting.push((self.newest, line.clone()));
                self.table_due.get_or_insert(Instant::now() + LAG_MAX);
            }
            lines.push(line);
        }
        lines
    }

    fn lament(&mut self, error: &io::Error) {
        if self.file_trouble.says() {
            let path = self.file.path().display();
            tracing::error!(
                %path,
                %error,
                missing = self.file_trouble.missing,
                "the audit log's file cannot be written, and lacks events"
            );
        }
    }

    fn sync(&mut self) {
        self.sync_due = None;
        if self.file.is_unsynced()
            && let Err(error) = self.file.sync()
        {
            self.lament(&error);
        }
    }

    async fn write_table(&mut self) {
        self.table_due = None;
        let count = self.waiting.len().min(TABLE_BATCH_MAX);
        let events = self.waiting[..count].to_vec();
        let (newest, rows) = (self.newest, self.rows);
        let write = move |transaction: &mut Transaction<'_>| {
            table::write(transaction, &events, newest, rows)
        };
        match self.catalog.transact::<_, CatalogError, _>(write).await {
            Ok(more) => {
                self.waiting.drain(..count);
                if more || !self.waiting.is_empty() {
                    self.table_due = Some(Instant::now());
                }
                let trouble = std::mem::take(&mut self.table_trouble);
                self.write_file(trouble.notice("table").into_iter().collect());
            }
            Err(error) => {
                self.table_due = Some(Instant::now() + LAG_MAX);
                let beyond = self.waiting.len().saturating_sub(TABLE_WAITING_MAX);
                self.waiting.drain(..beyond);
                self.table_trouble.missing += beyond as u64;
                if self.table_trouble.says() {
                    let missing = self.table_trouble.missing;
                    tracing::error!(%error, missing, "the audit log's table cannot be written");
                }
            }
        }
    }
}

/// Waits until then; without a time for ever.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::table::AUDIT;
    use crate::ghostbay::LocalStorageEngine;
    use crate::ghostbay::catalog::Rows;

    /// More than wait for the table.
    const LOST: usize = 7;

    #[tokio::test]
    async fn what_the_table_lacks_is_counted_and_told_once_it_can_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let store = async |name: &str| {
            let path = directory.path().join(name);
            LocalStorageEngine::new(path).await.unwrap()
        };
        let (broken, whole) = (store("broken").await, store("whole").await);
        let file = directory.path().join("audit.jsonl");
        let options = AuditOptions::without_end(&file);
        let (_queue, messages) = tokio::sync::mpsc::channel(1);
        let catalog = broken.catalog().clone();
        let mut writer = Writer::new(messages, CancellationToken::new(), catalog, options).unwrap();
        broken.close().await;
        let events = (0..TABLE_WAITING_MAX + LOST).map(|_| {
            let event = Event::new("user:a", "push-new", Verdict::Allow);
            Message::Event(Box::new(event))
        });
        writer.write(events).await;
        assert!(writer.table_trouble.said.is_some(), "nobody was told");
        // As an index that failed is opened again.
        writer.catalog = whole.catalog().clone();
        writer.flush().await;
        writer.flush().await;

        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let filed: Vec<Event> = lines.collect();
        assert_eq!(filed.len(), TABLE_WAITING_MAX + LOST + 1);
        let notice = filed.last().unwrap();
        assert_eq!((&*notice.who, &*notice.action), ("server", MISSING));
        assert_eq!(notice.object.as_deref(), Some("table"));
        assert_eq!(notice.count, LOST as u64);
        let rows = whole.catalog().read().unwrap();
        let rows = rows.scan(&AUDIT, &[], None).unwrap();
        let rows: Vec<_> = rows.map(|row| row.unwrap().1.event().unwrap()).collect();
        // The oldest are those that are missing.
        assert!(rows == filed[LOST..]);
        whole.close().await;
    }
}
