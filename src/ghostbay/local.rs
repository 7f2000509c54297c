//! A store in a directory: packs and catalog, opened, kept and closed.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admin::StatusSeen;
use super::blocking::blocking;
use super::catalog::change_log::{ChangeLog, LogPlace, LogVerifier};
use super::catalog::{Catalog, IndexPlace, OpenCatalog, schema};
use super::check::CheckedStore;
use super::check::store::RunningParts;
use super::clock::now_ms;
use super::compact::Compactor;
use super::disk::{Disk, OsDisk, Room, SyncPoint};
use super::error::StorageError;
use super::figures::{Figures, Syncs};
use super::ingest::Ingest;
use super::pack::pins::Hold;
use super::pack::small::SharedPack;
use super::pack::{PackOptions, PackSpace};
use super::pauses::Pauses;
use super::reclaim::Reclaimer;
use super::room::{Gauge, MinFree};
use super::timed_disk::TimedDisk;
use super::uploads::Uploads;
use super::{compact_index, recovery};

/// Name of the index's file.
pub const INDEX_FILE: &str = "index.redb";
/// Name of the directory of packs.
pub const PACKS_DIRECTORY: &str = "packs";
/// Name of the directory of the change log.
pub const LOG_DIRECTORY: &str = "log";
/// Name of the file that a readiness check writes.
const PROBE_FILE: &str = "ready.probe";
/// A readiness check's answer holds for so long, so that asking often costs little.
const READY_HELD: Duration = Duration::from_secs(1);
/// How often what has become old is looked at.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// Memory for the pages of an index that a command has to itself, in bytes.
pub const OFFLINE_CACHE_BYTES: usize = 128 << 20;

/// How a store is kept.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Buckets in which keys below `blobs/` are digests of their content.
    pub addressed_buckets: Vec<String>,
    /// How packs are laid out.
    pub packs: PackOptions,
    /// Memory for the index's pages, in bytes.
    pub index_cache_bytes: usize,
    /// The change log takes a checkpoint when it has grown to this, in bytes; `None`: to the
    /// length of the index.
    pub checkpoint_bytes: Option<u64>,
    /// For how long the store keeps what a backup needs to be brought to a later moment: changes in
    /// the log, and the bytes of what was deleted since; 48 hours by default.
    pub keep: Duration,
    /// Room on the disk that pushes leave alone; none by default.
    pub min_free: MinFree,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            addressed_buckets: vec!["drift-registry".to_owned()],
            packs: PackOptions::default(),
            index_cache_bytes: 32 << 20,
            checkpoint_bytes: None,
            keep: Duration::from_secs(48 * 60 * 60),
            min_free: MinFree::Bytes(0),
        }
    }
}

/// An object store in a directory of this machine. Cheap to clone.
#[derive(Clone)]
pub struct LocalStorageEngine {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    disk: Arc<dyn Disk>,
    pub(super) figures: Figures,
    /// What it last said of itself.
    pub(super) status: StatusSeen,
    directory: PathBuf,
    options: EngineOptions,
    catalog: Catalog,
    space: PackSpace,
    ingest: Ingest,
    uploads: Uploads,
    reclaimer: Reclaimer,
    pub(super) compactor: Compactor,
    pub(super) pauses: Pauses,
    ready: tokio::sync::Mutex<Option<Instant>>,
    stop: CancellationToken,
    /// By which a check closes a gap of the change log.
    log: LogVerifier,
    /// What works beside the requests, until `stop` at the latest.
    tasks: TaskTracker,
    /// Let go last: whoever comes next finds everything closed.
    _lock: Box<dyn Any + Send + Sync>,
}

impl LocalStorageEngine {
    /// Opens the store in `directory`, or makes one there, with default options.
    pub async fn new(directory: impl AsRef<Path>) -> anyhow::Result<Self> {
        Ok(Self::open(directory, EngineOptions::default()).await?)
    }

    /// Opens the store in `directory`, or makes one there.
    pub async fn open(
        directory: impl AsRef<Path>,
        options: EngineOptions,
    ) -> Result<Self, StorageError> {
        Self::open_on(Arc::new(OsDisk), directory, options).await
    }

    /// As [`LocalStorageEngine::open`], on a disk of the caller's: everything that the store
    /// reads and writes goes through it.
    pub async fn open_on(
        disk: Arc<dyn Disk>,
        directory: impl AsRef<Path>,
        options: EngineOptions,
    ) -> Result<Self, StorageError> {
        let directory = directory.as_ref().to_owned();
        let (shared, begun_anew) = blocking(move || open(disk, directory, options)).await?;
        let shared = Arc::new(shared);
        let (store, stop) = (Arc::downgrade(&shared), shared.stop.clone());
        shared.tasks.spawn(keep_house(store.clone(), stop.clone()));
        // Reading the log takes as long as it is long; nothing waits for it, and it does not
        // keep the store open.
        if !begun_anew {
            let verifier = shared.log.clone();
            shared.tasks.spawn_blocking(move || {
                if verifier.reaches(&stop) == Some(false)
                    && let Some(store) = store.upgrade()
                {
                    verifier.close_gap(&store.catalog);
                }
            });
        }
        Ok(LocalStorageEngine { shared })
    }

