//! Work beside the requests that an operator has stand still, until told to go on; also by a store that is
//! opened again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::catalog::{Catalog, schema};
use super::error::StorageError;
use super::local::LocalStorageEngine;

/// How often whoever stands still on a thread looks whether to go on.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Work that can stand still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Rewriting packs of which little is alive.
    Compaction,
    /// Taking what nothing refers to.
    Collection,
    /// Reading everything over.
    Scrub,
}

impl Work {
    /// All there is.
    pub const ALL: [Work; 3] = [Work::Compaction, Work::Collection, Work::Scrub];

    /// The fact in table `meta` that it was told to pause.
    fn fact(self) -> &'static str {
        match self {
            Work::Compaction => "compaction_paused",
            Work::Collection => "collection_paused",
            Work::Scrub => "scrub_paused",
        }
    }
}

/// What stands still. Cheap to clone.
#[derive(Clone)]
pub struct Pauses {
    catalog: Catalog,
    paused: Arc<watch::Sender<[bool; Work::ALL.len()]>>,
}

impl Pauses {
    /// As the store was told before.
    pub fn of(catalog: Catalog) -> Result<Self, StorageError> {
        let rows = catalog.read()?;
        let mut paused = [false; Work::ALL.len()];
        for work in Work::ALL {
            paused[work as usize] = schema::is_noted(&rows, work.fact())?;
        }
        Ok(Pauses {
            catalog,
            paused: Arc::new(watch::Sender::new(paused)),
        })
    }

    /// Has work stand still, or go on. What is under way sees it at its next step. Blocks.
    pub fn set(&self, work: Work, paused: bool) -> Result<(), StorageError> {
        let noted = self
            .catalog
            .transact_blocking(move |rows| schema::note(rows, work.fact(), paused))?;
        noted?;
        self.paused.send_modify(|all| all[work as usize] = paused);
        Ok(())
    }

    /// Whether it stands still.
    pub fn has(&self, work: Work) -> bool {
        self.paused.borrow()[work as usize]
    }

    /// Returns when it need not stand still, at once if it does not.
    pub async fn ended(&self, work: Work) {
        let mut paused = self.paused.subscribe();
        // The sender is held here: it does not go meanwhile.
        let _ = paused.wait_for(|all| !all[work as usize]).await;
    }

    /// Stands still for as long as the work has to; whether to go on, which is not so once `stop` was
    /// cancelled. Blocks.
    pub fn stand_still(&self, work: Work, stop: &CancellationToken) -> bool {
        while self.has(work) && !stop.is_cancelled() {
            std::thread::sleep(LOOK_INTERVAL);
        }
        !stop.is_cancelled()
    }
}

impl LocalStorageEngine {
    /// What an operator has stand still.
    pub fn pauses(&self) -> &Pauses {
        &self.shared.pauses
    }
}
