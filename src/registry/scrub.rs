//! The scrub: every byte is read again from time to time, while the server serves, so that what
//! rots is found while those who could push it again still have it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::check::{CheckError, Damage, Report, VerifyOptions, verify};
use super::figures::{Figures, ScrubFigures};
use crate::ghostbay::check::BYTES_PHASE;
use crate::ghostbay::pauses::Work;
use crate::ghostbay::{LocalStorageEngine, background};
use crate::spans::{self, job};

/// How the scrub goes.
#[derive(Clone, Debug)]
pub struct ScrubOptions {
    /// How fast packs are read, in bytes a second; 0 for no scrub.
    pub bytes_per_second: u64,
    /// From the beginning of one pass to that of the next, if it is over by then.
    pub interval: Duration,
    /// What is checked, and what is done about it.
    pub verify: VerifyOptions,
}

/// Goes over the store again and again, until `stop`. While it is to stand still no pass begins, and one that
/// is under way reads nothing; it goes on where it was.
pub async fn scrub(
    storage: Arc<LocalStorageEngine>,
    figures: Arc<Figures>,
    options: ScrubOptions,
    stop: CancellationToken,
) {
    if options.bytes_per_second == 0 {
        return;
    }
    figures.scrub.rate.set(options.bytes_per_second);
    let verify = VerifyOptions {
        bytes_per_second: Some(options.bytes_per_second),
        ..options.verify
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = storage.pauses().ended(Work::Scrub) => {}
        }
        let next = Instant::now() + options.interval;
        let (storage, verify, stopped) = (storage.clone(), verify.clone(), stop.clone());
        let seen = figures.clone();
        figures.scrub.began();
        let job = job!("scrub");
        let pass = background::run("scrub", move || {
            pass(&storage, &seen.scrub, &verify, &stopped);
        });
        if let Err(error) = pass.await {
            spans::failed(&job);
            tracing::error!(%error, "a scrub of the store failed");
        }
        drop(job);
        figures.scrub.began_ms.set(0);
        tokio::select! {
            () = stop.cancelled() => return,
            () = figures.scrub.asked.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

fn pass(
    storage: &LocalStorageEngine,
    figures: &ScrubFigures,
    options: &VerifyOptions,
    stop: &CancellationToken,
) {
    let mut read = 0;
    let mut tell = |report| {
        match report {
            Report::Damage(damage) => {
                figures.damages.add(1);
                figures.pass_damages.add(1);
                log(&damage);
                // Whoever looked has a snapshot, which is not to be held for long.
                return !stop.is_cancelled();
            }
            Report::Progress { phase, done, total } if phase == BYTES_PHASE => {
                figures.read_bytes.add(done.saturating_sub(read));
                figures.pass_bytes.set(done);
                figures.pass_bytes_total.set(total.unwrap_or(0));
                read = done;
            }
            Report::Progress { .. } => {}
            // There is nothing left to do.
            Report::Done(_) => return true,
        }
        storage.pauses().stand_still(Work::Scrub, stop)
    };
    let store = match storage.to_check() {
        Ok(store) => store,
        Err(error) => {
            tracing::error!(%error, "the store cannot be scrubbed");
            return;
        }
    };
    match verify(store, options, &mut tell) {
        Ok(totals) => {
            figures.read_whole_store();
            tracing::info!(
                damages = totals.damages,
                "read the whole store over; drift verify tells the same"
            );
        }
        Err(CheckError::Stopped) => {}
        Err(error) => tracing::error!(%error, "a scrub of the store broke off"),
    }
}

fn log(damage: &Damage) {
    let hits: Vec<_> = damage
        .hits
        .iter()
        .map(|hit| match hit.tags.is_empty() {
            true => hit.repository.clone(),
            false => format!("{}:{}", hit.repository, hit.tags.join(",")),
        })
        .collect();
    tracing::error!(
        what = damage.what,
        hits = hits.join(" "),
        marked = damage.repaired,
        "damage: {}",
        damage.reason
    );
}
