//! Space that is given back.

use super::*;

impl Client {
    /// Does one thing of those that take space and give it back.
    pub async fn step_of_space(&mut self, running: &Running) -> Option<Outcome> {
        let name = self.name();
        let Running { storage, .. } = running;
        match self.random.below(10) {
            0..=3 => self.put_object(storage, name).await,
            4 => self.copy_object(storage, name).await,
            5 | 6 => self.delete_object(storage, name).await,
            7 | 8 => self.reclaim(storage).await,
            _ => self.compact(storage).await,
        }
    }

    /// Gives back the space of all that was deleted, which changes nothing that anybody sees.
    pub(super) async fn reclaim(&mut self, storage: &LocalStorageEngine) -> Option<Outcome> {
        self.begin(|_| ());
        match storage.reclaim().await {
            // Nothing was written.
            Ok(done) if done.extents == 0 && done.packs == 0 => None,
            result => self.end(result.map_err(RegistryError::Storage)),
        }
    }

    /// Rewrites every pack, whatever is alive in it, which changes nothing that anybody sees.
    pub(super) async fn compact(&mut self, storage: &LocalStorageEngine) -> Option<Outcome> {
        self.begin(|_| ());
        let storage = storage.clone();
        let compacted = tokio::task::spawn_blocking(move || {
            let compactor = storage.compactor();
            let mut plan = compactor.plan()?;
            for pack in &mut plan.packs {
                pack.decision = Decision::Rewrite;
            }
            compactor.execute(&plan, 0, &CancellationToken::new())
        });
        match compacted.await.unwrap() {
            // Nothing was written.
            Ok(done) if done.packs == 0 => None,
            result => self.end(result.map_err(RegistryError::Storage)),
        }
    }
}
