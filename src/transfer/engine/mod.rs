//! From a source to a sink: what is wanted, with all that it is made of.
//!
//! Repository by repository. Of each manifest the blobs go first, then its children, then itself, then
//! what refers to it; the tags last. What the sink holds is passed over, so that a transfer that was
//! interrupted goes on where it was. What does not come over is told, and the rest goes on.
//!
//! * `walk`: one manifest with its parts; `blobs`: what a manifest is made of; `platform`: of an index
//!   the one image that is wanted

mod blobs;
mod platform;
mod walk;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use serde::Serialize;
use tokio::sync::{OnceCell, Semaphore};

use super::content::insist;
use super::end::{Found, Place, Sink, Source};
use super::error::TransferError;
use super::observer::{Observer, Outcome};
use crate::digest::Digest;
use crate::oci::{Reference, RepositoryName, Tag};

pub use platform::{Platform, PlatformError};

/// Of so many blobs it is remembered in which repository of the sink they lie.
const PLACES_MAX: usize = 100_000;

/// How things are transferred.
#[derive(Clone, Debug)]
pub struct Options {
    /// Blobs that are on their way at once, 1 or more.
    pub jobs: usize,
    /// How often in a row something is tried that may pass, 1 or more.
    pub attempts: u32,
    /// Whether what refers to a manifest comes with it.
    pub referrers: bool,
    /// Of an index the one image for this platform, in the place of the index.
    pub platform: Option<Platform>,
    /// Whether no tag is set before everything is there, and none if something is not.
    pub tags_last: bool,
    /// Whether nothing is transferred, and only told.
    pub dry_run: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            jobs: 4,
            attempts: 6,
            referrers: true,
            platform: None,
            tags_last: false,
            dry_run: false,
        }
    }
}

/// Something that is wanted of a repository.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is called there.
    pub reference: Reference,
    /// The tag that it gets here; `None`: its digest is enough.
    pub tag: Option<Tag>,
}

/// What is wanted of a repository.
#[derive(Clone, Debug)]
pub struct Job {
    /// The repository there.
    pub from: RepositoryName,
    /// The repository here.
    pub to: RepositoryName,
    /// What is wanted.
    pub items: Vec<Item>,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Summary {
    /// Blobs that were copied.
    pub blobs_copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
    /// Blobs that the other end took over from another repository of its own.
    pub blobs_mounted: u64,
    /// Blobs that were there.
    pub blobs_present: u64,
    /// Manifests that were written.
    pub manifests_copied: u64,
    /// Manifests that were there.
    pub manifests_present: u64,
    /// Tags that were set, also where they were so before.
    pub tags: u64,
    /// Tags, or manifests without one, that did not come over, or not whole.
    pub failures: u64,
}

#[derive(Default)]
struct Counts {
    blobs_copied: AtomicU64,
    bytes_copied: AtomicU64,
    blobs_mounted: AtomicU64,
    blobs_present: AtomicU64,
    manifests_copied: AtomicU64,
    manifests_present: AtomicU64,
    tags: AtomicU64,
    failures: AtomicU64,
}

/// Something that is done once, and asked for several times.
type Once<T> = Arc<OnceCell<Result<T, TransferError>>>;

/// Moves what is wanted from one end to the other.
pub struct Engine {
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    options: Options,
    observer: Arc<dyn Observer>,
    transfers: Semaphore,
    counts: Counts,
    /// Where in the sink a blob is known to lie.
    places: Mutex<HashMap<Digest, RepositoryName>>,
    /// Tags that wait for the end.
    waiting: Mutex<Vec<Waiting>>,
    /// Whether nothing more will go well.
    is_over: AtomicBool,
}

/// A tag that waits for the end, without the bytes of its manifest.
struct Waiting {
    from: RepositoryName,
    to: RepositoryName,
    tag: Tag,
    digest: Digest,
    media_type: String,
}

/// A repository on its way.
struct Run {
    job: Job,
    blobs: Mutex<HashMap<Digest, Once<()>>>,
    manifests: Mutex<HashMap<Digest, Once<()>>>,
    /// What refers to what came over, and is still to come.
    referrers: Mutex<Vec<Digest>>,
}

impl Engine {
    /// Between these ends.
    pub fn new(
        source: Arc<dyn Source>,
        sink: Arc<dyn Sink>,
        options: Options,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Engine {
            source,
            sink,
            transfers: Semaphore::new(options.jobs.max(1)),
            options,
            observer,
            counts: Counts::default(),
            places: Mutex::default(),
            waiting: Mutex::default(),
            is_over: AtomicBool::new(false),
        }
    }

    /// Transfers what is wanted of one repository. What fails is told and counted.
    pub async fn repository(&self, job: Job) {
        let run = Run {
            job,
            blobs: Mutex::default(),
            manifests: Mutex::default(),
            referrers: Mutex::default(),
        };
        let items = futures::stream::iter(&run.job.items);
        let done = items.map(|item| self.item(&run, item));
        done.buffer_unordered(self.options.jobs.max(1))
            .collect::<()>()
            .await;
        // What refers to a referrer is found with it.
        while let Some(digest) = next_of(&run.referrers) {
            let item = Item {
                reference: Reference::Digest(digest),
                tag: None,
            };
            self.item(&run, &item).await;
        }
    }

