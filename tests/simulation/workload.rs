//! A client that does random things, one after the other, and notes what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drift::digest::{Algorithm, Digest};
use drift::ghostbay::compact::plan::Decision;
use drift::ghostbay::engine::{ByteStream, CopyObjectRequest, PutObjectRequest, StorageEngine};
use drift::ghostbay::sim::SimDisk;
use drift::ghostbay::sim::crash::Random;
use drift::ghostbay::uploads::{Append, UploadId};
use drift::ghostbay::{EngineOptions, LocalStorageEngine, StorageError};
use drift::oci::{Reference, RepositoryName, Tag};
use drift::registry::{GcOptions, PutManifest, Registry, RegistryError, RegistryOptions};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::model::{History, OBJECTS, Repository, State, bucket};

pub const STORE: &str = "/store";
const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A store that serves.
pub struct Running {
    pub storage: LocalStorageEngine,
    pub registry: Registry,
}

/// Opens the store that lies on a disk, or makes one there.
pub async fn open(disk: &SimDisk) -> Result<Running, StorageError> {
    open_with(disk, None).await
}

/// As [`open`], with a checkpoint whenever the change log has grown by so many bytes. Nothing stays of
/// it, nor of what was deleted, but what there is to fall back on.
pub async fn open_with(
    disk: &SimDisk,
    checkpoint_bytes: Option<u64>,
) -> Result<Running, StorageError> {
    open_keeping(disk, checkpoint_bytes, Duration::ZERO).await
}

/// As [`open_with`], with a store that keeps what backups of the time before need.
pub async fn open_keeping(
    disk: &SimDisk,
    checkpoint_bytes: Option<u64>,
    keep: Duration,
) -> Result<Running, StorageError> {
    let mut options = EngineOptions {
        index_cache_bytes: 1 << 20,
        checkpoint_bytes,
        keep,
        ..EngineOptions::default()
    };
    // Nothing happens by the clock, so that a seed gives the same trace.
    options.packs.idle_trim = Duration::from_secs(3600);
    let storage = LocalStorageEngine::open_on(Arc::new(disk.clone()), STORE, options).await?;
    let registry = Registry::new(Arc::new(storage.clone()), RegistryOptions::default());
    Ok(Running { storage, registry })
}

/// A mark in the trace: which client, behind which of its states, and whether that state was
/// acknowledged or only asked for.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub client: usize,
    pub state: usize,
    pub acknowledged: bool,
}

impl Mark {
    pub fn encode(self) -> u64 {
        (self.client as u64) << 48 | (self.state as u64) << 1 | u64::from(self.acknowledged)
    }

    pub fn decode(mark: u64) -> Self {
        Mark {
            client: (mark >> 48) as usize,
            state: ((mark & ((1 << 48) - 1)) >> 1) as usize,
            acknowledged: mark & 1 == 1,
        }
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    Acknowledged,
    /// The store could not do it; whether it is done is not known.
    Failed(RegistryError),
}

pub struct Client {
    number: usize,
    disk: SimDisk,
    random: Random,
    pub history: History,
    /// Whether a collection may take what nothing refers to: it would take what others pushed.
    alone: bool,
    /// Manifests whose deletion was acknowledged, with the tags that went along.
    deleted: BTreeMap<(RepositoryName, Digest), Vec<Tag>>,
    /// Where tags pointed, as far as that was acknowledged.
    pointed: BTreeMap<(RepositoryName, Tag), Vec<Digest>>,
}

impl Client {
    pub fn new(number: usize, disk: &SimDisk, seed: u64) -> Self {
        let names = ["a", "b"].map(|name| format!("c{number}/{name}").parse().unwrap());
        let state: State = names.map(|name| (name, Repository::default())).into();
        Client {
            number,
            disk: disk.clone(),
            random: Random::new(seed ^ (number as u64) << 32),
            history: History {
                states: vec![state],
                ..History::default()
            },
            alone: true,
            deleted: BTreeMap::new(),
            pointed: BTreeMap::new(),
        }
    }

