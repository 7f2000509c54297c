//! Uploads that nobody goes on with: they end, and their bytes with them.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::catalog::{Rows, Transaction};
use super::clock::now_ms;
use super::error::StorageError;
use super::local::LocalStorageEngine;
use super::multipart::{self, MULTIPART, MultipartKey};
use super::owners::each_row;
use super::pack::accounts;
use super::uploads::{UPLOADS, UploadId};

/// How often abandoned uploads are looked for, if they do not expire sooner.
const INTERVAL: Duration = Duration::from_secs(60);

impl LocalStorageEngine {
    /// Ends the uploads to which no byte has come since `before_ms`, and the multipart uploads that
    /// were begun before (as S3's own rule counts); how many. An upload that a request holds goes
    /// on.
    pub async fn end_abandoned(&self, before_ms: u64) -> Result<usize, StorageError> {
        let engine = self.clone();
        let look = move || {
            let mut uploads: Vec<UploadId> = Vec::new();
            each_row(engine.catalog(), &UPLOADS, |id, row| {
                if row.touched_ms <= before_ms {
                    uploads.push(id);
                }
                !engine.is_closed()
            })?;
            let mut multipart: Vec<MultipartKey> = Vec::new();
            each_row(engine.catalog(), &MULTIPART, |key, row| {
                if row.created_ms <= before_ms {
                    multipart.push(key);
                }
                !engine.is_closed()
            })?;
            Ok::<_, StorageError>((uploads, multipart))
        };
        let (uploads, multipart) = super::blocking::blocking(look).await?;
        let mut ended = 0;
        for id in uploads {
            ended += usize::from(self.uploads().end_abandoned(id, before_ms).await?);
        }
        for key in multipart {
            let end = move |transaction: &mut Transaction<'_>| {
                let row = transaction.get_sound(&MULTIPART, &key)?;
                if row.is_none_or(|row| row.created_ms > before_ms) {
                    return Ok(false);
                }
                let parts = multipart::parts(transaction, &key.id)?;
                multipart::remove(transaction, &key, &parts)?;
                for (_, part) in &parts {
                    accounts::release(transaction, &part.extents)?;
                }
                Ok::<_, StorageError>(true)
            };
            ended += usize::from(self.catalog().transact(end).await?);
        }
        Ok(ended)
    }
}

/// Ends uploads to which no byte has come for `expiry`, until told to stop.
pub async fn run_every(
    storage: Arc<LocalStorageEngine>,
    expiry: Duration,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL.min(expiry)) => {}
        }
        let before_ms = now_ms().saturating_sub(expiry.as_millis() as u64);
        match storage.end_abandoned(before_ms).await {
            Ok(0) => {}
            Ok(ended) => tracing::info!(ended, "ended abandoned uploads"),
            Err(error) => tracing::error!(%error, "abandoned uploads were not ended"),
        }
    }
}
