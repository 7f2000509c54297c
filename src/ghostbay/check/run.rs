//! One check under way: what it looks at, how fast, and whom it tells.

use std::io;
use std::time::{Duration, Instant};

use super::finding::{Finding, Repair, Subject};
use super::store::CheckedStore;
use crate::ghostbay::catalog::{CatalogError, Inspected, Key, Rows, Snapshot, Table, Value};

/// Rows that are looked at in one snapshot. A snapshot that is kept lets the index grow.
const CHUNK_ROWS: usize = 256;

/// How far a check goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// The index against itself, the packs' accounts and the change log.
    Quick,
    /// Every byte of every object as well.
    Full,
}

/// What is done about what a check finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repairs {
    /// Nothing.
    Nothing,
    /// Objects whose bytes are damaged are answered as missing, so that they are pushed again.
    Marks,
    /// Whatever can be done.
    All,
}

impl Repairs {
    fn allow(self, repair: &Repair) -> bool {
        match self {
            Repairs::Nothing => false,
            Repairs::Marks => matches!(repair, Repair::Rows { marks: true, .. }),
            Repairs::All => true,
        }
    }
}

/// Why a check did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Whoever wanted it has gone, or the server stops.
    #[error("the check was stopped before its end")]
    Stopped,
    /// The index cannot be read at all.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A directory cannot be read.
    #[error("the store cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// What a check tells.
#[derive(Debug)]
pub enum Event {
    /// How far it is.
    Progress {
        /// What is looked at.
        phase: &'static str,
        /// How many, or how many bytes of the packs.
        done: u64,
        /// Of how many, where that is known.
        total: Option<u64>,
    },
    /// Something that is wrong.
    Found {
        /// What.
        finding: Finding,
        /// Whether the repair was made.
        repaired: bool,
    },
}

/// A check under way. For a thread that may block.
pub struct Run<'a> {
    store: &'a CheckedStore,
    depth: Depth,
    repairs: Repairs,
    pace: Pace,
    /// Told of everything; `false` ends the check. It may take its time, which does not count for the pace.
    tell: &'a mut dyn FnMut(Event) -> bool,
}

impl<'a> Run<'a> {
    /// A check of `store`. For any repair the store must run.
    /// `bytes_per_second` bounds how fast packs are read. `tell` is given every event and ends the
    /// check by answering `false`.
    pub fn new(
        store: &'a CheckedStore,
        depth: Depth,
        repairs: Repairs,
        bytes_per_second: Option<u64>,
        tell: &'a mut dyn FnMut(Event) -> bool,
    ) -> Self {
        Run {
            store,
            depth,
            repairs,
            pace: Pace::new(bytes_per_second),
            tell,
        }
    }

    /// What is looked at.
    pub fn store(&self) -> &'a CheckedStore {
        self.store
    }

    /// How far the check goes.
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// Tells how far the check is.
    pub fn progress(
        &mut self,
        phase: &'static str,
        done: u64,
        total: Option<u64>,
    ) -> Result<(), CheckError> {
        self.tell(Event::Progress { phase, done, total })
    }

    /// Tells what is wrong, and repairs it if that is wanted and possible.
    pub fn found(
        &mut self,
        subject: Subject,
        reason: impl Into<String>,
        repair: Option<Repair>,
    ) -> Result<(), CheckError> {
        let repaired = match &repair {
            Some(repair) if self.repairs.allow(repair) => match self.store.repair(repair) {
                Ok(()) => true,
                Err(error) => {
                    tracing::error!(%subject, %error, "a repair failed");
                    false
                }
            },
            _ => false,
        };
        let finding = Finding {
            subject,
            reason: reason.into(),
            repair,
        };
        self.tell(Event::Found { finding, repaired })
    }

    /// Waits until so many bytes more may be read.
    pub fn read(&mut self, phase: &'static str, bytes: u64, total: u64) -> Result<(), CheckError> {
        self.pace.done += bytes;
        loop {
            self.progress(phase, self.pace.done, Some(total))?;
            match self.pace.wait() {
                Some(wait) => std::thread::sleep(wait),
                None => return Ok(()),
            }
        }
    }

    /// Shows every row of a table to `visit`, with the snapshot that it was found in. Rows that are
    /// damaged are shown as well; where the index itself cannot be read, that is the finding.
    pub fn each_row<K: Key, V: Value>(
        &mut self,
        table: &Table<K, V>,
        mut visit: impl FnMut(&mut Self, &Snapshot, Inspected<K, V>) -> Result<(), CheckError>,
    ) -> Result<(), CheckError> {
        let name = table.info().name;
        let mut after: Option<Vec<u8>> = None;
        let mut seen = 0;
        loop {
            self.progress(name, seen, None)?;
            let snapshot = self.store.read()?;
            let mut read = 0;
            // What a table's keys begin with is not part of what a scan begins behind.
            let from = after.as_ref().map(|key| key[1..].to_vec());
            let rows = snapshot.inspect(table, &[], from.as_deref())?;
            for row in rows.take(CHUNK_ROWS) {
                let row = match row {
                    Ok(row) => row,
                    Err(error) => {
                        self.found(Subject::Index, format!("table {name}: {error}"), None)?;
                        return Ok(());
                    }
                };
                read += 1;
                // A key that was damaged can stand out of order; to go on behind it must not lead
                // back.
                if after.as_ref().is_none_or(|after| *after < row.bytes) {
                    after = Some(row.bytes.clone());
                }
                visit(self, &snapshot, row)?;
            }
            seen += read as u64;
            if read < CHUNK_ROWS {
                return Ok(());
            }
        }
    }

    /// Goes on behind an index that cannot be read at one place: that is a finding as well.
    pub fn bear(&mut self, looked: Result<(), CheckError>) -> Result<(), CheckError> {
        match looked {
            Err(CheckError::Catalog(error)) => self.found(Subject::Index, error.to_string(), None),
            other => other,
        }
    }

    fn tell(&mut self, event: Event) -> Result<(), CheckError> {
        let began = Instant::now();
        let goes_on = (self.tell)(event);
        self.pace.pass_over(began.elapsed());
        match goes_on {
            true => Ok(()),
            false => Err(CheckError::Stopped),
        }
    }
}

/// The longest wait at once, so that a stop is seen soon.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// How fast packs are read.
struct Pace {
    bytes_per_second: Option<u64>,
    began: Instant,
    done: u64,
}

impl Pace {
    fn new(bytes_per_second: Option<u64>) -> Self {
        Pace {
            bytes_per_second,
            began: Instant::now(),
            done: 0,
        }
    }

    /// Does not count some time. A check that stood still would make up for it without a bound.
    fn pass_over(&mut self, time: Duration) {
        self.began += time;
    }

    /// How long to wait before more is read; `None` if the reading is not too fast.
    fn wait(&self) -> Option<Duration> {
        let rate = self.bytes_per_second?.max(1);
        let due = Duration::from_secs_f64(self.done as f64 / rate as f64);
        let early = due.checked_sub(self.began.elapsed())?;
        (!early.is_zero()).then_some(early.min(WAIT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_was_stood_still_is_not_made_up_for() {
        let mut pace = Pace::new(Some(1));
        let hour = Duration::from_secs(3600);
        pace.done = 3600;
        pace.began -= hour;
        assert_eq!(pace.wait(), None);
        pace.pass_over(hour);
        assert_eq!(pace.wait(), Some(WAIT_MAX));
    }
}