    /// With the store to itself, or not.
    pub fn alone(self, alone: bool) -> Self {
        Client { alone, ..self }
    }

    /// Goes on on another disk. What may be found on it begins with what is settled next.
    pub fn continue_on(&mut self, disk: &SimDisk) {
        self.disk = disk.clone();
        // A deletion that was not acknowledged may have been done, with other tags.
        self.deleted.clear();
    }

    fn state(&self) -> &State {
        self.history.states.last().unwrap()
    }

    fn mark(&self, acknowledged: bool) {
        self.mark_state(self.history.states.len() - 1, acknowledged);
    }

    fn mark_state(&self, state: usize, acknowledged: bool) {
        let mark = Mark {
            client: self.number,
            state,
            acknowledged,
        };
        self.disk.mark(mark.encode());
    }

    fn name(&mut self) -> RepositoryName {
        let at = self.random.below(2) as usize;
        self.state().keys().nth(at).unwrap().clone()
    }

    fn bytes(&mut self) -> Bytes {
        let length = match self.random.below(10) {
            0..=6 => 1 + self.random.below(3000),
            7 | 8 => 5000 + self.random.below(30_000),
            // More than is gathered in memory: a worker streams it to a pack of its own.
            _ => (260 << 10) + self.random.below(60_000),
        };
        let mut random = Random::new(self.random.next_u64());
        let words = length.div_ceil(8);
        let bytes: Vec<u8> = (0..words)
            .flat_map(|_| random.next_u64().to_le_bytes())
            .collect();
        Bytes::from(bytes).slice(..length as usize)
    }

    /// One of `items`.
    fn choose<T: Clone>(&mut self, items: impl Iterator<Item = T>) -> Option<T> {
        let items: Vec<T> = items.collect();
        let at = self.random.below(items.len().max(1) as u64) as usize;
        items.get(at).cloned()
    }

    /// Notes what became of a request that was not answered: the state that was found.
    pub fn settle(&mut self, found: State) {
        self.history.states.push(found);
        self.mark(true);
    }

    /// Does one thing. `None` if there was nothing to do it with.
    pub async fn step(&mut self, running: &Running) -> Option<Outcome> {
        let name = self.name();
        let Running { storage, registry } = running;
        match self.random.below(24) {
            0..=2 => self.push_blob(registry, name).await,
            3 => self.start_upload(registry, name).await,
            4 | 5 => self.append(registry, name).await,
            6 => self.finish(registry, name).await,
            7 => self.mount(registry, name).await,
            8..=10 => self.push_manifest(registry, name).await,
            11 => self.delete_tag(registry, name).await,
            12 => self.delete_manifest(registry, name).await,
            14 | 15 => self.put_object(storage, name).await,
            16 => self.copy_object(storage, name).await,
            17 => self.delete_object(storage, name).await,
            18 => self.reclaim(storage).await,
            19 => self.compact(storage).await,
            20 => self.undelete(registry, name).await,
            21 => self.roll_back(registry, name).await,
            22 if self.random.chance(50) => self.delete_repository(registry, name).await,
            22 | 23 => self.collect(running).await,
            _ => match self.random.below(3) {
                0 => self.cancel(registry, name).await,
                _ => self.delete_blob(registry, name).await,
            },
        }
    }

    /// Notes the state that a request leads to, and marks the request as begun.
    fn begin(&mut self, change: impl FnOnce(&mut State)) {
        let mut state = self.state().clone();
        change(&mut state);
        self.history.states.push(state);
        self.mark(false);
    }

    /// Marks a request as acknowledged, or says why it was not.
    fn end<T>(&mut self, result: Result<T, RegistryError>) -> Option<Outcome> {
        Some(match result {
            Ok(_) => {
                self.mark(true);
                Outcome::Acknowledged
            }
            Err(error @ RegistryError::Storage(_)) => Outcome::Failed(error),
            Err(error) => panic!("a right request was refused: {error:?}"),
        })
    }

