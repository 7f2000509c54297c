//! What the store takes up as time goes by.
//!
//! Each hour it is looked at and written down. After a month one a day is left of it, which is kept for
//! five years: some 2,500 small rows.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::tables::{GROWTH, GrowthRow};
use super::{Registry, RegistryError};
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::ghostbay::now_ms;

/// How often the store is looked at.
const INTERVAL: Duration = Duration::from_secs(3600);

const DAY_MS: u64 = 24 * 3600 * 1000;

/// How long every look is kept.
const ALL_MS: u64 = 30 * DAY_MS;

/// How long one a day is kept.
const DAILY_MS: u64 = 5 * 365 * DAY_MS;

/// What the store took up at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GrowthSample {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How much.
    pub space: GrowthRow,
}

impl Registry {
    /// What the store took up, the oldest first.
    pub fn growth(&self) -> Result<Vec<GrowthSample>, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let mut samples = Vec::new();
        for row in rows.scan_sound(&GROWTH, &[], None)? {
            let (at_ms, space) = row?;
            samples.push(GrowthSample { at_ms, space });
        }
        Ok(samples)
    }

    /// Looks at the store and writes down what it takes up. For a thread that may block: every pack's
    /// file is looked at.
    pub fn note_growth(&self) -> Result<(), RegistryError> {
        let space = self.storage.status()?.space;
        let now = GrowthSample {
            at_ms: now_ms(),
            space: GrowthRow {
                allocated: space.allocated,
                live: space.live,
                logical: self.logical_bytes()?,
            },
        };
        let kept: Vec<u64> = self.growth()?.iter().map(|sample| sample.at_ms).collect();
        let past = thinned(&kept, now.at_ms);
        let write = move |transaction: &mut Transaction<'_>| {
            for at_ms in &past {
                transaction.delete(&GROWTH, at_ms)?;
            }
            transaction.put(&GROWTH, &now.at_ms, &now.space)
        };
        let written: Result<(), CatalogError> = self.storage.catalog().transact_blocking(write)?;
        Ok(written?)
    }

    /// Writes it down each hour, until `stop`. A start within the hour writes nothing.
    pub async fn keep_growth(&self, stop: CancellationToken) {
        loop {
            let registry = self.clone();
            let noted = tokio::task::spawn_blocking(move || {
                let last = registry.growth()?.last().map_or(0, |last| last.at_ms);
                let passed = Duration::from_millis(now_ms().saturating_sub(last));
                if passed >= INTERVAL || now_ms() < last {
                    registry.note_growth()?;
                    return Ok(INTERVAL);
                }
                Ok::<_, RegistryError>(INTERVAL - passed)
            });
            let wait = match noted.await {
                Ok(Ok(wait)) => wait,
                Ok(Err(error)) => {
                    tracing::warn!("what the store takes up could not be written down: {error}");
                    INTERVAL
                }
                Err(_) => INTERVAL,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

/// Which of these moments, the oldest first, are not kept any longer at `now_ms`.
fn thinned(kept: &[u64], now_ms: u64) -> Vec<u64> {
    let mut day = None;
    let mut past = Vec::new();
    for &at_ms in kept {
        let is_first = day.replace(at_ms / DAY_MS) != Some(at_ms / DAY_MS);
        let age = now_ms.saturating_sub(at_ms);
        if age > DAILY_MS || (age > ALL_MS && !is_first) {
            past.push(at_ms);
        }
    }
    past
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_looks_are_one_a_day_and_very_old_ones_go() {
        let now_ms = 3000 * DAY_MS;
        let hours = |day: u64| (0..24).map(move |hour| day * DAY_MS + hour * DAY_MS / 24);
        let kept: Vec<u64> = [3, 2900, 2999].into_iter().flat_map(hours).collect();
        let past = thinned(&kept, now_ms);
        assert_eq!(past.len(), 24 + 23);
        assert!(!past.contains(&(2900 * DAY_MS)));
        let left: Vec<u64> = kept
            .iter()
            .copied()
            .filter(|it| !past.contains(it))
            .collect();
        assert!(thinned(&left, now_ms).is_empty());
    }
}
