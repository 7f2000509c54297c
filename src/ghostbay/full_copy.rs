//! A copy of a whole store, taken while it serves, that a store can be started from.
//!
//! The index's snapshot comes first and the packs after it (ORDERING.md, O10): what it names lies
//! before the tails that it names, and is never changed or cut again. The other way round it would
//! name bytes that were written after their pack was copied. A copy without `index.redb` is not whole.
//! Only what lies behind the tails of the copy before is copied again.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::catalog::NEW_INDEX_FILE;
use super::catalog::Rows;
use super::catalog::change_log::file::{Kind, LogHeader, file_name};
use super::catalog::change_log::history::{self, History};
use super::catalog::rebuild::NewIndex;
use super::disk::{Disk, OsDisk, SyncPoint};
use super::error::StorageError;
use super::local::{EngineOptions, INDEX_FILE, LOG_DIRECTORY, PACKS_DIRECTORY};
use super::lock::LOCK_FILE;
use super::pack::PackId;
use super::pack::accounts::PACKS;
use super::pack::file::file_name as pack_name;

/// Name of the directory of keys, where there is one.
const KEYS_DIRECTORY: &str = "keys";
/// Name of the snapshot until the copy is whole.
const SNAPSHOT_FILE: &str = "snapshot";
/// Packs are copied in steps of this many bytes.
const STEP_BYTES: usize = 1 << 20;

/// A copy that is being made.
pub struct FullCopy {
    directory: PathBuf,
    /// The copy before: whose history it is, and up to where its packs are durable.
    before: Option<(LogHeader, HashMap<PackId, u64>)>,
}

/// A copy that is whole.
pub struct Copied {
    /// What it is a copy of.
    pub header: LogHeader,
    /// Bytes of packs that were copied, and not there before.
    pub pack_bytes: u64,
    /// Packs that the index names and that are not there, or end too soon.
    pub missing: Vec<PackId>,
}

/// Makes ready for a copy in `directory`, which may hold an older one. Until it is finished the
/// directory holds no whole copy.
pub fn begin(directory: &Path) -> anyhow::Result<FullCopy> {
    if OsDisk.exists(&directory.join(LOCK_FILE))? {
        anyhow::bail!(
            "{} was started as a store of its own, and is no copy any more: name another directory",
            directory.display()
        );
    }
    for name in [PACKS_DIRECTORY, LOG_DIRECTORY] {
        OsDisk.create_directory(&directory.join(name))?;
    }
    let index = directory.join(INDEX_FILE);
    let mut before = None;
    if OsDisk.exists(&index)? {
        let history = history::survey(&OsDisk, &directory.join(LOG_DIRECTORY))?;
        if let Some(checkpoint) = history.checkpoints.last() {
            before = Some((checkpoint.header, tails(&index)?));
        }
    }
    // Without it the directory is no copy that is taken for whole.
    for name in [INDEX_FILE, NEW_INDEX_FILE] {
        match OsDisk.remove(&directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    OsDisk.sync_directory(directory, SyncPoint::IndexSwap)?;
    Ok(FullCopy {
        directory: directory.to_owned(),
        before,
    })
}

/// Up to where each pack holds what the index at `path` names.
fn tails(path: &Path) -> Result<HashMap<PackId, u64>, StorageError> {
    let index = NewIndex::open(&OsDisk, path, EngineOptions::default().index_cache_bytes)?;
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

    /// Copies what the snapshot names of the store in `from`, and makes the copy whole.
    pub fn finish(self, from: &Path) -> anyhow::Result<Copied> {
        let new = self.directory.join(NEW_INDEX_FILE);
        let index = NewIndex::open(&OsDisk, &new, EngineOptions::default().index_cache_bytes)?;
        let nothing = History {
            branch: u64::MAX,
            ..History::default()
        };
        let header = index.fill(&OsDisk, &self.snapshot(), &nothing, None)?.base;
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
            header,
            pack_bytes: 0,
            missing: Vec::new(),
        };
        let packs = self.directory.join(PACKS_DIRECTORY);
        for (pack, tail) in tails(&new)? {
            let name = pack_name(pack);
            let start = known.get(&pack).copied().unwrap_or(0);
            let source = from.join(PACKS_DIRECTORY).join(&name);
            match copy_range(&source, &packs.join(&name), start, tail) {
                Ok(bytes) => copied.pack_bytes += bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => copied.missing.push(pack),
                Err(error) => return Err(error.into()),
            }
        }
        OsDisk.sync_directory(&packs, SyncPoint::PackName)?;
        copy_keys(
            &from.join(KEYS_DIRECTORY),
            &self.directory.join(KEYS_DIRECTORY),
        )?;

        // The copy's log begins with the snapshot.
        let log = self.directory.join(LOG_DIRECTORY);
        let older = OsDisk.list(&log)?;
        let checkpoint = file_name(Kind::Checkpoint, header.sequence);
        OsDisk.rename(&self.snapshot(), &log.join(&checkpoint))?;
        for name in older.iter().filter(|name| **name != checkpoint) {
            OsDisk.remove(&log.join(name))?;
        }
        OsDisk.sync_directory(&log, SyncPoint::CheckpointName)?;
        OsDisk.rename(&new, &self.directory.join(INDEX_FILE))?;
        OsDisk.sync_directory(&self.directory, SyncPoint::IndexSwap)?;
        Ok(copied)
    }
}

/// Copies the bytes from `start` to `end`, or to the source's end, and makes them durable.
fn copy_range(source: &Path, target: &Path, start: u64, end: u64) -> io::Result<u64> {
    let source = OsDisk.open(source)?;
    let target = match OsDisk.exists(target)? {
        true => OsDisk.open(target)?,
        false => OsDisk.create(target)?,
    };
    let first = start.min(end).min(target.length()?);
    let mut offset = first;
    while offset < end {
        let mut bytes = Vec::new();
        let step = STEP_BYTES.min((end - offset) as usize);
        source.read_at(&mut bytes, offset, step)?;
        if bytes.is_empty() {
            // The room that is kept for the longest trailer need not be there.
            break;
        }
        target.write_at(&bytes, offset)?;
        target.start_writeback(offset, bytes.len() as u64);
        offset += bytes.len() as u64;
    }
    target.truncate(offset)?;
    target.sync_data(SyncPoint::Bodies)?;
    Ok(offset - first)
}

/// Copies keys and secrets, which only their owner may read.
fn copy_keys(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if !from.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let target = to.join(entry.file_name());
            std::fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}