    async fn push_blob(&mut self, registry: &Registry, name: RepositoryName) -> Option<Outcome> {
        let bytes = self.bytes();
        let digest = sha256(&bytes);
        self.history.content.insert(digest, bytes.clone());
        self.begin(|state| {
            state.get_mut(&name).unwrap().blobs.insert(digest, ());
        });
        let body = whole(&bytes, None);
        let result = registry.push_blob(&name, &digest, body).await;
        self.end(result)
    }

    async fn start_upload(&mut self, registry: &Registry, name: RepositoryName) -> Option<Outcome> {
        // Its id is known only behind it: the mark is that of a state that comes later.
        self.mark_state(self.history.states.len(), false);
        let result = registry.start_upload(&name, Algorithm::Sha256).await;
        let content = self.bytes();
        let mut state = self.state().clone();
        if let Ok(status) = &result {
            self.history.uploads.insert(status.id, content);
            state.get_mut(&name).unwrap().uploads.insert(status.id, 0);
        }
        self.history.states.push(state);
        self.end(result)
    }

    fn upload(&mut self, name: &RepositoryName) -> Option<(UploadId, u64, Bytes)> {
        let uploads = self.state()[name].uploads.clone();
        let (id, offset) = self.choose(uploads.into_iter())?;
        Some((id, offset, self.history.uploads[&id].clone()))
    }

    async fn append(&mut self, registry: &Registry, name: RepositoryName) -> Option<Outcome> {
        let (id, offset, content) = self.upload(&name)?;
        let rest = content.len() as u64 - offset;
        if rest == 0 {
            return None;
        }
        let end = offset + 1 + self.random.below(rest);
        self.begin(|state| {
            state.get_mut(&name).unwrap().uploads.insert(id, end);
        });
        let piece = content.slice(offset as usize..end as usize);
        let breaks = self.random.chance(25);
        let mut append = whole(&piece, Some(offset));
        if breaks {
            // What came before the break is kept as well.
            append.length = None;
            let error = futures::stream::once(async { Err(anyhow::anyhow!("cut")) });
            append.body = Box::pin(append.body.chain(error));
        }
        let result = match registry.append(&name, &id, append).await {
            Err(RegistryError::BodyBroken { offset, .. }) if breaks && offset == end => Ok(()),
            other => other.map(drop),
        };
        self.end(result)
    }

    async fn finish(&mut self, registry: &Registry, name: RepositoryName) -> Option<Outcome> {
        let (id, offset, content) = self.upload(&name)?;
        let digest = sha256(&content);
        self.history.content.insert(digest, content.clone());
        self.begin(|state| {
            let repository = state.get_mut(&name).unwrap();
            repository.uploads.remove(&id);
            repository.blobs.insert(digest, ());
        });
        let last = whole(&content.slice(offset as usize..), Some(offset));
        let result = registry
            .finish_upload(&name, &id, &digest, Some(last))
            .await;
        self.end(result)
    }

    async fn cancel(&mut self, registry: &Registry, name: RepositoryName) -> Option<Outcome> {
        let (id, _, _) = self.upload(&name)?;
        self.begin(|state| {
            state.get_mut(&name).unwrap().uploads.remove(&id);
        });
        let result = registry.cancel_upload(&name, &id).await;
        self.end(result)
    }

    async fn mount(&mut self, registry: &Registry, name: RepositoryName) -> Option<Outcome> {
        let other = self.state().keys().find(|other| **other != name)?.clone();
        let blobs = self.state()[&other].blobs.clone();
        let digest = self.choose(blobs.into_keys())?;
        self.begin(|state| {
            state.get_mut(&name).unwrap().blobs.insert(digest, ());
        });
        let result = registry.mount(&name, &digest, Some(&other), |_| true).await;
        if let Ok(mounted) = &result {
            assert!(mounted, "a blob that is there was not mounted");
        }
        self.end(result)
    }

