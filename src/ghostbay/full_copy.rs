//! A copy of a whole store, taken while it serves, that a store can be started from.
//!
//! The index's snapshot comes first and the packs after it (ORDERING.md, O10): what it names lies
//! before the tails that it names, and is never changed or cut again; nor is it given back, for whoever
//! takes a copy holds the packs from before the snapshot to the end (O11). The other way round it would
//! name bytes that were written after their pack was copied. A copy without `index.redb` is not whole.
//! Only what lies behind the tails of the copy before is copied again.

use std::any::Any;
use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::NEW_INDEX_FILE;
use super::catalog::Rows;
use super::catalog::change_log::file::{Kind, LogHeader, file_name};
use super::catalog::change_log::history::{self, History};
use super::catalog::change_log::state::Contents;
use super::catalog::rebuild::NewIndex;
use super::disk::{Disk, OsDisk, SyncPoint};
use super::error::StorageError;
use super::local::{INDEX_FILE, LOG_DIRECTORY, OFFLINE_CACHE_BYTES, PACKS_DIRECTORY, sync_names};
use super::pack::PackId;
use super::pack::accounts::PACKS;
use super::pack::file::{file_name as pack_name, parse_file_name as parse_pack_name};
use super::restore::each_missing;

/// Name of the directory of keys and secrets, where there is one.
pub const KEYS_DIRECTORY: &str = "keys";
/// Name of the snapshot until the copy is whole.
const SNAPSHOT_FILE: &str = "snapshot";
/// Packs are copied in steps of this many bytes.
const STEP_BYTES: usize = 1 << 20;

/// A copy that is being made.
pub struct FullCopy {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// The copy before: whose history it is, and up to where its packs are durable.
    before: Option<(LogHeader, HashMap<PackId, u64>)>,
    _lock: Box<dyn Any + Send + Sync>,
}

/// A copy that is whole.
pub struct Copied {
    /// What it is a copy of.
    pub contents: Contents,
    /// Bytes of packs that were copied, and not there before.
    pub pack_bytes: u64,
    /// Packs that the index names and that are not there.
    pub missing: Vec<PackId>,
    /// Objects whose bytes neither the store's packs nor the copy's hold, and that are not known to
    /// be damaged.
    pub incomplete: u64,
}

/// Makes ready for a copy in `directory`, which may hold an older one. Until it is finished the
/// directory holds no whole copy.
pub fn begin(directory: &Path) -> anyhow::Result<FullCopy> {
    begin_on(Arc::new(OsDisk), directory)
}

