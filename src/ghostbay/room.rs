//! The room on the disk, and how much of it pushes leave alone.
//!
//! A disk that is full to its last byte cannot even be tidied up: a delete has to be committed. So
//! pushes are refused while there is less room than the operator wants to keep; whoever gives space
//! back hurries then.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::disk::{Disk, Room};
use super::error::StorageError;

/// The disk is asked so often at most.
const HELD: Duration = Duration::from_secs(1);

/// How much room is left alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MinFree {
    /// So many bytes.
    Bytes(u64),
    /// So many of 100 parts of the disk.
    Percent(u8),
}

impl MinFree {
    /// Its bytes on a disk of `total` bytes.
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            MinFree::Bytes(bytes) => bytes,
            MinFree::Percent(percent) => total / 100 * u64::from(percent),
        }
    }
}

/// Looks after the room on a disk. Cheap to clone.
#[derive(Clone)]
pub struct Gauge {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    min_free: MinFree,
    looked: Arc<Mutex<Option<(Instant, Room)>>>,
}

impl Gauge {
    /// A gauge of the disk that `directory` lies on.
    pub fn new(disk: Arc<dyn Disk>, directory: PathBuf, min_free: MinFree) -> Self {
        Gauge {
            disk,
            directory,
            min_free,
            looked: Arc::default(),
        }
    }

    /// The room, as it was within the last second; `None` where the disk does not say.
    pub fn room(&self) -> Option<Room> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, room)) = *looked
            && at.elapsed() < HELD
        {
            return Some(room);
        }
        match self.disk.room(&self.directory) {
            Ok(room) => {
                *looked = Some((Instant::now(), room));
                Some(room)
            }
            Err(error) => {
                tracing::warn!(%error, "the disk does not say how much room there is");
                None
            }
        }
    }

    /// How much room is left alone, in bytes.
    pub fn minimum(&self) -> u64 {
        match self.min_free {
            // Nobody asks a disk for what nobody wants to know.
            MinFree::Bytes(bytes) => bytes,
            percent => self.room().map_or(0, |room| percent.bytes(room.total)),
        }
    }

    /// Refuses what would take room while there is too little.
    pub fn check(&self) -> Result<(), StorageError> {
        let minimum = self.minimum();
        if minimum == 0 {
            return Ok(());
        }
        match self.room() {
            Some(Room { available, .. }) if available < minimum => {
                Err(StorageError::Full { available, minimum })
            }
            _ => Ok(()),
        }
    }

    /// Whether there is too little room, so that space is wanted back soon.
    pub fn is_low(&self) -> bool {
        self.check().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::sim::SimDisk;

    #[test]
    fn what_is_left_alone_is_counted_in_bytes_or_parts() {
        let disk = SimDisk::default();
        let gauge = |min_free| Gauge::new(Arc::new(disk.clone()), "/".into(), min_free);
        gauge(MinFree::Percent(99)).check().unwrap();
        disk.set_room(Room {
            available: 999,
            total: 20_000,
        });
        let figures = |min_free| match gauge(min_free).check() {
            Err(StorageError::Full { available, minimum }) => Some((available, minimum)),
            other => {
                other.unwrap();
                None
            }
        };
        assert_eq!(figures(MinFree::Percent(5)), Some((999, 1000)));
        assert_eq!(figures(MinFree::Percent(4)), None);
        assert_eq!(figures(MinFree::Bytes(1000)), Some((999, 1000)));
        assert_eq!(figures(MinFree::Bytes(999)), None);
        assert_eq!(figures(MinFree::Bytes(0)), None);
    }
}
