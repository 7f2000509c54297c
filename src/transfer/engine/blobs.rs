//! The blobs of a manifest.

use std::sync::Arc;

use super::{Engine, PLACES_MAX, Run, locked};
use crate::digest::Digest;
use crate::transfer::content::{Content, insist};
use crate::transfer::error::TransferError;
use crate::transfer::observer::Outcome;

impl Engine {
    /// Brings a blob over, once for all who are made of it.
    pub(super) async fn blob(
        &self,
        run: &Run,
        digest: Digest,
        size: u64,
    ) -> Result<(), TransferError> {
        let cell = locked(&run.blobs).entry(digest).or_default().clone();
        let brought = cell.get_or_init(|| self.bring_blob(run, digest, size));
        brought.await.clone()
    }

    async fn bring_blob(&self, run: &Run, digest: Digest, size: u64) -> Result<(), TransferError> {
        // It is never closed.
        let _turn = self.transfers.acquire().await;
        let (to, attempts) = (&run.job.to, self.options.attempts);
        let holds = || self.sink.holds_blob(to, &digest);
        let outcome = match insist(attempts, holds).await? {
            true => Outcome::Present,
            false => {
                self.observer.expect(size);
                let content = Content {
                    source: self.source.clone(),
                    repository: run.job.from.clone(),
                    digest,
                    size,
                    attempts,
                    observer: Arc::clone(&self.observer),
                };
                let from = locked(&self.places).get(&digest).cloned();
                match self.options.dry_run {
                    true => {
                        self.source.look(&run.job.from, &digest, size).await?;
                        Outcome::Copied
                    }
                    false => {
                        let put = || self.sink.put_blob(to, &content, from.as_ref());
                        insist(attempts, put).await?
                    }
                }
            }
        };
        self.count_blob(outcome, size);
        let mut places = locked(&self.places);
        if places.len() < PLACES_MAX {
            places.insert(digest, to.clone());
        }
        Ok(())
    }
}