    /// The directory that the store lies in.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// The index.
    pub fn catalog(&self) -> &Catalog {
        &self.shared.catalog
    }

    /// The log of the catalog's changes.
    pub(super) fn log(&self) -> &LogVerifier {
        &self.shared.log
    }

    /// Upload sessions.
    pub fn uploads(&self) -> &Uploads {
        &self.shared.uploads
    }

    pub(super) fn ingest(&self) -> &Ingest {
        &self.shared.ingest
    }

    /// Who gives space back.
    pub fn reclaimer(&self) -> &Reclaimer {
        &self.shared.reclaimer
    }

    /// Refuses what would take room while there is less than is to be left alone.
    pub fn check_room(&self) -> Result<(), StorageError> {
        self.shared.ingest.gauge.check()
    }

    /// Whether there is too little room: what was deleted is then given back whatever a backup may
    /// need of it.
    pub fn pressure(&self) -> bool {
        self.shared.ingest.gauge.is_low()
    }

    /// The room on its disk; `None` where the system does not say.
    pub(super) fn room(&self) -> Option<Room> {
        self.shared.ingest.gauge.room()
    }

    /// How many bytes the disk lacks of the room that is to be left alone.
    pub fn shortage(&self) -> u64 {
        match self.check_room() {
            Err(StorageError::Full { available, minimum }) => minimum.saturating_sub(available),
            _ => 0,
        }
    }

    /// Cancelled when the store is closed.
    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.shared.stop
    }

    /// Whether the store was closed, or is being closed.
    pub fn is_closed(&self) -> bool {
        self.shared.stop.is_cancelled()
    }

    /// Keeps every byte that a snapshot names which is taken from here on, until what is given back
    /// is dropped.
    pub fn hold(&self) -> Hold {
        self.shared.space.pins().hold()
    }

    /// For how long freed extents stay.
    pub fn keep(&self) -> Duration {
        self.shared.options.keep
    }

    /// What is waited for when the store is closed.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.shared.tasks
    }

    /// The store as a check sees it.
    pub fn to_check(&self) -> Result<CheckedStore, StorageError> {
        let shared = &self.shared;
        let parts = RunningParts {
            space: shared.space.clone(),
            disk: shared.disk.clone(),
            directory: shared.directory.clone(),
            addressed_buckets: shared.options.addressed_buckets.clone(),
        };
        CheckedStore::running(parts, shared.catalog.clone(), shared.log.clone())
    }

    /// Whether keys below `blobs/` of that bucket are digests.
    pub(super) fn is_addressed(&self, bucket: &str) -> bool {
        self.shared
            .options
            .addressed_buckets
            .iter()
            .any(|addressed| addressed == bucket)
    }

    /// Whether the store can read its index and write to its disk. The answer holds for a second.
    pub async fn ready(&self) -> Result<(), StorageError> {
        let mut checked = self.shared.ready.lock().await;
        if checked.is_some_and(|at| at.elapsed() < READY_HELD) {
            return Ok(());
        }
        *checked = None;
        let shared = self.shared.clone();
        blocking(move || {
            schema::store_id(&shared.catalog.read()?)?;
            shared.catalog.writable()?;
            probe(&*shared.disk, &shared.directory)
        })
        .await?;
        *checked = Some(Instant::now());
        Ok(())
    }

    /// Commits what is queued and refuses whatever comes later. Reads go on. When the last clone
    /// is dropped behind it, the directory is free for the next owner.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        let shared = self.shared.clone();
        let closed = tokio::task::spawn_blocking(move || shared.close()).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the store was not closed well");
        }
    }
}

impl Shared {
    fn close(&self) {
        self.catalog.close();
        self.space.trim_pool();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
        // The committer holds the index open; the lock must not be let go before it.
        self.close();
    }
}

/// Writes and syncs a small file, as a push would, and removes it: one that stayed would have
/// room on a disk that has none for anything else.
fn probe(disk: &dyn Disk, directory: &Path) -> Result<(), StorageError> {
    let path = directory.join(PROBE_FILE);
    disk.exists(&path)
        .and_then(|exists| match exists {
            true => disk.open(&path),
            false => disk.create(&path),
        })
        .and_then(|file| {
            file.truncate(0)?;
            file.write_at(b"ready\n", 0)?;
            file.sync_data(SyncPoint::Probe)
        })
        .and_then(|()| disk.remove(&path))
        .map_err(|source| StorageError::File {
            what: "cannot write",
            path,
            source,
        })
}

