//! An index takes another's place in a stopped store, and the store's history goes on behind it,
//! or begins anew (ORDERING.md, O9).

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::NEW_INDEX_FILE;
use super::catalog::change_log::file::{Kind, parse_file_name};
use super::catalog::change_log::{LogPlace, checkpoint, history, state};
use super::catalog::rebuild::NewIndex;
use super::catalog::schema;
use super::clock::now_ms;
use super::disk::{Disk, SyncPoint};
use super::error::StorageError;
use super::local::{
    EngineOptions, INDEX_FILE, LOG_DIRECTORY, OFFLINE_CACHE_BYTES, PACKS_DIRECTORY,
};
use super::pack::accounts::PACKS;
use super::pack::file::parse_file_name as parse_pack_name;
use super::pack::freed;

/// What follows the name of a file of the log that a restore has undone; the time comes behind it.
const UNDONE_INFIX: &str = ".undone-";
/// Packs that hold what the new index does not know stay for so long, in milliseconds: a week, to
/// find out that the wrong backup was restored.
const UNKNOWN_KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// What follows the name of a checkpoint that is damaged.
const DAMAGED_SUFFIX: &str = ".damaged";

/// A stopped store that is getting a new index. Dropped before it is done, it leaves all as it was.
pub struct Replacement {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The data directory.
    pub directory: PathBuf,
    index: Option<NewIndex>,
    _lock: Box<dyn Any + Send + Sync>,
}

/// What was moved aside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Aside {
    /// The index that was there.
    pub index: Option<PathBuf>,
    /// Files of the log that are no part of the store's history any more.
    pub log: Vec<PathBuf>,
}

/// How the store's history goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Future {
    /// Behind the log that is there; these checkpoints of it are damaged.
    GoesOn {
        /// They are moved aside.
        damaged: Vec<PathBuf>,
    },
    /// With a new branch: what the log holds beyond the index was undone, or is lost.
    BeginsAnew,
}

/// An error of the file at `path`, as a `StorageError`.
pub fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_owned();
    move |source| StorageError::File { what, path, source }
}

impl Replacement {
    /// Takes hold of the stopped store in `directory` and makes an empty index beside its own.
    pub fn begin(disk: Arc<dyn Disk>, directory: &Path) -> Result<Self, StorageError> {
        let lock = disk.lock(directory)?;
        for name in [PACKS_DIRECTORY, LOG_DIRECTORY] {
            let path = directory.join(name);
            disk.create_directory(&path)
                .map_err(failed("cannot make the directory", &path))?;
        }
        let mut replacement = Replacement {
            disk,
            directory: directory.to_owned(),
            index: None,
            _lock: lock,
        };
        replacement.remove_new()?;
        replacement.index = Some(NewIndex::open(
            &*replacement.disk,
            &replacement.directory.join(NEW_INDEX_FILE),
            OFFLINE_CACHE_BYTES,
        )?);
        Ok(replacement)
    }

    /// The index that is being made.
    ///
    /// # Panics
    ///
    /// Never: there is one until `self` is used up.
    pub fn index(&self) -> &NewIndex {
        match &self.index {
            Some(index) => index,
            None => unreachable!("the index lives as long as the replacement"),
        }
    }

    /// The directory of the log.
    pub fn log(&self) -> PathBuf {
        self.directory.join(LOG_DIRECTORY)
    }

    /// The directory of the packs.
    pub fn packs(&self) -> PathBuf {
        self.directory.join(PACKS_DIRECTORY)
    }

