//! What an administrator has begin at once, stand still, go on, or end.

use axum::http::StatusCode;

use super::super::{Caller, Management};
use super::{CompactionProgress, Pause, Running};
use crate::ghostbay::admin::Work;
use crate::http::admin::Deed;
use crate::http::error::ApiError;
use crate::oci::ErrorCode;

/// Refuses what cannot be done as things stand.
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
        self.ordered(caller, "backup", begun).await
    }

    /// Cancels the backup of the schedule that is under way. Nothing of it is left; the next comes when it is
    /// due.
    pub async fn cancel_backup(&self, caller: &Caller) -> Result<Running, ApiError> {
        let backups = &self.storage.figures().backups;
        let cancelled = caller.require_admin().and_then(|_| match backups.cancel() {
            true => Ok(()),
            false => Err(conflict("no backup of the schedule is under way")),
        });
        self.ordered(caller, "backup --cancel", cancelled).await
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
            if self.storage.pauses().has(Work::Scrub) {
                return Err(conflict("the scrub is paused: have it go on first"));
            }
            if scrub.began_ms.get() > 0 {
                return Err(conflict("a pass of the scrub is under way already"));
            }
            scrub.asked.notify_one();
            Ok(())
        });
        self.ordered(caller, "scrub", begun).await
    }

    /// Has compaction stand still, or go on.
    pub async fn pause_compaction(
        &self,
        caller: &Caller,
        asked: Pause,
    ) -> Result<CompactionProgress, ApiError> {
        let deed = match asked.paused {
            true => "compact --pause",
            false => "compact --resume",
        };
        self.pause(caller, Work::Compaction, asked, deed).await?;
        Ok(self.compaction_progress())
    }

    /// Has the scrub stand still, or go on where it was.
    pub async fn pause_scrub(&self, caller: &Caller, asked: Pause) -> Result<Pause, ApiError> {
        let deed = match asked.paused {
            true => "scrub --pause",
            false => "scrub --resume",
        };
        self.pause(caller, Work::Scrub, asked, deed).await
    }

    /// Has collections stand still, or go on.
    pub async fn pause_collections(
        &self,
        caller: &Caller,
        asked: Pause,
    ) -> Result<Pause, ApiError> {
        let deed = match asked.paused {
            true => "gc --pause",
            false => "gc --resume",
        };
        self.pause(caller, Work::Collection, asked, deed).await
    }

    async fn pause(
        &self,
        caller: &Caller,
        work: Work,
        asked: Pause,
        deed: &str,
    ) -> Result<Pause, ApiError> {
        let permitted = caller.require_admin().map(drop);
        let storage = self.storage.clone();
        let pause = move || storage.pauses().set(work, asked.paused);
        let pausing = async {
            let paused = tokio::task::spawn_blocking(pause).await;
            let paused = paused.map_err(ApiError::internal)?;
            paused.map_err(ApiError::internal)
        };
        self.carry_out(caller, Deed::of_store("store", deed), permitted, pausing)
            .await?;
        Ok(asked)
    }

    /// Writes down what became of an order, and tells what is under way.
    async fn ordered(
        &self,
        caller: &Caller,
        deed: &str,
        done: Result<(), ApiError>,
    ) -> Result<Running, ApiError> {
        let deed = Deed::of_store("store", deed);
        self.did(caller, deed, done.as_ref().err()).await;
        done?;
        self.running(caller).await
    }
}
