//! A client that does random things, one after the other, and notes what was acknowledged.

mod conditions;
mod deletes;
mod objects;
mod pushes;
mod retention;
mod space;

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
use drift::registry::{
    GcOptions, PutManifest, QuotaRule, Quotas, Registry, RegistryError, RegistryOptions,
};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::model::{
    History, OBJECTS, QUOTA_BYTES, QUOTA_TAGS, Repository, State, bucket, has_quota,
};

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
    let registry = Registry::new(Arc::new(storage.clone()), registry_options());
    Ok(Running { storage, registry })
}

/// With a quota for one repository of each client's.
fn registry_options() -> RegistryOptions {
    let rule = QuotaRule {
        repositories: "*/a".parse().unwrap(),
        bytes: Some(QUOTA_BYTES),
        tags: Some(QUOTA_TAGS),
    };
    RegistryOptions {
        quotas: Quotas(vec![rule]),
        ..RegistryOptions::default()
    }
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
    /// Which of its states was acknowledged last.
    settled: usize,
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
            settled: 0,
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

    /// The states that may be found: the one that was acknowledged last, and those behind it.
    pub fn possible(&self) -> &[State] {
        &self.history.states[self.settled..]
    }

    fn mark(&mut self, acknowledged: bool) {
        self.mark_state(self.history.states.len() - 1, acknowledged);
    }

    fn mark_state(&mut self, state: usize, acknowledged: bool) {
        if acknowledged {
            self.settled = state;
        }
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
        match self.random.below(26) {
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
            24 => self.retain(running).await,
            25 => self.race(storage, name).await,
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

    /// Whether the quota has no room for so many bytes and tags more.
    fn exceeds(&self, name: &RepositoryName, bytes: u64, tags: u64) -> bool {
        let usage = self.state()[name].usage(&self.history.content);
        let beyond = |used, adding, limit| adding > 0 && used + adding > limit;
        has_quota(name)
            && (beyond(usage.bytes, bytes, QUOTA_BYTES) || beyond(usage.tags, tags, QUOTA_TAGS))
    }

    /// As [`Client::end`], for a request that the quota has to refuse: it changes nothing, but that
    /// an upload is dropped, if that could be done.
    fn end_refused<T>(
        &mut self,
        registry: &Registry,
        upload: Option<(&RepositoryName, &UploadId)>,
        result: Result<T, RegistryError>,
    ) -> Option<Outcome> {
        match result {
            Err(RegistryError::QuotaExceeded { .. }) => self.history.refused += 1,
            Err(error @ RegistryError::Storage(_)) => return Some(Outcome::Failed(error)),
            Err(error) => panic!("a quota should have refused: {error:?}"),
            Ok(_) => panic!("a quota should have refused"),
        }
        if let Some((name, upload)) = upload {
            match registry.upload_status(name, upload) {
                Err(RegistryError::UploadUnknown { .. }) => {}
                Ok(_) => {
                    let before = self.history.states[self.history.states.len() - 2].clone();
                    self.history.states.push(before);
                }
                Err(error) => return self.end::<()>(Err(error)),
            }
        }
        self.end(Ok(()))
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
