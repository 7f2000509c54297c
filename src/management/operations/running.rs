//! What is under way at this moment: uploads, and the work of the server's own.

use std::sync::PoisonError;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{Caller, Management};
use crate::ghostbay::admin::{OpenMultipart, Work};
use crate::http::error::ApiError;
use crate::registry::uploads::OpenUpload;

/// Uploads that are listed.
const UPLOADS_MAX: usize = 200;

/// Parts of multipart uploads that are looked at: as many as one upload has at most.
const PARTS_MAX: usize = 10_000;

/// What is under way.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Running {
    /// The uploads that bytes came for last, the latest first; at most 200.
    pub uploads: Vec<Upload>,
    /// How many more there are.
    pub more_uploads: u64,
    /// The multipart uploads of the S3 endpoint that were begun last, the latest first; at most 200.
    pub multipart: Vec<MultipartUpload>,
    /// How many more there are.
    pub more_multipart: u64,
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

/// A multipart upload under way. Nothing of it lets anybody go on with it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MultipartUpload {
    /// The bucket.
    pub bucket: String,
    /// The key of the object to be.
    pub key: String,
    /// When it was begun.
    pub begun_ms: u64,
    /// Parts that it holds; absent of those behind the first 10,000 parts of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<u64>,
    /// Their bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl From<OpenMultipart> for MultipartUpload {
    fn from(upload: OpenMultipart) -> Self {
        let (parts, bytes) = upload.parts.unzip();
        MultipartUpload {
            bucket: upload.bucket,
            key: upload.key,
            begun_ms: upload.begun_ms,
            parts,
            bytes,
        }
    }
}

/// How far the scrub is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScrubState {
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it stands still, also over a restart. A pass under way goes on where it was; a restart has it
    /// begin anew.
    pub paused: bool,
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
    /// Those that were cancelled since the start.
    pub cancelled: u64,
    /// When the one under way began; absent between two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began_ms: Option<u64>,
    /// Bytes of it that are written, or of the last.
    pub written_bytes: u64,
    /// When the next is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
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
    /// Whether they stand still, also over a restart.
    pub paused: bool,
    /// Whether one is under way.
    pub running: bool,
    /// When the next is due; absent while they stand still or the registry takes no writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
    /// Those that came to their end.
    pub runs: u64,
    /// Those that broke off.
    pub failed: u64,
    /// When the last came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<u64>,
    /// What that came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastCollection>,
    /// Deleted manifests that all of them took for good.
    pub purged_manifests: u64,
    /// Blobs that went with their bytes.
    pub removed_blobs: u64,
    /// Bytes that these had.
    pub removed_bytes: u64,
}

/// What the last collection came to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct LastCollection {
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Deleted manifests that went for good.
    pub purged: u64,
    /// Blobs that a repository lost and another keeps.
    pub unlinked: u64,
    /// Blobs that went with their bytes.
    pub removed: u64,
    /// Bytes that these had.
    pub bytes: u64,
    /// Blobs that were due and stay.
    pub kept: u64,
}

/// A figure of which 0 says that there is none.
fn known(figure: u64) -> Option<u64> {
    (figure > 0).then_some(figure)
}

impl Management {
    /// What is under way at this moment.
    pub async fn running(&self, caller: &Caller) -> Result<Running, ApiError> {
        caller.require_admin()?;
        let (registry, storage) = (self.api.registry.clone(), self.storage.clone());
        let look = move || {
            let uploads = registry.open_uploads(UPLOADS_MAX)?;
            let multipart = storage.open_multipart_uploads(UPLOADS_MAX, PARTS_MAX);
            Ok::<_, ApiError>((uploads, multipart.map_err(ApiError::internal)?))
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let ((uploads, count), (multipart, multipart_count)) =
            looked.map_err(ApiError::internal)??;
        Ok(Running {
            more_uploads: count.saturating_sub(uploads.len() as u64),
            uploads: uploads.into_iter().map(Upload::from).collect(),
            more_multipart: multipart_count.saturating_sub(multipart.len() as u64),
            multipart: multipart.into_iter().map(MultipartUpload::from).collect(),
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
            paused: self.storage.pauses().has(Work::Scrub),
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
            cancelled: backups.cancelled.get(),
            began_ms: known(backups.began_ms.get()),
            written_bytes: backups.written_bytes.get(),
            next_ms: known(backups.next_ms.get()),
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
        let registry = &self.api.registry;
        let collections = &registry.figures().collections;
        let paused = self.storage.pauses().has(Work::Collection);
        let last_ms = known(collections.last_ms.get());
        let last = collections.last.lock();
        let last = *last.unwrap_or_else(PoisonError::into_inner);
        let took_ms = collections.last_micros.get().div_ceil(1000);
        CollectionState {
            paused,
            running: registry.is_collecting(),
            next_ms: known(collections.next_ms.get()).filter(|_| !paused),
            runs: collections.runs.get(),
            failed: collections.failed.get(),
            last_ms,
            last: last_ms.map(|_| LastCollection {
                took_ms,
                purged: last.purged,
                unlinked: last.unlinked,
                removed: last.removed,
                bytes: last.bytes,
                kept: last.kept,
            }),
            purged_manifests: collections.purged_manifests.get(),
            removed_blobs: collections.removed_blobs.get(),
            removed_bytes: collections.removed_bytes.get(),
        }
    }
}
