//! All packs of a store, and the pool of those that can be appended to.
//!
//! Each streaming request leases one pack alone, from its first byte until the committer has
//! answered for it. A lease's pack holds committed records up to `committed`; what lies behind
//! is cut away when the lease ends without a commit (ORDERING.md, O6).

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use uuid::Uuid;

use super::extent::PackId;
use super::file::{PACK_HEADER_BYTES, PackFile, file_name};
use super::pins::Pins;
use super::windows::KnownWindows;
use crate::ghostbay::disk::Disk;

/// A pack is never said to be full before this length.
const PACK_BYTES_MIN: u64 = 1 << 20;

/// How the packs of a store are laid out.
#[derive(Clone, Copy, Debug)]
pub struct PackOptions {
    /// A pack is full when its next record would end behind this; 4 GiB by default, a MiB at
    /// least.
    pub pack_bytes_max: u64,
    /// Blocks are reserved in steps of this; 64 MiB by default.
    pub reserve_bytes: u64,
    /// A pooled pack gives its reserved blocks back after this; a second by default.
    pub idle_trim: Duration,
}

impl Default for PackOptions {
    fn default() -> Self {
        PackOptions {
            pack_bytes_max: 4 << 30,
            reserve_bytes: 64 << 20,
            idle_trim: Duration::from_secs(1),
        }
    }
}

/// A pack that nobody leases.
struct Pooled {
    pack: Arc<PackFile>,
    tail: u64,
    reserved: u64,
    since: Instant,
}

/// The packs of a store. Cheap to clone.
#[derive(Clone)]
pub struct PackSpace {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    store: Uuid,
    node: u16,
    options: PackOptions,
    next: AtomicU64,
    packs: RwLock<HashMap<PackId, Arc<PackFile>>>,
    pool: Mutex<Vec<Pooled>>,
    /// Packs that are to be rewritten: nobody is lent them for appending.
    wanted: Mutex<BTreeSet<PackId>>,
    pins: Pins,
    windows: KnownWindows,
    readers: Arc<Semaphore>,
}

/// Reads that may wait for the disk at once. Each takes a thread, which keeps some memory.
const READERS_MAX: usize = 16;

