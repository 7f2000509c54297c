//! Reading on in a log that is being written, from where it stood at some moment.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::file::{Kind, LogReader, file_name};
use super::frame::Frame;
use super::syncer::Shared;
use crate::ghostbay::disk::Disk;

/// A commit stands in the index a moment before it does in the log: so long is waited for it.
const LAG_MAX: Duration = Duration::from_secs(30);
/// And it is looked after so often.
const LAG_PAUSE: Duration = Duration::from_millis(1);

/// Where the log stands behind a transaction.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// The transaction.
    pub sequence: u64,
    /// The first one that its file may hold, by which the file is named.
    pub first: u64,
    /// Where the next frame begins, in bytes.
    pub offset: u64,
    /// What the next frame is chained to.
    pub chain: u32,
}

/// The transactions from which on somebody reads, and how many do: files behind them stay.
#[derive(Default)]
pub(super) struct Followed(BTreeMap<u64, usize>);

impl Followed {
    /// The first transaction that somebody needs.
    pub fn first(&self) -> Option<u64> {
        self.0.keys().next().copied()
    }

    pub fn add(&mut self, first: u64) {
        *self.0.entry(first).or_default() += 1;
    }

    pub fn remove(&mut self, first: u64) {
        if let Some(count) = self.0.get_mut(&first) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&first);
            }
        }
    }
}

/// Reads what is appended behind a position. No file that it needs is removed while it lives.
pub struct Follower {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    shared: Arc<Shared>,
    from: Position,
}

impl Follower {
    /// One that begins where the log stands now; `None` if it misses the last transaction.
    pub(super) fn begin(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        shared: Arc<Shared>,
    ) -> Option<Self> {
        let mut sync = shared.sync();
        let from = sync.position.clone()?;
        sync.followed.add(from.sequence + 1);
        drop(sync);
        Some(Follower {
            disk,
            directory,
            shared,
            from,
        })
    }

    /// The transaction that it begins behind.
    pub fn sequence(&self) -> u64 {
        self.from.sequence
    }

    /// An error if the log has come to miss a transaction.
    pub fn check(&self) -> io::Result<()> {
        match &self.shared.sync().position {
            Some(_) => Ok(()),
            None => Err(io::Error::other(
                "the change log misses a transaction that was committed meanwhile; take it again",
            )),
        }
    }

    /// Gives each frame up to the end of transaction `until`, which was committed.
    pub fn each(
        &mut self,
        until: u64,
        mut take: impl FnMut(Frame) -> io::Result<()>,
    ) -> io::Result<()> {
        if until <= self.from.sequence {
            return Ok(());
        }
        self.wait_for(until)?;
        let mut reader = self.open(self.from.first)?;
        reader.go_to(self.from.offset, self.from.chain);
        let mut begun = false;
        let mut sequence = self.from.sequence;
        while sequence < until {
            let missing = || io::Error::other(format!("the change log misses {}", sequence + 1));
            let Some(frame) = reader.next_frame().map_err(io::Error::other)? else {
                // It goes on in the next file, which begins behind the end of this one.
                if std::mem::replace(&mut begun, true) {
                    return Err(missing());
                }
                reader = self.open(sequence + 1)?;
                continue;
            };
            if frame.sequence != sequence + 1 {
                return Err(missing());
            }
            begun = false;
            sequence += u64::from(frame.end.is_last());
            take(frame)?;
        }
        Ok(())
    }

    fn open(&self, first: u64) -> io::Result<LogReader> {
        let path = self.directory.join(file_name(Kind::Changes, first));
        LogReader::open(&*self.disk, &path).map_err(io::Error::other)
    }

    fn wait_for(&self, sequence: u64) -> io::Result<()> {
        let began = Instant::now();
        loop {
            self.check()?;
            let stands = self.shared.sync().position.clone();
            if stands.is_some_and(|position| position.sequence >= sequence) {
                return Ok(());
            }
            if began.elapsed() > LAG_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("transaction {sequence} did not come to the change log"),
                ));
            }
            std::thread::sleep(LAG_PAUSE);
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.sync().followed.remove(self.from.sequence + 1);
    }
}
