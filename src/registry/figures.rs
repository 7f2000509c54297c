//! What is counted of the work beside the requests, since the start.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::RegistryError;
use super::gc::{Act, Collected, Item};
use crate::ghostbay::figures::Count;
use crate::ghostbay::now_ms;

/// The work beside the requests.
#[derive(Debug, Default)]
pub struct Figures {
    /// Collections of garbage.
    pub collections: Collections,
    /// The scrub.
    pub scrub: ScrubFigures,
}

/// Collections of garbage.
#[derive(Debug, Default)]
pub struct Collections {
    /// Those that came to their end.
    pub runs: Count,
    /// Those that broke off.
    pub failed: Count,
    /// Deleted manifests that went for good.
    pub purged_manifests: Count,
    /// Blobs that went with their bytes.
    pub removed_blobs: Count,
    /// Bytes that these had.
    pub removed_bytes: Count,
    /// When the last came to its end, in milliseconds since 1970; 0: none did.
    pub last_ms: Count,
    /// How long it took, in microseconds.
    pub last_micros: Count,
    /// What it came to.
    pub last: Mutex<Collected>,
    /// When the next is due, in milliseconds since 1970; 0: none comes by itself.
    pub next_ms: Count,
}

impl Collections {
    /// Takes in what was decided.
    pub(super) fn count(&self, item: &Item) {
        match item.act {
            Act::Purge => self.purged_manifests.add(1),
            Act::Remove => {
                self.removed_blobs.add(1);
                self.removed_bytes.add(item.bytes);
            }
            Act::Unlink | Act::Keep => {}
        }
    }

    pub(super) fn ended(&self, took: Duration, ended: &Result<Collected, RegistryError>) {
        match ended {
            // What was cut short goes on, and ends another time.
            Ok(Collected { stopped: true, .. }) => {}
            Ok(collected) => {
                self.runs.add(1);
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = *collected;
                self.last_micros.set(took.as_micros() as u64);
                self.last_ms.set(now_ms());
            }
            Err(_) => self.failed.add(1),
        }
    }
}

/// The scrub.
#[derive(Debug, Default)]
pub struct ScrubFigures {
    /// How fast it reads, in bytes a second; 0: it is switched off.
    pub rate: Count,
    /// Has the next pass begin at once, if none is under way.
    pub asked: Notify,
    /// When the pass under way began, in milliseconds since 1970; 0: there is none.
    pub began_ms: Count,
    /// Bytes of the packs that this pass has read.
    pub pass_bytes: Count,
    /// Bytes that it is to read; 0: not known yet.
    pub pass_bytes_total: Count,
    /// Damages that this pass met, or the one before if none is under way.
    pub pass_damages: Count,
    /// Damages that the last whole pass met.
    pub last_damages: Count,
    /// Bytes of objects that were read and checked.
    pub read_bytes: Count,
    /// Damages that were found, each time that they were.
    pub damages: Count,
    /// Passes over the whole store that came to their end.
    pub passes: Count,
    /// When the last did, in milliseconds since 1970; 0: none did.
    pub last_ms: Count,
}

impl ScrubFigures {
    pub(super) fn began(&self) {
        self.pass_bytes.set(0);
        self.pass_bytes_total.set(0);
        self.pass_damages.set(0);
        self.began_ms.set(now_ms());
    }

    pub(super) fn read_whole_store(&self) {
        self.passes.add(1);
        self.last_damages.set(self.pass_damages.get());
        self.last_ms.set(now_ms());
    }

    /// Damages that are known of: of the last whole pass, or of the one after if it met more by now.
    pub fn known_damages(&self) -> u64 {
        self.last_damages.get().max(self.pass_damages.get())
    }
}