    fn remove_new(&self) -> Result<(), StorageError> {
        let path = self.directory.join(NEW_INDEX_FILE);
        match self.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("cannot remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Every pack that is there, with its file's length in bytes.
    pub fn pack_lengths(&self) -> Result<Vec<(super::pack::PackId, u64)>, StorageError> {
        let packs = self.packs();
        let names = self
            .disk
            .list(&packs)
            .map_err(failed("cannot look at", &packs))?;
        let mut found = Vec::new();
        for id in names.iter().filter_map(|name| parse_pack_name(name)) {
            let path = packs.join(super::pack::file::file_name(id));
            let length = self
                .disk
                .open(&path)
                .and_then(|file| file.length())
                .map_err(failed("cannot look at", &path))?;
            found.push((id, length));
        }
        Ok(found)
    }

    /// Puts the new index in the old one's place. The old one is kept aside.
    ///
    /// The new index may know less than was acknowledged, so no pack is cut and none removed: all
    /// that are there are sealed as long as they are, and those that it does not know to their ends
    /// stay for a week.
    pub fn finish(mut self, future: &Future) -> Result<Aside, StorageError> {
        let log = self.log();
        let surveyed = history::survey(&*self.disk, &log).map_err(failed("cannot read", &log))?;
        let packs = self.pack_lengths()?;
        let anew = *future == Future::BeginsAnew;
        let now = now_ms();
        self.index().write(|transaction| {
            for (pack, length) in packs {
                let mut row =
                    super::catalog::Rows::get(transaction, &PACKS, &pack)?.unwrap_or_default();
                if row.tail < length {
                    freed::keep_pack(transaction, pack, now + UNKNOWN_KEPT_MS)?;
                }
                row.tail = row.tail.max(length);
                row.sealed = true;
                transaction.put(&PACKS, &pack, &row)?;
            }
            let mut sequence = schema::sequence(transaction)? + 1;
            if anew {
                // Later than any before, and no name of a file is used again.
                let branch = schema::branch(transaction)?.max(surveyed.branch);
                schema::set_branch(transaction, now.max(branch + 1))?;
                sequence = sequence.max(surveyed.sequence_max + 1);
            }
            schema::set_sequence(transaction, sequence)
        })?;
        let state = self.index().read()?;
        let place = LogPlace {
            disk: self.disk.clone(),
            directory: log.clone(),
            index: self.directory.join(INDEX_FILE),
            store: schema::store_id(&state)?,
            schema: schema::version(&state)?,
            branch: schema::branch(&state)?,
            checkpoint_bytes: None,
            keep: EngineOptions::default().keep,
        };
        let sequence = schema::sequence(&state)?;

        let mut aside = Aside {
            index: self.move_index_aside(now)?,
            log: Vec::new(),
        };
        // From here until the end there is no index: a start is refused, and doing all of this
        // again leads to the same.
        //
        // The log has no line for what was changed here. With this checkpoint it needs none: what
        // is acknowledged next comes back, should the index be lost again. It is durable before
        // any older file goes: the newest branch is the one that counts.
        let older = self
            .disk
            .list(&log)
            .map_err(failed("cannot look at", &log))?;
        let header = place.header(Kind::Checkpoint, sequence, now);
        checkpoint::write(&place, sequence, |out| state::write(header, &state, out))
            .map_err(failed("cannot write a checkpoint to", &log))?;
        match future {
            Future::GoesOn { damaged } => {
                for path in damaged {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    let to = log.join(format!("{name}{DAMAGED_SUFFIX}"));
                    self.disk
                        .rename(path, &to)
                        .map_err(failed("cannot move aside", path))?;
                    aside.log.push(to);
                }
            }
            Future::BeginsAnew => {
                for name in older.iter().filter(|name| parse_file_name(name).is_some()) {
                    let (from, to) = (
                        log.join(name),
                        log.join(format!("{name}{UNDONE_INFIX}{now}")),
                    );
                    self.disk
                        .rename(&from, &to)
                        .map_err(failed("cannot move aside", &from))?;
                    aside.log.push(to);
                }
            }
        }
        self.disk
            .sync_directory(&log, SyncPoint::IndexSwap)
            .map_err(failed("cannot sync", &log))?;

        drop(state);
        self.index = None;
        let new = self.directory.join(NEW_INDEX_FILE);
        self.disk
            .rename(&new, &place.index)
            .map_err(failed("cannot put in place", &place.index))?;
        self.disk
            .sync_directory(&self.directory, SyncPoint::IndexSwap)
            .map_err(failed("cannot sync", &self.directory))?;
        Ok(aside)
    }

    fn move_index_aside(&self, now: u64) -> Result<Option<PathBuf>, StorageError> {
        let index = self.directory.join(INDEX_FILE);
        let found = self
            .disk
            .exists(&index)
            .map_err(failed("cannot look at", &index))?;
        if !found {
            return Ok(None);
        }
        let aside = self.directory.join(format!("{INDEX_FILE}.replaced-{now}"));
        self.disk
            .rename(&index, &aside)
            .map_err(failed("cannot move aside", &index))?;
        self.disk
            .sync_directory(&self.directory, SyncPoint::IndexSwap)
            .map_err(failed("cannot sync", &self.directory))?;
        Ok(Some(aside))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if self.index.take().is_some()
            && let Err(error) = self.remove_new()
        {
            tracing::warn!(%error, "a half-made index was not removed; the next attempt removes it");
        }
    }
}
