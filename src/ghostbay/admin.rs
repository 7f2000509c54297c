//! What an operator may ask of a running store.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::catalog::change_log::LogFigures;
use super::catalog::schema;
use super::compact::CompactionState;
use super::error::StorageError;
use super::local::{LOG_DIRECTORY, LocalStorageEngine};
use super::{multipart, uploads};

pub use super::multipart::OpenMultipart;
pub use super::pauses::Work;

/// Name of the socket in the data directory that an operator's commands reach the server by.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// How old what [`LocalStorageEngine::recent_status`] gives may be.
const STATUS_FRESH: Duration = Duration::from_secs(5);

/// What the store last said of itself, and when.
pub(super) type StatusSeen = Mutex<Option<(Instant, Status)>>;

/// What a running store says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Id of the process that holds the store.
    pub process: u32,
    /// Identity of the store.
    pub store: String,
    /// Version of the index's schema.
    pub schema: u32,
    /// What the packs hold.
    pub space: SpaceFigures,
    /// What compaction does.
    pub compaction: CompactionState,
    /// The disk that it lies on; `None` where the system does not say.
    pub disk: Option<DiskFigures>,
    /// Uploads of blobs that are under way.
    pub uploads: u64,
    /// Multipart uploads of objects that are under way.
    pub multipart_uploads: u64,
    /// The change log.
    pub log: LogFigures,
}

/// A disk, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiskFigures {
    /// What is left for the server's user.
    pub free: u64,
    /// All that there is.
    pub total: u64,
}

/// What the packs of a store hold, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SpaceFigures {
    /// How many packs there are.
    pub packs: u64,
    /// What their files take on the disk.
    pub allocated: u64,
    /// What is alive.
    pub live: u64,
    /// What was freed and waits until no backup needs it.
    pub freed: u64,
}

impl SpaceFigures {
    /// What is neither alive nor waits: a compaction gives most of it back.
    pub fn dead(&self) -> u64 {
        self.allocated
            .saturating_sub(self.live)
            .saturating_sub(self.freed)
    }
}

impl LocalStorageEngine {
    /// What the store said of itself within the last seconds: for those who ask often. Blocks.
    pub fn recent_status(&self) -> Result<Status, StorageError> {
        let seen = &self.shared.status;
        // Whoever comes meanwhile waits for the same answer.
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, status)) = &*seen
            && at.elapsed() < STATUS_FRESH
        {
            return Ok(status.clone());
        }
        let status = self.status()?;
        *seen = Some((Instant::now(), status.clone()));
        Ok(status)
    }

    /// How many uploads of blobs are under way.
    pub fn uploads_under_way(&self) -> Result<u64, StorageError> {
        Ok(uploads::under_way(&self.catalog().read()?)?)
    }

    /// As [`multipart::latest`]. Blocks.
    pub fn open_multipart_uploads(
        &self,
        limit: usize,
        parts_max: usize,
    ) -> Result<(Vec<OpenMultipart>, u64), StorageError> {
        Ok(multipart::latest(
            &self.catalog().read()?,
            limit,
            parts_max,
        )?)
    }

    /// What the store says of itself. Looks at every pack's file.
    pub fn status(&self) -> Result<Status, StorageError> {
        let mut space = SpaceFigures::default();
        for pack in self.compactor().plan()?.packs {
            space.packs += 1;
            space.allocated += pack.allocated;
            space.live += pack.live;
            space.freed += pack.freed;
        }
        let rows = self.catalog().read()?;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            store: schema::store_id(&rows)?.to_string(),
            schema: schema::version(&rows)?,
            space,
            compaction: self.compactor().state(),
            disk: self.room().map(|room| DiskFigures {
                free: room.available,
                total: room.total,
            }),
            uploads: uploads::under_way(&rows)?,
            multipart_uploads: multipart::under_way(&rows)?,
            log: self.log().figures().map_err(|source| StorageError::File {
                what: "the files of the change log cannot be looked at:",
                path: LOG_DIRECTORY.into(),
                source,
            })?,
        })
    }
}
