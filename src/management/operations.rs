//! What runs beside the requests: collecting, compacting, and what the audit log tells. For those who
//! administer the server.
//!
//! * `running`: how far each is at this moment
//! * `orders`: what begins at once, stands still or ends
//! * `reports`: answers that are longer than memory, a line for each thing

mod orders;
mod reports;
mod running;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::audit::{Event, Query};
use crate::digest::Digest;
use crate::http::admin::Deed;
use crate::http::error::ApiError;
use crate::oci::RepositoryName;
use crate::registry::gc::{Act, Collected, Item};

pub use running::{
    BackupState, CollectionState, CompactionProgress, LastCollection, MultipartUpload, Running,
    ScrubState, Upload,
};

/// Things that a collection names; of more the number is told.
const ITEMS_MAX: usize = 10_000;

/// Events that are shown at once.
const EVENTS_MAX: u64 = 1_000;

/// A pack.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Operations {
    /// The packs.
    pub packs: Vec<Pack>,
    /// Whether compaction stands still.
    pub compaction_paused: bool,
    /// Uploads that are under way.
    pub uploads: u64,
}

/// What becomes of something that was due, and why.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Due {
    /// The repository.
    #[schema(value_type = String, example = "team/app")]
    pub repository: RepositoryName,
    /// The manifest or blob.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// What becomes of it: `purge` (a manifest goes for good), `unlink` (the repository loses a blob that
    /// others keep), `remove` (a blob goes with its bytes) or `keep`.
    #[schema(value_type = String, example = "remove")]
    pub act: Act,
    /// Why.
    pub reason: String,
    /// Bytes of the blob, where they go.
    pub bytes: u64,
}

impl From<Item> for Due {
    fn from(item: Item) -> Self {
        Due {
            repository: item.repository,
            digest: item.digest,
            act: item.act,
            reason: item.reason,
            bytes: item.bytes,
        }
    }
}

impl From<Due> for Item {
    fn from(due: Due) -> Self {
        Item {
            repository: due.repository,
            digest: due.digest,
            act: due.act,
            reason: due.reason,
            bytes: due.bytes,
        }
    }
}

/// What a collection came to, or would.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Collection {
    /// Whether it was done, or only told.
    pub done: bool,
    /// What was due; the first 10,000.
    pub items: Vec<Due>,
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
    /// So long, in milliseconds, no blob goes, since clients may have been told of any; absent if some may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_leased_ms: Option<u64>,
    /// Whether it was told to end before all that is due was taken.
    pub stopped: bool,
}

impl Collection {
    /// What it came to, as one figure each.
    pub fn totals(&self) -> Collected {
        Collected {
            purged: self.purged,
            unlinked: self.unlinked,
            removed: self.removed,
            bytes: self.bytes,
            kept: self.kept,
            all_leased_ms: self.all_leased_ms,
            stopped: self.stopped,
        }
    }
}

/// Whether something is only to be told.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Collect {
    /// Only say what it would come to.
    #[serde(default)]
    pub dry_run: bool,
}

/// Whether some work is to stand still, also over a restart.
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
        let permitted = caller.require_admin().map(drop);
        let registry = self.registry_of(caller);
        let dry_run = asked.dry_run;
        let collect = move || {
            let mut items = Vec::new();
            let mut tell = |item: Item| {
                if items.len() < ITEMS_MAX {
                    items.push(Due::from(item));
                }
            };
            let collected = match dry_run {
                true => registry.plan_collection(&mut tell)?,
                false => registry.collect(&CancellationToken::new(), &mut tell)?,
            };
            Ok(Collection {
                done: !dry_run,
                items,
                purged: collected.purged,
                unlinked: collected.unlinked,
                removed: collected.removed,
                bytes: collected.bytes,
                kept: collected.kept,
                all_leased_ms: collected.all_leased_ms,
                stopped: collected.stopped,
            })
        };
        let work = async {
            let collected = tokio::task::spawn_blocking(collect).await;
            collected.map_err(ApiError::internal)?
        };
        if dry_run {
            permitted?;
            return work.await;
        }
        let permitted = permitted.and_then(|()| self.check_writes());
        self.carry_out(caller, Deed::of_store("store", "gc"), permitted, work)
            .await
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
