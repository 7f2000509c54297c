//! A history of what a store took up, as if it had grown for some time.

use drift::ghostbay::catalog::CatalogError;
use drift::ghostbay::{LocalStorageEngine, now_ms};
use drift::registry::tables::{GROWTH, GrowthRow};

const HOUR_MS: u64 = 3600 * 1000;

/// Writes one look an hour over so many days, up to what the store takes up now, with a compaction a week.
pub async fn write(storage: &LocalStorageEngine, days: u64) -> anyhow::Result<()> {
    let space = storage.status()?.space;
    let (hours, now_ms) = (days * 24, now_ms());
    let of = |bytes: u64, hour: u64| (bytes as f64 * (hour + 1) as f64 / hours as f64) as u64;
    let rows: Vec<_> = (0..hours)
        .map(|hour| {
            let live = of(space.live, hour);
            // What is dead grows until it is compacted.
            let dead = of(space.live, hour % (7 * 24)) / 2;
            let row = GrowthRow {
                allocated: live + dead,
                live,
                logical: live * 2,
            };
            (now_ms - (hours - hour) * HOUR_MS, row)
        })
        .collect();
    let write = move |transaction: &mut drift::ghostbay::catalog::Transaction<'_>| {
        for (at_ms, row) in &rows {
            transaction.put(&GROWTH, at_ms, row)?;
        }
        Ok::<_, CatalogError>(())
    };
    Ok(storage.catalog().transact(write).await?)
}
