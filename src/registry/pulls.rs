//! When each manifest was last pulled.
//!
//! A pull is noted in memory and written down with others, a minute later at most: what is noted
//! is lost with a process that is killed, and nothing else is. How many are noted is bounded; beyond
//! that a pull waits for nobody and is not noted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::tables::{ContentKey, MANIFESTS, PULLS, PULLS_SINCE, PullRow, PullsSinceRow};
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

/// The key of the one row of its table.
const SINCE: &str = "since";

/// Pulls that are not written down yet. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Pulls {
    noted: Arc<Mutex<HashMap<ContentKey, u64>>>,
}

impl Pulls {
    fn note(&self, key: ContentKey, at_ms: u64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < NOTED_MAX || noted.contains_key(&key) {
            let last = noted.entry(key).or_default();
            *last = at_ms.max(*last);
        }
    }

    fn take(&self) -> HashMap<ContentKey, u64> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Registry {
    /// Notes that a manifest was pulled.
    pub fn note_pull(&self, repository: &RepositoryName, digest: &Digest) {
        self.pulls
            .note(ContentKey::new(repository, digest), now_ms());
    }

    /// Writes down all pulls that were noted. For a thread that may block.
    pub fn flush_pulls(&self) -> Result<(), RegistryError> {
        let noted: Vec<(ContentKey, u64)> = self.pulls.take().into_iter().collect();
        let mut batches = noted.chunks(BATCH_ROWS);
        while let Some(batch) = batches.next() {
            let rows = batch.to_vec();
            let write = move |transaction: &mut Transaction<'_>| write(transaction, &rows);
            let written = self.storage.catalog().transact_blocking(write);
            if let Err(error) | Ok(Err(error)) = written {
                // They are tried again with the next ones.
                for (key, at_ms) in batch.iter().chain(batches.flatten()) {
                    self.pulls.note(key.clone(), *at_ms);
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

/// One that was deleted meanwhile takes no row.
fn write(
    transaction: &mut Transaction<'_>,
    pulls: &[(ContentKey, u64)],
) -> Result<(), CatalogError> {
    for (key, pulled_ms) in pulls {
        if transaction.contains(&MANIFESTS, key)? {
            let row = PullRow {
                pulled_ms: *pulled_ms,
            };
            transaction.put(&PULLS, key, &row)?;
        }
    }
    Ok(())
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
