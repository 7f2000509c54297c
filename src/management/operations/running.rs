//! What is under way at this moment: uploads, and the work of the server's own.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{Caller, Management};
use crate::http::admin::Deed;
use crate::http::error::ApiError;
use crate::oci::ErrorCode;
use crate::registry::uploads::OpenUpload;

/// Uploads that are listed.
const UPLOADS_MAX: usize = 200;

/// What is under way.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Running {
    /// The uploads that bytes came for last, the latest first; at most 200.
    pub uploads: Vec<Upload>,
    /// How many more there are.
    pub more_uploads: u64,
    /// The scrub, which reads the whole store over.
    pub scrub: ScrubState,
    /// The backups of the schedule; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backups: Option<BackupState>,
    /// Compaction.
    pub compaction: CompactionProgress,
    /// Collections of garbage since the start.
    pub collections: CollectionState,
}

/// An upload under way. Nothing of it lets anybody go on with it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// The repository that it goes to.
    pub repository: String,
    /// By whom; absent where login is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Bytes that it held when it last wrote down how far it is.
    pub bytes: u64,
    /// When it was begun.
    pub begun_ms: u64,
    /// When bytes last came.
    pub touched_ms: u64,
}

impl From<OpenUpload> for Upload {
    fn from(upload: OpenUpload) -> Self {
        Upload {
            repository: upload.repository,
            who: upload.by,
            bytes: upload.bytes,
            begun_ms: upload.begun_ms,
            touched_ms: upload.touched_ms,
        }
    }
}

/// How far the scrub is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScrubState {
    /// Whether it is switched on.
    pub enabled: bool,
    /// How fast it reads, in bytes a second.
    pub bytes_per_second: u64,
    /// When the pass under way began; absent between two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began_ms: Option<u64>,
    /// Bytes of the packs that the pass has read.
    pub read_bytes: u64,
    /// Bytes that it is to read; absent before it knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Passes over the whole store since the start.
    pub passes: u64,
    /// When the last of them ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<u64>,
    /// Damages that the last whole pass met, or the one after if it met more by now.
    pub damages: u64,
}

/// The backups of the schedule.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BackupState {
    /// Between one and the next, in milliseconds.
    pub every_ms: u64,
    /// The name of the directory that they go to.
    pub to: String,
    /// Those that were taken since the start.
    pub taken: u64,
    /// Those that failed since the start.
    pub failed: u64,
    /// When the last was taken, also before the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<u64>,
}

/// What compaction does.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CompactionProgress {
    /// Whether it stands still.
    pub paused: bool,
    /// Whether packs are being rewritten.
    pub running: bool,
    /// Bytes that were moved since the start.
    pub copied_bytes: u64,
    /// Packs of which nothing was left behind since the start.
    pub rewritten_packs: u64,
}

/// Collections of garbage since the start.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CollectionState {
    /// Those that came to their end.
    pub runs: u64,
    /// Those that broke off.
    pub failed: u64,
    /// When the last came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<u64>,
    /// Deleted manifests that all of them took for good.
    pub purged_manifests: u64,
    /// Blobs that went with their bytes.
    pub removed_blobs: u64,
    /// Bytes that these had.
    pub removed_bytes: u64,
}

/// A figure of which 0 says that there is none.
fn known(figure: u64) -> Option<u64> {
    (figure > 0).then_some(figure)
}

/// Refuses what cannot be begun as things stand.
fn conflict(message: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, ErrorCode::Unsupported, message)
}

impl Management {
    /// Has the next backup of the schedule taken at once. [`Running`] tells when it is there.
    pub async fn back_up(&self, caller: &Caller) -> Result<Running, ApiError> {
        let begun = caller.require_admin().and_then(|_| {
            let backups = &self.storage.figures().backups;
            if backups.every_ms.get() == 0 {
                return Err(conflict(
                    "there is no schedule of backups: set [backup] every and to, or use drift backup",
                ));
            }
            backups.asked.notify_one();
            Ok(())
        });
        let deed = Deed::of_store("store", "backup");
        self.did(caller, deed, begun.as_ref().err()).await;
        begun?;
        self.running(caller).await
    }

    /// Has the next pass of the scrub begin at once.
    pub async fn scrub(&self, caller: &Caller) -> Result<Running, ApiError> {
        let begun = caller.require_admin().and_then(|_| {
            let scrub = &self.api.registry.figures().scrub;
            if scrub.rate.get() == 0 {
                return Err(conflict(
                    "the scrub is switched off: set [storage] scrub_rate, or use drift verify --full",
                ));
            }
            if scrub.began_ms.get() > 0 {
                return Err(conflict("a pass of the scrub is under way already"));
            }
            scrub.asked.notify_one();
            Ok(())
        });
        let deed = Deed::of_store("store", "scrub");
        self.did(caller, deed, begun.as_ref().err()).await;
        begun?;
        self.running(caller).await
    }

    /// What is under way at this moment.
    pub async fn running(&self, caller: &Caller) -> Result<Running, ApiError> {
        caller.require_admin()?;
        let registry = self.api.registry.clone();
        let look = move || registry.open_uploads(UPLOADS_MAX);
        let looked = tokio::task::spawn_blocking(look).await;
        let (uploads, count) = looked.map_err(ApiError::internal)??;
        let uploads: Vec<_> = uploads.into_iter().map(Upload::from).collect();
        Ok(Running {
            more_uploads: count.saturating_sub(uploads.len() as u64),
            uploads,
            scrub: self.scrub_state(),
            backups: self.backup_state(),
            compaction: self.compaction_progress(),
            collections: self.collection_state(),
        })
    }

    fn scrub_state(&self) -> ScrubState {
        let scrub = &self.api.registry.figures().scrub;
        ScrubState {
            enabled: scrub.rate.get() > 0,
            bytes_per_second: scrub.rate.get(),
            began_ms: known(scrub.began_ms.get()),
            read_bytes: scrub.pass_bytes.get(),
            total_bytes: known(scrub.pass_bytes_total.get()),
            passes: scrub.passes.get(),
            last_ms: known(scrub.last_ms.get()),
            damages: scrub.known_damages(),
        }
    }

    fn backup_state(&self) -> Option<BackupState> {
        let backups = &self.storage.figures().backups;
        Some(BackupState {
            every_ms: known(backups.every_ms.get())?,
            to: backups.to.get().cloned().unwrap_or_default(),
            taken: backups.taken.get(),
            failed: backups.failed.get(),
            last_ms: known(backups.last_ms.get()),
        })
    }

    pub(super) fn compaction_progress(&self) -> CompactionProgress {
        let state = self.storage.compactor().state();
        CompactionProgress {
            paused: state.paused,
            running: state.running,
            copied_bytes: state.copied_bytes,
            rewritten_packs: state.rewritten_packs,
        }
    }

    fn collection_state(&self) -> CollectionState {
        let collections = &self.api.registry.figures().collections;
        CollectionState {
            runs: collections.runs.get(),
            failed: collections.failed.get(),
            last_ms: known(collections.last_ms.get()),
            purged_manifests: collections.purged_manifests.get(),
            removed_blobs: collections.removed_blobs.get(),
            removed_bytes: collections.removed_bytes.get(),
        }
    }
}