/// As [`begin`], on that disk.
pub fn begin_on(disk: Arc<dyn Disk>, directory: &Path) -> anyhow::Result<FullCopy> {
    let log = directory.join(LOG_DIRECTORY);
    for made in [&directory.join(PACKS_DIRECTORY), &log] {
        disk.create_directory(made)?;
    }
    sync_names(&*disk, directory)?;
    let lock = disk.lock(directory)?;
    let history = history::survey(&*disk, &log)?;
    // Each start begins a file of changes, and a copy has none.
    if !history.changes.is_empty() {
        anyhow::bail!(
            "{} was started as a store of its own, and is no copy any more: name another directory",
            directory.display()
        );
    }
    let index = directory.join(INDEX_FILE);
    let mut before = None;
    if disk.exists(&index)?
        && let Some(checkpoint) = history.checkpoints.last()
    {
        let tails = tails(&*disk, &index).unwrap_or_else(|error| {
            tracing::warn!("the copy's index cannot be read, all packs are copied again: {error}");
            HashMap::new()
        });
        before = Some((checkpoint.header, tails));
    }
    // Without it the directory is no copy that is taken for whole.
    for name in [INDEX_FILE, NEW_INDEX_FILE] {
        match disk.remove(&directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    disk.sync_directory(directory, SyncPoint::IndexSwap)?;
    Ok(FullCopy {
        disk,
        directory: directory.to_owned(),
        before,
        _lock: lock,
    })
}

/// Up to where each pack holds what the index at `path` names.
fn tails(disk: &dyn Disk, path: &Path) -> Result<HashMap<PackId, u64>, StorageError> {
    let index = NewIndex::open(disk, path, OFFLINE_CACHE_BYTES)?;
    let state = index.read()?;
    let rows = state.scan(&PACKS, &[], None)?;
    let tails = rows.map(|row| row.map(|(pack, row)| (pack, row.tail)));
    Ok(tails.collect::<Result<_, _>>()?)
}

impl FullCopy {
    /// Where the backup of the index is to be put before [`FullCopy::finish`].
    pub fn snapshot(&self) -> PathBuf {
        self.directory.join(SNAPSHOT_FILE)
    }

    /// Copies what the snapshot names of the store in `from`, and makes the copy whole. `tell` is told how many
    /// bytes of how many are done.
    pub fn finish(self, from: &Path, tell: &mut dyn FnMut(u64, u64)) -> anyhow::Result<Copied> {
        let disk = &*self.disk;
        let new = self.directory.join(NEW_INDEX_FILE);
        let index = NewIndex::open(disk, &new, OFFLINE_CACHE_BYTES)?;
        let nothing = History {
            branch: u64::MAX,
            ..History::default()
        };
        let contents = index
            .fill(disk, &self.snapshot(), &nothing, None, &mut |_, _| {})?
            .base;
        let header = contents.header;
        drop(index);
        let known = match &self.before {
            Some((before, _)) if before.store != header.store => anyhow::bail!(
                "{} holds a copy of store {}, this is store {}",
                self.directory.display(),
                before.store,
                header.store
            ),
            // After a restore a pack may hold something else than the one of that name did.
            Some((before, tails)) if before.branch == header.branch => tails.clone(),
            _ => HashMap::new(),
        };
        let mut copied = Copied {
            contents,
            pack_bytes: 0,
            missing: Vec::new(),
            incomplete: 0,
        };
        let mut lengths = HashMap::new();
        let packs = self.directory.join(PACKS_DIRECTORY);
        let named = tails(disk, &new)?;
        let start_of = |pack| known.get(&pack).copied().unwrap_or(0);
        let total = named
            .iter()
            .map(|(&pack, &tail)| tail.saturating_sub(start_of(pack)))
            .sum();
        let mut done = 0;
        for (&pack, &tail) in &named {
            let name = pack_name(pack);
            let start = start_of(pack);
            let source = from.join(PACKS_DIRECTORY).join(&name);
            let target = packs.join(&name);
            let mut step = |bytes| {
                done += bytes;
                tell(done, total);
            };
            match copy_range(disk, &source, &target, start..tail, &mut step) {
                Ok(range) => {
                    copied.pack_bytes += range.end - range.start;
                    lengths.insert(pack, range.end);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => copied.missing.push(pack),
                Err(error) => return Err(error.into()),
            }
        }
        // Those that the snapshot does not name were compacted away since the copy before.
        for name in disk.list(&packs)? {
            if parse_pack_name(&name).is_some_and(|pack| !named.contains_key(&pack)) {
                disk.remove(&packs.join(name))?;
            }
        }
        disk.sync_directory(&packs, SyncPoint::PackName)?;
        let index = NewIndex::open(disk, &new, OFFLINE_CACHE_BYTES)?;
        each_missing(&index.read()?, &lengths, |_, _| copied.incomplete += 1)?;
        drop(index);
        copy_keys(
            &from.join(KEYS_DIRECTORY),
            &self.directory.join(KEYS_DIRECTORY),
        )?;

        // The copy's log begins with the snapshot.
        let log = self.directory.join(LOG_DIRECTORY);
        let older = disk.list(&log)?;
        let checkpoint = file_name(Kind::Checkpoint, header.sequence);
        disk.rename(&self.snapshot(), &log.join(&checkpoint))?;
        for name in older.iter().filter(|name| **name != checkpoint) {
            disk.remove(&log.join(name))?;
        }
        disk.sync_directory(&log, SyncPoint::CheckpointName)?;
        disk.rename(&new, &self.directory.join(INDEX_FILE))?;
        disk.sync_directory(&self.directory, SyncPoint::IndexSwap)?;
        Ok(copied)
    }
}

/// Copies the bytes of `range`, or those up to the source's end, and makes them durable. Which
/// were copied: up to their end the target holds everything.
fn copy_range(
    disk: &dyn Disk,
    source: &Path,
    target: &Path,
    range: Range<u64>,
    step_done: &mut dyn FnMut(u64),
) -> io::Result<Range<u64>> {
    let Range { start, end } = range;
    let source = disk.open(source)?;
    let target = match disk.exists(target)? {
        true => disk.open(target)?,
        false => disk.create(target)?,
    };
    let first = start.min(end).min(target.length()?);
    // What a copy that broke off left behind must not lie where the source has a hole.
    target.truncate(first)?;
    let mut offset = first;
    while offset < end {
        let mut bytes = Vec::new();
        let step = STEP_BYTES.min((end - offset) as usize);
        source.read_at(&mut bytes, offset, step)?;
        if bytes.is_empty() {
            // The room that is kept for the longest trailer need not be there.
            break;
        }
        // The holes of what was deleted stay holes.
        if bytes.iter().any(|byte| *byte != 0) {
            target.write_at(&bytes, offset)?;
            target.start_writeback(offset, bytes.len() as u64);
        }
        offset += bytes.len() as u64;
        step_done(bytes.len() as u64);
    }
    target.truncate(offset)?;
    target.sync_data(SyncPoint::Bodies)?;
    Ok(first..offset)
}

/// Copies keys and secrets, which only their owner may read. One that is there no more goes from the
/// copy as well.
fn copy_keys(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(to)? {
        std::fs::remove_file(entry?.path())?;
    }
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let target = to.join(entry.file_name());
            std::fs::copy(entry.path(), &target)?;
            std::fs::set_permissions(&target, Permissions::from_mode(0o600))?;
            File::open(&target)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}
