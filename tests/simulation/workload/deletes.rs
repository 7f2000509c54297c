//! What goes: deletes, what brings back, and collections.

use super::*;

impl Client {
    pub(super) async fn delete_tag(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let tags = self.state()[&name].tags.clone();
        let tag = self.choose(tags.into_keys())?;
        self.begin(|state| {
            state.get_mut(&name).unwrap().tags.remove(&tag);
        });
        let result = registry.delete_tag(&name, &tag).await;
        self.end(result)
    }

    pub(super) async fn delete_manifest(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let manifests = self.state()[&name].manifests.clone();
        let digest = self.choose(manifests.into_keys())?;
        self.begin(|state| {
            let repository = state.get_mut(&name).unwrap();
            repository.manifests.remove(&digest);
            repository.tags.retain(|_, target| *target != digest);
        });
        let tags = self.history.states[self.history.states.len() - 2][&name]
            .tags
            .clone();
        self.deleted.remove(&(name.clone(), digest));
        let result = registry.delete_manifest(&name, &digest).await;
        if result.is_ok() {
            self.note_deleted(&name, &digest, &tags);
        }
        self.end(result)
    }

    /// What could not be done has changed nothing, and the state that was begun is the old.
    pub(super) fn end_or_refused<T>(
        &mut self,
        result: Result<T, RegistryError>,
    ) -> Option<Outcome> {
        match result {
            Ok(_) | Err(RegistryError::Storage(_)) => self.end(result),
            Err(_) => {
                let before = self.history.states[self.history.states.len() - 2].clone();
                *self.history.states.last_mut().unwrap() = before;
                self.end(Ok(()))
            }
        }
    }

    /// Brings a deleted manifest back. It may be purged, or lack a blob by now.
    pub(super) async fn undelete(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let manifests = &self.state()[&name].manifests;
        let deleted: Vec<_> = self
            .deleted
            .iter()
            .filter(|((of, digest), _)| *of == name && !manifests.contains_key(digest))
            .map(|((_, digest), tags)| (*digest, tags.clone()))
            .collect();
        let (digest, tags) = self.choose(deleted.into_iter())?;
        self.begin(|state| {
            let repository = state.get_mut(&name).unwrap();
            repository.manifests.insert(digest, ());
            for tag in tags {
                repository.tags.entry(tag).or_insert(digest);
            }
        });
        let result = registry.undelete_manifest(&name, &digest).await;
        self.end_or_refused(result)
    }

    /// Points a tag where it pointed before. Its manifest may be gone.
    pub(super) async fn roll_back(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let tags = self.state()[&name].tags.clone();
        let (tag, now) = self.choose(tags.into_iter())?;
        let pointed = self.pointed.get(&(name.clone(), tag.clone()))?.clone();
        let earlier = pointed.into_iter().filter(|digest| *digest != now);
        let digest = self.choose(earlier)?;
        self.begin(|state| {
            let repository = state.get_mut(&name).unwrap();
            repository.manifests.insert(digest, ());
            repository.tags.insert(tag.clone(), digest);
        });
        let result = registry.rollback_tag(&name, &tag, Some(&digest)).await;
        self.end_or_refused(result)
    }

    pub(super) async fn delete_repository(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let before = self.state()[&name].clone();
        if before.manifests.is_empty() {
            return None;
        }
        self.begin(|state| {
            let repository = state.get_mut(&name).unwrap();
            repository.manifests.clear();
            repository.tags.clear();
        });
        self.deleted.retain(|(of, _), _| *of != name);
        let result = registry.delete_repository(&name).await;
        if result.is_ok() {
            for digest in before.manifests.keys() {
                self.note_deleted(&name, digest, &before.tags);
            }
        }
        self.end(result)
    }

    pub(super) fn note_deleted(
        &mut self,
        name: &RepositoryName,
        digest: &Digest,
        tags: &BTreeMap<Tag, Digest>,
    ) {
        let tags = tags.iter().filter(|(_, target)| *target == digest);
        let tags = tags.map(|(tag, _)| tag.clone()).collect();
        self.deleted.insert((name.clone(), *digest), tags);
    }

    /// Purges what was deleted, and takes the blobs that no manifest is made of.
    pub(super) async fn collect(&mut self, running: &Running) -> Option<Outcome> {
        let gc = GcOptions {
            grace: match self.alone {
                true => Duration::ZERO,
                false => Duration::from_secs(3600),
            },
            keep_deleted: Duration::ZERO,
        };
        let options = RegistryOptions {
            gc,
            ..registry_options()
        };
        let collector = Registry::new(Arc::new(running.storage.clone()), options);
        let (alone, content) = (self.alone, self.history.content.clone());
        self.begin(|state| {
            for repository in state.values_mut().filter(|_| alone) {
                let manifests = repository.manifests.keys();
                let texts: Vec<_> = manifests
                    .map(|digest| String::from_utf8_lossy(&content[digest]).into_owned())
                    .collect();
                repository.blobs.retain(|digest, ()| {
                    let digest = digest.to_string();
                    texts.iter().any(|text| text.contains(&digest))
                });
            }
        });
        let stop = tokio_util::sync::CancellationToken::new();
        let cycle = tokio::task::spawn_blocking(move || collector.collect(&stop, &mut |_| {}));
        let result = cycle.await.unwrap();
        if result.is_ok() && self.alone {
            self.deleted.clear();
        }
        self.end(result)
    }

    pub(super) async fn delete_blob(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let blobs = self.state()[&name].blobs.clone();
        let digest = self.choose(blobs.into_keys())?;
        self.begin(|state| {
            state.get_mut(&name).unwrap().blobs.remove(&digest);
        });
        let result = registry.delete_blob(&name, &digest).await;
        match result {
            // A manifest needs it.
            Err(RegistryError::StillReferenced { .. }) => self.end_or_refused(result),
            _ => self.end(result),
        }
    }
}