/// The store, and whether its log begins anew and so reaches the index for certain.
fn open(
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    options: EngineOptions,
) -> Result<(Shared, bool), StorageError> {
    let file_error = |what: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| StorageError::File { what, path, source }
    };
    let syncs = Arc::<Syncs>::default();
    let disk: Arc<dyn Disk> = Arc::new(TimedDisk::new(disk, syncs.clone()));
    let packs = directory.join(PACKS_DIRECTORY);
    let log = directory.join(LOG_DIRECTORY);
    for directory in [&packs, &log] {
        disk.create_directory(directory)
            .map_err(file_error("cannot make the directory", directory))?;
    }
    let lock = disk.lock(&directory)?;
    let index = directory.join(INDEX_FILE);
    refuse_remains_without_index(&*disk, &index, [&packs, &log])?;
    let place = IndexPlace {
        disk: disk.clone(),
        path: index.clone(),
        cache_bytes: options.index_cache_bytes,
    };
    compact_index::at_start(&place, &log)?;
    let catalog = OpenCatalog::open(place, crate::migrations::STEPS)?;
    sync_names(&*disk, &directory)?;

    let rows = catalog.read()?;
    let (store, node) = (schema::store_id(&rows)?, schema::node(&rows)?);
    let (schema, branch) = (schema::version(&rows)?, schema::branch(&rows)?);
    let plan = recovery::plan(&*disk, &packs, &rows, node)?;
    drop(rows);
    let space = PackSpace::new(
        disk.clone(),
        packs.clone(),
        store,
        node,
        plan.next,
        options.packs,
    );
    recovery::apply(&plan, &*disk, &packs, &space, store)
        .map_err(file_error("cannot recover", &packs))?;

    let sequence = catalog.sequence();
    let place = LogPlace {
        disk: disk.clone(),
        directory: log,
        index,
        store,
        schema,
        checkpoint_bytes: options.checkpoint_bytes,
        branch,
        keep: options.keep,
    };
    let mut log = ChangeLog::open(place, sequence)?;
    let begun_anew = catalog.migrated();
    if begun_anew {
        log.begin_anew(sequence, &catalog.reader())?;
    }
    let verifier = log.verifier(sequence);
    let bodies = SharedPack::new(space.clone());
    let catalog = catalog
        .start(Box::new(bodies), Box::new(log))
        .map_err(file_error("cannot start the committer of", &directory))?;
    let gauge = Gauge::new(disk.clone(), directory.clone(), options.min_free);
    let ingest = Ingest::new(catalog.clone(), space.clone(), gauge);
    let pauses = Pauses::of(catalog.clone())?;
    let shared = Shared {
        disk,
        figures: Figures::of(&catalog, &space, syncs),
        status: StatusSeen::default(),
        uploads: Uploads::new(ingest.clone()),
        reclaimer: Reclaimer::new(catalog.clone(), space.clone(), verifier.clone()),
        compactor: Compactor::new(&catalog, &space, &ingest.gauge, &pauses),
        pauses,
        directory,
        options,
        catalog,
        space,
        ingest,
        ready: tokio::sync::Mutex::default(),
        stop: CancellationToken::new(),
        log: verifier,
        tasks: TaskTracker::new(),
        _lock: lock,
    };
    Ok((shared, begun_anew))
}

/// Makes the names of what lies in a store's directory durable, its own, and those of the directories
/// above it, which may have been made along with it, before anything that is acknowledged lies there
/// (ORDERING.md, O5).
pub(super) fn sync_names(disk: &dyn Disk, directory: &Path) -> Result<(), StorageError> {
    for (above, mut ancestor) in directory.ancestors().enumerate() {
        // A name of one part lies in the working directory.
        if ancestor.as_os_str().is_empty() {
            ancestor = Path::new(".");
        }
        match disk.sync_directory(ancestor, SyncPoint::StoreNames) {
            // Who may not look into a directory has hardly made a name in it.
            Err(error) if above > 1 && error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(source) => {
                return Err(StorageError::File {
                    what: "cannot sync",
                    path: ancestor.to_owned(),
                    source,
                });
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// A missing index beside packs or a log is a lost index, not a new store: to begin anew would
/// remove all that the packs hold, and mix two stores' logs.
fn refuse_remains_without_index(
    disk: &dyn Disk,
    index: &Path,
    remains: [&Path; 2],
) -> Result<(), StorageError> {
    let found = disk.exists(index).map_err(|source| StorageError::File {
        what: "cannot look at",
        path: index.to_owned(),
        source,
    })?;
    if found {
        return Ok(());
    }
    for directory in remains {
        let names = disk.list(directory).map_err(|source| StorageError::File {
            what: "cannot look at",
            path: directory.to_owned(),
            source,
        })?;
        if !names.is_empty() {
            return Err(StorageError::File {
                what: "the index is missing although there are packs or a change log; `drift rebuild` makes it again of the log, or move both away to begin anew:",
                path: index.to_owned(),
                source: std::io::ErrorKind::NotFound.into(),
            });
        }
    }
    Ok(())
}

/// Gives reserved space back and forgets what is old, until told to stop.
async fn keep_house(store: Weak<Shared>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Some(store) = store.upgrade() else {
            return;
        };
        let space = store.space.clone();
        let trimmed = blocking(move || {
            space.trim_idle();
            Ok::<_, StorageError>(())
        });
        if let Err(error) = trimmed.await {
            tracing::error!(%error, "trimming packs failed");
        }
        if let Err(error) = store.uploads.forget_finished(now_ms()).await {
            tracing::warn!(%error, "finished uploads were not forgotten");
        }
    }
}
