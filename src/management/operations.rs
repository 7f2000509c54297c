//! What runs beside the requests: collecting, compacting, and what the audit log tells; `running`: how far
//! each is at this moment. For those who administer the server.

mod running;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::audit::{Event, Query};
use crate::http::admin::Deed;
use crate::http::error::ApiError;
use crate::registry::command::{Answer, Command};

pub use running::{BackupState, CollectionState, CompactionProgress, Running, ScrubState, Upload};

/// Events that are shown at once.
const EVENTS_MAX: u64 = 1_000;

/// A pack.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Pack {
    /// Its name.
    pub pack: String,
    /// What its file takes on the disk, in bytes.
    pub allocated: u64,
    /// What of it is alive.
    pub live: u64,
    /// What was freed and waits until no backup needs it.
    pub freed: u64,
    /// What a compaction would do with it, and why.
    pub decision: String,
}

/// What runs beside the requests.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Operations {
    /// The packs.
    pub packs: Vec<Pack>,
    /// Whether compaction stands still.
    pub compaction_paused: bool,
    /// Uploads that are under way.
    pub uploads: u64,
}

/// What a collection came to, or would.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Collection {
    /// Whether it was done, or only told.
    pub done: bool,
    /// Deleted manifests that go for good.
    pub purged: u64,
    /// Blobs that a repository loses and another keeps.
    pub unlinked: u64,
    /// Blobs that go with their bytes.
    pub removed: u64,
    /// Bytes that these have.
    pub bytes: u64,
    /// Blobs that are due and stay.
    pub kept: u64,
}

/// Whether something is only to be told.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Collect {
    /// Only say what it would come to.
    #[serde(default)]
    pub dry_run: bool,
}

/// Whether compaction is to stand still.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Whether it is.
    pub paused: bool,
}

/// Which events are asked for.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// By whom: `user:alice`, or `alice`.
    pub who: Option<String>,
    /// About repositories of that pattern.
    pub repository: Option<String>,
    /// Refusals alone.
    pub denied: bool,
    /// How many of the newest; held to 1 to 1,000.
    pub limit: u64,
}

impl Management {
    /// What runs beside the requests.
    pub async fn operations(&self, caller: &Caller) -> Result<Operations, ApiError> {
        caller.require_admin()?;
        let storage = self.storage.clone();
        // Every pack's file is looked at.
        let look = move || {
            let plan = storage.compactor().plan()?;
            let packs = plan.packs.iter().map(|pack| Pack {
                pack: pack.pack.to_string(),
                allocated: pack.allocated,
                live: pack.live,
                freed: pack.freed,
                decision: pack.decision.to_string(),
            });
            anyhow::Ok(Operations {
                packs: packs.collect(),
                compaction_paused: storage.compactor().state().paused,
                uploads: storage.uploads_under_way()?,
            })
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked
            .map_err(ApiError::internal)?
            .map_err(ApiError::internal)
    }

    /// Collects what nothing refers to and is due, or says what that would come to.
    pub async fn collect(&self, caller: &Caller, asked: Collect) -> Result<Collection, ApiError> {
        let collected = self
            .carry_out(caller, Command::Collect(asked.dry_run))
            .await?;
        match collected {
            Answer::Collected(_, collected) => Ok(Collection {
                done: !asked.dry_run,
                purged: collected.purged,
                unlinked: collected.unlinked,
                removed: collected.removed,
                bytes: collected.bytes,
                kept: collected.kept,
            }),
            other => Err(ApiError::internal(anyhow::anyhow!(
                "a collection was asked for, and the answer is {other:?}"
            ))),
        }
    }

    /// Has compaction stand still, or go on.
    pub async fn pause_compaction(&self, caller: &Caller, asked: Pause) -> Result<Pause, ApiError> {
        let deed = match asked.paused {
            true => "compact --pause",
            false => "compact --resume",
        };
        let deed = Some(Deed::of_store("store", deed));
        let paused = match caller.require_admin() {
            Ok(_) => {
                let storage = self.storage.clone();
                let pause = move || storage.compactor().pause(asked.paused);
                let paused = tokio::task::spawn_blocking(pause).await;
                paused
                    .map_err(ApiError::internal)
                    .and_then(|paused| paused.map(|()| asked).map_err(ApiError::internal))
            }
            Err(error) => Err(error),
        };
        self.did(caller, deed, paused.as_ref().err()).await;
        paused
    }

    /// Events of the audit log, newest first. `None` where there is no such log.
    pub async fn events(
        &self,
        caller: &Caller,
        asked: EventQuery,
    ) -> Result<Option<Vec<Event>>, ApiError> {
        caller.require_admin()?;
        let Some(log) = self.api.audit.clone() else {
            return Ok(None);
        };
        let pattern = asked.repository.filter(|it| !it.is_empty());
        let pattern = pattern.map(|pattern| pattern.parse()).transpose();
        let query = Query {
            since_ms: None,
            who: asked.who.filter(|it| !it.is_empty()),
            repository: pattern.map_err(|error: crate::oci::PatternError| {
                ApiError::bad_request(error.to_string())
            })?,
            denied: asked.denied,
            newest: asked.limit.clamp(1, EVENTS_MAX),
        };
        log.flush().await;
        let read = move || {
            let mut events = Vec::new();
            log.read(&query, &mut |event| {
                events.push(event);
                true
            })?;
            events.reverse();
            anyhow::Ok(events)
        };
        let read = tokio::task::spawn_blocking(read).await;
        let events = read.map_err(ApiError::internal)?;
        events.map(Some).map_err(ApiError::internal)
    }
}
