//! When each manifest was last pulled, and how often each repository was on which day.
//!
//! A pull is noted in memory and written down with others, a minute later at most: what is noted
//! is lost with a process that is killed, and nothing else is. How many are noted is bounded; beyond
//! that a pull waits for nobody and is not noted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::tables::{
    ContentKey, MANIFESTS, PULL_DAYS, PULLS, PULLS_SINCE, PullDayKey, PullRow, PullsSinceRow,
    REPOSITORIES,
};
use super::{Registry, RegistryError};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::ghostbay::now_ms;
use crate::oci::RepositoryName;

/// How often pulls are written down.
const FLUSH_INTERVAL: Duration = Duration::from_secs(60);

/// Manifests whose pulls are noted at once. Each takes some 200 bytes.
const NOTED_MAX: usize = 100_000;

/// Rows that one transaction writes.
const BATCH_ROWS: usize = 1_000;

/// Days of which it is kept how often repositories were pulled from, today among them.
pub const DAYS: u32 = 30;

/// The key of the one row of its table.
const SINCE: &str = "since";

/// Pulls that are not written down yet. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Pulls {
    noted: Arc<Mutex<HashMap<ContentKey, Noted>>>,
}

/// Pulls of a manifest.
#[derive(Clone, Copy, Default)]
struct Noted {
    last_ms: u64,
    pulls: u64,
}

impl Pulls {
    fn note(&self, key: ContentKey, more: Noted) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < NOTED_MAX || noted.contains_key(&key) {
            let so_far = noted.entry(key).or_default();
            so_far.last_ms = more.last_ms.max(so_far.last_ms);
            so_far.pulls = more.pulls.saturating_add(so_far.pulls);
        }
    }

    fn take(&self) -> HashMap<ContentKey, Noted> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Registry {
    /// Notes that a manifest was pulled.
    pub fn note_pull(&self, repository: &RepositoryName, digest: &Digest) {
        let once = Noted {
            last_ms: now_ms(),
            pulls: 1,
        };
        self.pulls.note(ContentKey::new(repository, digest), once);
    }

    /// Writes down all pulls that were noted. For a thread that may block.
    pub fn flush_pulls(&self) -> Result<(), RegistryError> {
        let noted: Vec<(ContentKey, Noted)> = self.pulls.take().into_iter().collect();
        let mut batches = noted.chunks(BATCH_ROWS);
        while let Some(batch) = batches.next() {
            let rows = batch.to_vec();
            let write = move |transaction: &mut Transaction<'_>| write(transaction, &rows);
            let written = self.storage.catalog().transact_blocking(write);
            if let Err(error) | Ok(Err(error)) = written {
                // They are tried again with the next ones.
                for (key, noted) in batch.iter().chain(batches.flatten()) {
                    self.pulls.note(key.clone(), *noted);
                }
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Writes pulls down from time to time, and a last time at `stop`.
    pub async fn keep_pulls(&self, stop: CancellationToken) {
        if let Err(error) = self.begin_pulls().await {
            tracing::warn!("since when pulls are noted could not be written down: {error}");
        }
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(FLUSH_INTERVAL) => false,
            };
            let registry = self.clone();
            let flushed = tokio::task::spawn_blocking(move || registry.flush_pulls()).await;
            if let Ok(Err(error)) = flushed {
                tracing::warn!("pulls could not be written down: {error}");
            }
            if stopped {
                return;
            }
        }
    }

    /// The repositories that were pulled from most in the last [`DAYS`] days, as far as is written down, and
    /// how often: those that are there, `most` of them at most.
    pub fn top_pulls(&self, most: usize) -> Result<Vec<(RepositoryName, u64)>, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let first = first_day(now_ms());
        let mut counts = HashMap::<RepositoryName, u64>::new();
        for row in rows.scan_sound(&PULL_DAYS, &[], None)? {
            let (key, row) = row?;
            if key.day >= first {
                let count = counts.entry(key.repository).or_default();
                *count = count.saturating_add(row.pulls);
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        let mut top = Vec::new();
        for (repository, pulls) in counts {
            if top.len() == most {
                break;
            }
            let row = rows.get_sound(&REPOSITORIES, &repository)?;
            if row.is_some_and(|row| row.deleted_ms.is_none()) {
                top.push((repository, pulls));
            }
        }
        Ok(top)
    }

    /// Writes down since when pulls are noted, if that is not known.
    async fn begin_pulls(&self) -> Result<(), RegistryError> {
        let key = SINCE.to_owned();
        let since_ms = now_ms();
        if self
            .storage
            .catalog()
            .read()?
            .contains(&PULLS_SINCE, &key)?
        {
            return Ok(());
        }
        let begun: Result<(), CatalogError> = self
            .storage
            .catalog()
            .transact(
                move |transaction| match transaction.get_sound(&PULLS_SINCE, &key)? {
                    Some(_) => Ok(()),
                    None => transaction.put(&PULLS_SINCE, &key, &PullsSinceRow { since_ms }),
                },
            )
            .await;
        Ok(begun?)
    }
}

/// One that was deleted meanwhile takes no row. What is counted of a day counts it as well.
fn write(
    transaction: &mut Transaction<'_>,
    pulls: &[(ContentKey, Noted)],
) -> Result<(), CatalogError> {
    let mut days = BTreeMap::<PullDayKey, u64>::new();
    for (key, noted) in pulls {
        let day = PullDayKey {
            day: day_of(noted.last_ms),
            repository: key.repository.clone(),
        };
        let count = days.entry(day).or_default();
        *count = count.saturating_add(noted.pulls);
        if transaction.contains(&MANIFESTS, key)? {
            let row = PullRow {
                pulled_ms: noted.last_ms,
            };
            transaction.put(&PULLS, key, &row)?;
        }
    }
    for (key, pulls) in days {
        let mut row = transaction.get_sound(&PULL_DAYS, &key)?.unwrap_or_default();
        row.pulls = row.pulls.saturating_add(pulls);
        transaction.put(&PULL_DAYS, &key, &row)?;
    }
    let first = first_day(now_ms());
    let past: Vec<PullDayKey> = transaction
        .inspect(&PULL_DAYS, &[], None)?
        .take(BATCH_ROWS)
        .filter_map(|row| row.map(|row| row.key).transpose())
        .take_while(|key| key.as_ref().is_ok_and(|key| key.day < first))
        .collect::<Result<_, _>>()?;
    for key in &past {
        transaction.delete(&PULL_DAYS, key)?;
    }
    Ok(())
}

/// The day of a moment, counted from 1970-01-01 in UTC.
fn day_of(at_ms: u64) -> u32 {
    u32::try_from(at_ms / (24 * 3600 * 1000)).unwrap_or(u32::MAX)
}

/// The first of the days that are kept.
pub(super) fn first_day(now_ms: u64) -> u32 {
    (day_of(now_ms) + 1).saturating_sub(DAYS)
}

/// When a manifest was last pulled, as far as that is written down.
pub(super) fn last_ms(rows: &impl Rows, key: &ContentKey) -> Result<Option<u64>, CatalogError> {
    Ok(rows.get_sound(&PULLS, key)?.map(|row| row.pulled_ms))
}

/// Since when pulls are written down; `None` if no server of this kind has run yet.
pub(super) fn since_ms(rows: &impl Rows) -> Result<Option<u64>, CatalogError> {
    let row = rows.get_sound(&PULLS_SINCE, &SINCE.to_owned())?;
    Ok(row.map(|row| row.since_ms))
}