impl PackSpace {
    /// A space over `directory`; `next` is the first counter that no pack has had.
    pub fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        store: Uuid,
        node: u16,
        next: u64,
        mut options: PackOptions,
    ) -> Self {
        // A pack too short for any record would be followed by another, for ever.
        options.pack_bytes_max = options.pack_bytes_max.max(PACK_BYTES_MIN);
        PackSpace {
            shared: Arc::new(Shared {
                disk,
                directory,
                store,
                node,
                options,
                next: AtomicU64::new(next),
                packs: RwLock::default(),
                pool: Mutex::default(),
                wanted: Mutex::default(),
                pins: Pins::default(),
                windows: KnownWindows::default(),
                readers: Arc::new(Semaphore::new(READERS_MAX)),
            }),
        }
    }

    /// How packs are laid out.
    pub fn options(&self) -> &PackOptions {
        &self.shared.options
    }

    /// What is being read.
    pub fn pins(&self) -> &Pins {
        &self.shared.pins
    }

    /// What is known of the windows of extents.
    pub fn known_windows(&self) -> &KnownWindows {
        &self.shared.windows
    }

    /// Who may wait for the disk to read.
    pub fn readers(&self) -> &Arc<Semaphore> {
        &self.shared.readers
    }

    /// Removes the file of a pack that no row names any more. Whoever still has it open goes on with
    /// it. Not synced: one that comes back is removed by the next start (ORDERING.md, O8).
    pub fn remove(&self, id: PackId) -> io::Result<()> {
        self.shared
            .packs
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        let path = self.shared.directory.join(file_name(id));
        match self.shared.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn pool(&self) -> MutexGuard<'_, Vec<Pooled>> {
        self.shared
            .pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a pack that recovery found back to use: its committed records end at `tail`.
    pub fn resume(&self, id: PackId, tail: u64) -> io::Result<()> {
        let pack = self.pack(id)?;
        self.pool().push(Pooled {
            pack,
            tail,
            // What a process that was killed had reserved is not known; trimming gives it back.
            reserved: tail + self.shared.options.reserve_bytes,
            since: Instant::now(),
        });
        Ok(())
    }

    /// The pack of that id, if it is open.
    pub fn open_pack(&self, id: PackId) -> Option<Arc<PackFile>> {
        let packs = self.shared.packs.read();
        packs
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    /// The pack of that id, opened when it is first asked for.
    pub fn pack(&self, id: PackId) -> io::Result<Arc<PackFile>> {
        if let Some(pack) = self.open_pack(id) {
            return Ok(pack);
        }
        let packs = &self.shared.packs;
        let opened = PackFile::open(
            &*self.shared.disk,
            &self.shared.directory,
            id,
            self.shared.store,
        )?;
        let mut packs = packs.write().unwrap_or_else(PoisonError::into_inner);
        Ok(packs.entry(id).or_insert(opened).clone())
    }

    /// Leases a pack alone: the fullest of the pool, or a new one.
    pub fn lease(&self) -> io::Result<Lease> {
        let pooled = {
            let mut pool = self.pool();
            let wanted = self.wanted();
            let fullest = (0..pool.len())
                .filter(|position| !wanted.contains(&pool[*position].pack.id))
                .max_by_key(|position| pool[*position].tail);
            fullest.map(|position| pool.swap_remove(position))
        };
        let (pack, tail, reserved) = match pooled {
            Some(pooled) => (pooled.pack, pooled.tail, pooled.reserved),
            None => (self.create()?, PACK_HEADER_BYTES, PACK_HEADER_BYTES),
        };
        Ok(self.lend(pack, tail, reserved))
    }

    /// Whether nobody leases a pack that may be appended to.
    pub fn is_pooled(&self, id: PackId) -> bool {
        self.pool().iter().any(|pooled| pooled.pack.id == id)
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<PackId>> {
        self.shared
            .wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a pack given back soon by whoever holds it for appending, and lent to nobody but
    /// [`PackSpace::take`].
    pub fn want(&self, id: PackId) {
        self.wanted().insert(id);
    }

    /// Whether a pack is to be given back.
    pub fn is_wanted(&self, id: PackId) -> bool {
        self.wanted().contains(&id)
    }

    /// Leases that very pack, if nobody does.
    pub fn take(&self, id: PackId) -> Option<Lease> {
        let pooled = {
            let mut pool = self.pool();
            let position = pool.iter().position(|pooled| pooled.pack.id == id)?;
            self.wanted().remove(&id);
            pool.swap_remove(position)
        };
        Some(self.lend(pooled.pack, pooled.tail, pooled.reserved))
    }

    fn lend(&self, pack: Arc<PackFile>, tail: u64, reserved: u64) -> Lease {
        Lease {
            space: self.clone(),
            pack,
            tail,
            committed: tail,
            reserved,
            dirty: false,
            usable: true,
        }
    }

    fn create(&self) -> io::Result<Arc<PackFile>> {
        let shared = &self.shared;
        let id = PackId::new(shared.node, shared.next.fetch_add(1, Ordering::Relaxed));
        let pack = PackFile::create(&*shared.disk, &shared.directory, id, shared.store)?;
        shared
            .packs
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, pack.clone());
        Ok(pack)
    }

    /// Gives back the blocks that idle packs have reserved behind their tails.
    pub fn trim_idle(&self) {
        self.trim(self.shared.options.idle_trim);
    }

    /// Gives back the blocks that all pooled packs have reserved.
    pub fn trim_pool(&self) {
        self.trim(Duration::ZERO);
    }

    fn trim(&self, idle_trim: Duration) {
        let mut pool = self.pool();
        for pooled in pool.iter_mut() {
            if pooled.reserved > pooled.tail && pooled.since.elapsed() >= idle_trim {
                trim(&pooled.pack, pooled.tail);
                pooled.reserved = pooled.tail;
            }
        }
    }
}

/// Gives back blocks that a pack has reserved behind its tail. They lie behind all records, so
/// the cut loses nothing.
fn trim(pack: &PackFile, tail: u64) {
    if let Err(error) = pack.file.truncate(tail) {
        tracing::warn!(pack = %pack.id, %error, "reserved space was not given back");
    }
}

/// The right to append to one pack, alone.
pub struct Lease {
    space: PackSpace,
    pack: Arc<PackFile>,
    /// Where the next record begins.
    tail: u64,
    /// Where the committed records end.
    committed: u64,
    /// Up to where blocks are reserved.
    reserved: u64,
    /// Whether bytes were written behind the committed records.
    dirty: bool,
    /// Whether the pack may be appended to again.
    usable: bool,
}

impl Lease {
    /// The pack.
    pub fn pack(&self) -> &Arc<PackFile> {
        &self.pack
    }

    /// Where the next record begins.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Moves the tail behind a record that was written.
    pub fn advance(&mut self, tail: u64) {
        debug_assert!(tail >= self.tail);
        self.tail = tail;
        self.reserved = self.reserved.max(tail);
    }

    /// Asked before each write up to `end`: sees that blocks are reserved, in steps, but never
    /// behind `known_end`, where the body is known to end.
    pub fn reserve(&mut self, end: u64, known_end: Option<u64>) -> io::Result<()> {
        self.dirty = true;
        if end <= self.reserved {
            return Ok(());
        }
        let step = end.max(self.reserved + self.space.options().reserve_bytes);
        let target = known_end.map_or(step, |known| step.min(known.max(end)));
        let file = &self.pack.file;
        match file.allocate(self.reserved, target - self.reserved) {
            Ok(()) => self.reserved = target,
            // There is no room for a whole step, but there may be for the bytes: what was got of
            // it is given back, and from here on each write takes what it needs.
            Err(_) if target > end => {
                file.truncate(file.length()?)?;
                self.reserved = u64::MAX;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Gives back what is reserved behind the tail.
    pub fn trim(&mut self) {
        if self.reserved > self.tail {
            trim(&self.pack, self.tail);
            self.reserved = self.tail;
        }
    }

    /// All records up to the tail are in the index now.
    pub fn commit(&mut self) {
        self.committed = self.tail;
        self.dirty = false;
    }

    /// Nothing will be appended to the pack any more, and nothing behind the tail is cut: it is
    /// full, its file failed, or whether its last records were committed is not known.
    pub fn retire(&mut self) {
        self.usable = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.usable {
            return;
        }
        if self.dirty {
            // Nothing in the index names what lies there. A later writer must not find remains
            // behind its own tail: a walk would take them for records.
            if let Err(error) = self.pack.file.truncate(self.committed) {
                tracing::error!(pack = %self.pack.id, %error, "a dropped body was not cut off; the pack is left alone");
                return;
            }
            self.reserved = self.committed;
        }
        self.space.pool().push(Pooled {
            pack: self.pack.clone(),
            tail: self.committed,
            reserved: self.reserved,
            since: Instant::now(),
        });
    }
}
