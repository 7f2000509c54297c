//! Objects of the store itself, and space that is given back.

use super::*;

impl Client {
    /// What became of a request to the store itself.
    pub(super) fn end_of_object<T>(&mut self, result: anyhow::Result<T>) -> Option<Outcome> {
        self.end(
            result.map_err(|error| match error.downcast::<StorageError>() {
                Ok(error) => RegistryError::Storage(error),
                Err(error) => panic!("not an error of the store: {error:?}"),
            }),
        )
    }

    pub(super) async fn put_object(
        &mut self,
        storage: &LocalStorageEngine,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let key = self.choose(OBJECTS.into_iter())?;
        let bytes = self.bytes();
        self.begin(|state| {
            let objects = &mut state.get_mut(&name).unwrap().objects;
            objects.insert(key.to_owned(), sha256(&bytes));
        });
        let request = PutObjectRequest {
            bucket: bucket(&name),
            key: key.to_owned(),
            content_type: String::new(),
            content_length: Some(bytes.len() as u64),
            data: whole(&bytes, None).body,
        };
        let result = storage.put_object(request).await;
        self.end_of_object(result)
    }

    pub(super) async fn copy_object(
        &mut self,
        storage: &LocalStorageEngine,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let objects = self.state()[&name].objects.clone();
        let (source, digest) = self.choose(objects.into_iter())?;
        let key = self.choose(OBJECTS.into_iter())?;
        self.begin(|state| {
            let objects = &mut state.get_mut(&name).unwrap().objects;
            objects.insert(key.to_owned(), digest);
        });
        let request = CopyObjectRequest {
            source_bucket: bucket(&name),
            source_key: source,
            bucket: bucket(&name),
            key: key.to_owned(),
        };
        let result = storage.copy_object(request).await;
        self.end_of_object(result)
    }

    pub(super) async fn delete_object(
        &mut self,
        storage: &LocalStorageEngine,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let objects = self.state()[&name].objects.clone();
        let (key, _) = self.choose(objects.into_iter())?;
        self.begin(|state| {
            state.get_mut(&name).unwrap().objects.remove(&key);
        });
        let result = storage.delete_object(&bucket(&name), &key).await;
        self.end_of_object(result)
    }

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
}

impl Client {
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