    async fn push_manifest(
        &mut self,
        registry: &Registry,
        name: RepositoryName,
    ) -> Option<Outcome> {
        let tag: Tag = format!("t{}", self.random.below(4)).parse().unwrap();
        // Now and then one that is there already gets a tag more.
        let known = self.state()[&name].manifests.clone();
        let known = match self.random.chance(30) {
            true => self.choose(known.into_keys()),
            false => None,
        };
        let bytes = match known {
            Some(digest) => self.history.content[&digest].clone(),
            None => self.manifest(&name)?,
        };
        let digest = sha256(&bytes);
        self.history.content.insert(digest, bytes.clone());
        self.begin(|state| {
            let repository = state.get_mut(&name).unwrap();
            repository.manifests.insert(digest, ());
            repository.tags.insert(tag.clone(), digest);
        });
        let put = PutManifest {
            reference: Reference::Tag(tag.clone()),
            tags: Vec::new(),
            content_type: Some(MEDIA_TYPE.to_owned()),
            bytes,
        };
        let result = registry.put_manifest(&name, put).await;
        if result.is_ok() {
            let pointed = self.pointed.entry((name, tag)).or_default();
            pointed.push(digest);
        }
        self.end(result)
    }

    fn manifest(&mut self, name: &RepositoryName) -> Option<Bytes> {
        let blobs = self.state()[name].blobs.clone();
        let config = self.choose(blobs.keys().copied())?;
        let layer = self.choose(blobs.keys().copied())?;
        let describe = |media_type: &str, digest: Digest| {
            serde_json::json!({
                "mediaType": format!("application/vnd.oci.image.{media_type}"),
                "digest": digest,
                "size": self.history.content[&digest].len(),
            })
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MEDIA_TYPE,
            "config": describe("config.v1+json", config),
            "layers": [describe("layer.v1.tar", layer)],
            "annotations": { "nonce": self.random.next_u64().to_string() },
        });
        Some(serde_json::to_vec(&manifest).unwrap().into())
    }

    async fn delete_tag(&mut self, registry: &Registry, name: RepositoryName) -> Option<Outcome> {
        let tags = self.state()[&name].tags.clone();
        let tag = self.choose(tags.into_keys())?;
        self.begin(|state| {
            state.get_mut(&name).unwrap().tags.remove(&tag);
        });
        let result = registry.delete_tag(&name, &tag).await;
        self.end(result)
    }

    async fn delete_manifest(
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
    fn end_or_refused<T>(&mut self, result: Result<T, RegistryError>) -> Option<Outcome> {
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
    async fn undelete(&mut self, registry: &Registry, name: RepositoryName) -> Option<Outcome> {
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
    async fn roll_back(&mut self, registry: &Registry, name: RepositoryName) -> Option<Outcome> {
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

    async fn delete_repository(
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

    fn note_deleted(
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
    async fn collect(&mut self, running: &Running) -> Option<Outcome> {
        let gc = GcOptions {
            grace: match self.alone {
                true => Duration::ZERO,
                false => Duration::from_secs(3600),
            },
            keep_deleted: Duration::ZERO,
        };
        let options = RegistryOptions {
            gc,
            ..RegistryOptions::default()
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

    async fn delete_blob(&mut self, registry: &Registry, name: RepositoryName) -> Option<Outcome> {
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

impl Client {
    /// What became of a request to the store itself.
    fn end_of_object<T>(&mut self, result: anyhow::Result<T>) -> Option<Outcome> {
        self.end(
            result.map_err(|error| match error.downcast::<StorageError>() {
                Ok(error) => RegistryError::Storage(error),
                Err(error) => panic!("not an error of the store: {error:?}"),
            }),
        )
    }

    async fn put_object(
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

    async fn copy_object(
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

    async fn delete_object(
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
    async fn reclaim(&mut self, storage: &LocalStorageEngine) -> Option<Outcome> {
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
    async fn compact(&mut self, storage: &LocalStorageEngine) -> Option<Outcome> {
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

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Bytes as the body of a request, in frames.
pub fn whole(bytes: &Bytes, start: Option<u64>) -> Append<'static> {
    let frames: Vec<_> = bytes.chunks(60_000).map(Bytes::copy_from_slice).collect();
    let body: ByteStream<'static> = Box::pin(futures::stream::iter(frames.into_iter().map(Ok)));
    Append {
        start,
        length: Some(bytes.len() as u64),
        body,
    }
}