    /// Says that something did not come over, which a caller found out by itself.
    pub fn failed(&self, text: &str) {
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        self.observer.warn(text);
    }

    /// Sets the tags that waited, and ends: what the sink has been given is kept from then on.
    pub async fn finish(&self) -> Result<Summary, TransferError> {
        let waiting = std::mem::take(&mut *locked(&self.waiting));
        let failures = self.counts.failures.load(Ordering::Relaxed);
        if failures > 0 && !waiting.is_empty() {
            self.observer.warn(&format!(
                "no tag was set, since not everything is there: {} tags wait for it",
                waiting.len()
            ));
        } else {
            for waiting in waiting {
                let what = format!("{}:{}", waiting.to, waiting.tag);
                match self.set_waiting(&waiting).await {
                    Ok(()) => self.observer.done(&what),
                    Err(error) => self.failed(&format!("{what}: {error}")),
                }
            }
        }
        if !self.options.dry_run {
            self.sink.finish().await?;
        }
        Ok(self.summary())
    }

    /// What came of it so far.
    pub fn summary(&self) -> Summary {
        let counts = &self.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Summary {
            blobs_copied: read(&counts.blobs_copied),
            bytes_copied: read(&counts.bytes_copied),
            blobs_mounted: read(&counts.blobs_mounted),
            blobs_present: read(&counts.blobs_present),
            manifests_copied: read(&counts.manifests_copied),
            manifests_present: read(&counts.manifests_present),
            tags: read(&counts.tags),
            failures: read(&counts.failures),
        }
    }

    async fn item(&self, run: &Run, item: &Item) {
        // Each would say the same once more.
        if self.is_over.load(Ordering::Relaxed) {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let what = match (&item.tag, &item.reference) {
            (Some(tag), _) | (None, Reference::Tag(tag)) => format!("{}:{tag}", run.job.to),
            (None, Reference::Digest(digest)) => format!("{}@{digest}", run.job.to),
        };
        match self.bring(run, item).await {
            Ok(true) => self.observer.done(&what),
            Ok(false) => {}
            Err(error) => {
                if error.is_final() {
                    self.is_over.store(true, Ordering::Relaxed);
                }
                self.failed(&format!("{what}: {error}"));
            }
        }
    }

    /// Brings one thing over; false if its tag waits for the end.
    async fn bring(&self, run: &Run, item: &Item) -> Result<bool, TransferError> {
        let mut found = self.find(run, &item.reference).await?;
        if let Some(platform) = &self.options.platform {
            found = self.for_platform(run, found, platform).await?;
        }
        let place = match item.tag {
            Some(_) => Place::Part,
            None => Place::Root,
        };
        self.with_parts(run, &found, place, 0).await?;
        let Some(tag) = &item.tag else {
            return Ok(true);
        };
        if self.options.tags_last {
            locked(&self.waiting).push(Waiting {
                from: run.job.from.clone(),
                to: run.job.to.clone(),
                tag: tag.clone(),
                digest: found.digest,
                media_type: found.media_type,
            });
            return Ok(false);
        }
        self.set_tag(&run.job.to, tag, &found).await?;
        Ok(true)
    }

    async fn find(&self, run: &Run, reference: &Reference) -> Result<Found, TransferError> {
        let ask = || self.source.manifest(&run.job.from, reference);
        insist(self.options.attempts, ask).await
    }

    async fn set_waiting(&self, waiting: &Waiting) -> Result<(), TransferError> {
        let reference = Reference::Digest(waiting.digest);
        let ask = || self.source.manifest(&waiting.from, &reference);
        let mut found = insist(self.options.attempts, ask).await?;
        found.media_type.clone_from(&waiting.media_type);
        self.set_tag(&waiting.to, &waiting.tag, &found).await
    }

    async fn set_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        found: &Found,
    ) -> Result<(), TransferError> {
        if !self.options.dry_run {
            let put = || {
                self.sink
                    .put_manifest(repository, found, Place::Tagged(tag))
            };
            insist(self.options.attempts, put).await?;
        }
        self.counts.tags.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn count_blob(&self, outcome: Outcome, size: u64) {
        let counts = &self.counts;
        let count = match outcome {
            Outcome::Copied => {
                counts.bytes_copied.fetch_add(size, Ordering::Relaxed);
                &counts.blobs_copied
            }
            Outcome::Mounted => &counts.blobs_mounted,
            Outcome::Present => &counts.blobs_present,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn next_of(list: &Mutex<Vec<Digest>>) -> Option<Digest> {
    locked(list).pop()
}

/// What several share. A thread that panicked with it has left it as it was.
fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
