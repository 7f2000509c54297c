//! What was done to a simulated disk, in order.

use std::path::PathBuf;
use std::sync::Arc;

use crate::ghostbay::disk::SyncPoint;

/// Identity of a file, whatever its name is.
pub type FileId = u64;

/// One thing that was done, or a mark of the test's own.
#[derive(Clone, Debug)]
pub enum Event {
    /// A directory came into being.
    CreateDirectory(PathBuf),
    /// A file came into being under a name.
    Create {
        /// Its name.
        path: PathBuf,
        /// The file.
        file: FileId,
    },
    /// A name was taken away.
    Remove(PathBuf),
    /// A file got another name, in place of whatever had it.
    Rename {
        /// The old name.
        from: PathBuf,
        /// The new name.
        to: PathBuf,
        /// The file.
        file: FileId,
    },
    /// Bytes were written.
    Write {
        /// The file.
        file: FileId,
        /// Where they begin.
        offset: u64,
        /// The bytes.
        bytes: Arc<[u8]>,
    },
    /// A file was cut or lengthened.
    Truncate {
        /// The file.
        file: FileId,
        /// Its new length.
        length: u64,
    },
    /// The blocks of a range were given back.
    Punch {
        /// The file.
        file: FileId,
        /// Where the range begins.
        offset: u64,
        /// Its length in bytes.
        length: u64,
    },
    /// What was written to a file was made durable.
    SyncData {
        /// The file.
        file: FileId,
        /// By which of the store's syncs.
        point: SyncPoint,
    },
    /// A sync failed: what it was to make durable is lost, and a later one does not bring it back.
    SyncFailed {
        /// The file.
        file: FileId,
    },
    /// The names of a directory were made durable.
    SyncDirectory {
        /// The directory.
        directory: PathBuf,
        /// By which of the store's syncs.
        point: SyncPoint,
    },
    /// A sync that a test has taken away.
    LeftOut(SyncPoint),
    /// Something that the test notes: a request that was begun, or acknowledged.
    Mark(u64),
}

impl Event {
    /// The sync that this is, if it is one.
    pub fn point(&self) -> Option<SyncPoint> {
        match self {
            Event::SyncData { point, .. } | Event::SyncDirectory { point, .. } => Some(*point),
            _ => None,
        }
    }
}

/// All that was done, in order.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The events.
    pub events: Vec<Event>,
}

impl Trace {
    /// The same without any sync of `point`: what would be on the disk if the store forgot it.
    pub fn without(&self, point: SyncPoint) -> Trace {
        let events = self.events.iter().map(|event| match event.point() {
            Some(found) if found == point => Event::LeftOut(point),
            _ => event.clone(),
        });
        Trace {
            events: events.collect(),
        }
    }

    /// The same with each sync of `point` put off until behind the next `count` ones of `behind`:
    /// what would be on the disk if the store did them in the other order.
    pub fn late(&self, point: SyncPoint, behind: SyncPoint, count: usize) -> Trace {
        let mut events = Vec::with_capacity(self.events.len());
        let mut waiting = Vec::new();
        let mut passed = 0;
        for event in &self.events {
            if event.point() == Some(point) {
                waiting.push(event.clone());
                passed = 0;
                continue;
            }
            events.push(event.clone());
            if event.point() == Some(behind) {
                passed += 1;
                if passed >= count {
                    events.append(&mut waiting);
                }
            }
        }
        events.append(&mut waiting);
        Trace { events }
    }

    /// The same with each range punched before the `count` syncs of `point` that came before it.
    pub fn punched_before(&self, point: SyncPoint, count: usize) -> Trace {
        let mut events: Vec<Event> = Vec::with_capacity(self.events.len());
        for event in &self.events {
            let mut place = events.len();
            if let Event::Punch { .. } = event {
                let syncs = (0..events.len()).rev();
                let mut syncs = syncs.filter(|at| events[*at].point() == Some(point));
                place = syncs.nth(count - 1).unwrap_or(place);
            }
            events.insert(place, event.clone());
        }
        Trace { events }
    }

    /// How many syncs of `point` there are.
    pub fn count(&self, point: SyncPoint) -> usize {
        let events = self.events.iter();
        events.filter(|event| event.point() == Some(point)).count()
    }
}
