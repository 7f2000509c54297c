//! Backups of the index on a schedule: taken by the running server, the oldest removed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::background;
use super::backup_file::{BackupFile, UNFINISHED_SUFFIX};
use super::clock::now_ms;
use super::local::LocalStorageEngine;
use crate::spans::{self, job};

/// What the names of scheduled backups begin with; the time in milliseconds since 1970 follows.
const NAME_PREFIX: &str = "drift-";
/// What they end with.
const NAME_SUFFIX: &str = ".backup";
/// A backup that failed is tried again after this, or after `every` if that is shorter.
const AGAIN: Duration = Duration::from_secs(60);

/// When and where backups are taken.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Between one and the next.
    pub every: Duration,
    /// The directory that they go to; made if it is not there.
    pub to: PathBuf,
    /// How many of them stay.
    pub keep: usize,
}

impl Schedule {
    /// Takes backups until told to stop. The first is due `every` after the newest that is there.
    pub async fn run(self, storage: LocalStorageEngine, stop: CancellationToken) {
        let figures = storage.figures().backups.clone();
        figures.last_ms.set(self.newest().unwrap_or(0));
        figures.every_ms.set(self.every.as_millis() as u64);
        let name = self.to.file_name().unwrap_or(self.to.as_os_str());
        figures
            .to
            .get_or_init(|| name.to_string_lossy().into_owned());
        let mut wait = self.until_due();
        loop {
            figures.next_ms.set(now_ms() + wait.as_millis() as u64);
            tokio::select! {
                () = stop.cancelled() => return,
                () = figures.asked.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            let job = job!("backup");
            let (schedule, store, cancel) = (self.clone(), storage.clone(), figures.begin(&stop));
            let cancelled = cancel.clone();
            let taken = background::run("backup", move || schedule.take(&store, &cancel)).await;
            figures.began_ms.set(0);
            wait = match taken.map_err(anyhow::Error::from).flatten() {
                Ok(path) => {
                    figures.taken.add(1);
                    figures.last_ms.set(now_ms());
                    tracing::info!(backup = %path.display(), "took a backup of the index");
                    self.every
                }
                Err(_) if cancelled.is_cancelled() => {
                    figures.cancelled.add(1);
                    tracing::info!(
                        "a backup of the index was cancelled, and nothing of it is left"
                    );
                    self.every
                }
                Err(error) => {
                    figures.failed.add(1);
                    spans::failed(&job);
                    tracing::error!(to = %self.to.display(), "THE SCHEDULED BACKUP FAILED: {error:#}");
                    self.every.min(AGAIN)
                }
            };
        }
    }

    /// When the newest that is there was taken.
    fn newest(&self) -> Option<u64> {
        self.taken().ok().and_then(|taken| taken.last().copied())
    }

    fn until_due(&self) -> Duration {
        let age = self
            .newest()
            .map(|taken| Duration::from_millis(now_ms().saturating_sub(taken)));
        age.map_or(Duration::ZERO, |age| self.every.saturating_sub(age))
    }

    /// When the backups that are there were taken, oldest first.
    fn taken(&self) -> io::Result<Vec<u64>> {
        let mut taken = Vec::new();
        for entry in std::fs::read_dir(&self.to)? {
            let name = entry?.file_name();
            taken.extend(name.to_str().and_then(time_of));
        }
        taken.sort_unstable();
        Ok(taken)
    }

    fn path(&self, taken_ms: u64) -> PathBuf {
        self.to
            .join(format!("{NAME_PREFIX}{taken_ms}{NAME_SUFFIX}"))
    }

    /// Takes one, durable under its name, and then removes the oldest beyond `keep`. Once `cancel` was
    /// cancelled it is an error, and leaves nothing, unless all of it is written by then. It cannot be paused:
    /// whoever takes a backup holds back files of the change log, and gets so long
    /// ([`BACKUP_TIME_MAX`](super::backup::BACKUP_TIME_MAX)).
    pub fn take(
        &self,
        storage: &LocalStorageEngine,
        cancel: &CancellationToken,
    ) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(&self.to)?;
        let path = self.path(now_ms());
        let mut file = BackupFile::begin(&path)?;
        let written = &storage.figures().backups.written_bytes;
        storage.back_up(&mut |piece| {
            if cancel.is_cancelled() {
                return Err(io::Error::other("it was cancelled"));
            }
            file.write(piece)?;
            written.add(piece.len() as u64);
            Ok(())
        })?;
        file.finish()?;
        // The backup is taken, whatever becomes of the older ones.
        if let Err(error) = self.remove_needless() {
            tracing::error!(to = %self.to.display(), %error, "old backups were not removed");
        }
        Ok(path)
    }

    /// Removes the oldest beyond `keep`, and what a killed server left half written.
    fn remove_needless(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.to)? {
            let entry = entry?;
            let name = entry.file_name();
            let unfinished = name
                .to_str()
                .and_then(|name| name.strip_suffix(UNFINISHED_SUFFIX));
            if unfinished.and_then(time_of).is_some() {
                std::fs::remove_file(entry.path())?;
            }
        }
        let taken = self.taken()?;
        for old in &taken[..taken.len().saturating_sub(self.keep)] {
            std::fs::remove_file(self.path(*old))?;
        }
        Ok(())
    }
}

/// When the backup of that name was taken, in milliseconds since 1970.
fn time_of(name: &str) -> Option<u64> {
    let time = name.strip_prefix(NAME_PREFIX)?.strip_suffix(NAME_SUFFIX)?;
    time.parse().ok()
}
