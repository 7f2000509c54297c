//! Stores whose index is lost as well: the change log has to give it back, all of it after a kill,
//! all but the last second after a power cut.

use std::path::Path;
use std::sync::Arc;

use drift::ghostbay::disk::{Disk, SyncPoint};
use drift::ghostbay::rebuild::rebuild_on;
use drift::ghostbay::sim::crash::Random;
use drift::ghostbay::sim::{Durable, Event, Image, SimDisk, Trace};

use crate::check::{Possible, check, crash_once};
use crate::model::History;
use crate::sensitivity::{ShownBy, shown_by};
use crate::workload::STORE;
use crate::{Work, images, record, record_with_checkpoints, record_work, runtime, seed};

/// What the log has promised to keep through a power cut: what was acknowledged when it was last
/// synced, whether that sync was left out of the trace or not.
fn is_promise(event: &Event) -> bool {
    let promising = |point: SyncPoint| matches!(point, SyncPoint::LogTail | SyncPoint::LogRoll);
    match event {
        Event::LeftOut(point) => promising(*point),
        event => event.point().is_some_and(promising),
    }
}

/// Makes the index of an image again, and checks what it holds.
async fn rebuild_and_check(
    mut image: Image,
    histories: &[History],
    possible: &Possible,
    random: &mut Random,
) -> Result<(), String> {
    let index = Path::new(STORE).join("index.redb");
    image.lose(&index);
    let disk = SimDisk::on(image.clone());
    let rebuilt = rebuild_on(Arc::new(disk.clone()), Path::new(STORE), &mut |_, _| {});
    rebuilt.map_err(|error| format!("no index can be made: {error:?}"))?;
    check(&disk.image(), histories, possible).await?;
    if random.chance(10) {
        let again = SimDisk::on(crash_once(&image, &disk.trace(), random));
        if !again.has(&index) {
            let rebuilt = rebuild_on(Arc::new(again.clone()), Path::new(STORE), &mut |_, _| {});
            rebuilt.map_err(|error| format!("no index behind a crash: {error:?}"))?;
        }
        let crashed = |what| format!("crashed in rebuilding: {what}");
        check(&again.image(), histories, possible)
            .await
            .map_err(crashed)?;
    }
    Ok(())
}

/// What is lost beside the index.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Nothing,
    /// The newest checkpoint, once the one behind it has been promised to be durable.
    NewestCheckpoint,
}

/// Takes the newest checkpoint out of an image.
fn lose_newest_checkpoint(image: &mut Image) {
    let log = Path::new(STORE).join("log");
    let names = SimDisk::on(image.clone()).list(&log).unwrap_or_default();
    // Names begin with the number of the transaction that the checkpoint stands behind.
    let checkpoints = names.iter().filter(|name| name.ends_with(".checkpoint"));
    if let Some(newest) = checkpoints.max() {
        image.lose(&log.join(newest));
    }
}

/// Crashes a trace `images` times and loses the index each time.
async fn crash_and_lose(
    trace: &Trace,
    histories: &[History],
    lost: Lost,
    seed: u64,
    images: u64,
) -> Result<(), String> {
    let mut random = Random::new(seed);
    let events = trace.events.len() as u64;
    let mut moments: Vec<u64> = (0..images).map(|_| random.below(events + 1)).collect();
    moments.sort_unstable();
    let mut moments = moments.into_iter().peekable();
    let mut durable = Durable::new(Image::default());
    let mut possible = Possible::first(histories.len());
    let mut promised = possible.clone();
    let mut checkpoints = 0;
    for at in 0..=events {
        while moments.next_if_eq(&at).is_some() {
            if lost == Lost::NewestCheckpoint && checkpoints < 2 {
                continue;
            }
            // Before anything was acknowledged there may be nothing to make an index of.
            let (mut image, possible) = match random.chance(40) {
                true if possible.has_begun() => (durable.killed(), possible.clone()),
                false if promised.has_begun() => {
                    (durable.power_cut(&mut random), promised.up_to(&possible))
                }
                _ => continue,
            };
            if lost == Lost::NewestCheckpoint {
                lose_newest_checkpoint(&mut image);
            }
            rebuild_and_check(image, histories, &possible, &mut random)
                .await
                .map_err(|what| format!("at event {at} of {events}: {what}"))?;
        }
        if let Some(event) = trace.events.get(at as usize) {
            durable.take_in(event);
            possible.take_in(event);
            if is_promise(event) {
                promised = possible.clone();
            }
            let named = event.point().or(match event {
                Event::LeftOut(point) => Some(*point),
                _ => None,
            });
            checkpoints += usize::from(named == Some(SyncPoint::CheckpointName));
        }
    }
    Ok(())
}

#[test]
fn an_index_that_is_lost_in_a_crash_comes_back_from_the_log() {
    let first = seed();
    let traces = if crate::number("DRIFT_SIM_SEED").is_some() {
        1
    } else {
        images().div_ceil(2000)
    };
    for seed in (0..traces).map(|trace| first.wrapping_add(trace)) {
        let outcome = runtime().block_on(async {
            let (trace, histories) = match seed % 2 {
                0 if seed % 4 == 0 => record_work(Work::Space, 2, seed).await,
                0 if seed % 8 == 2 => record_work(Work::Rules, 2, seed).await,
                0 => record(2, seed).await,
                _ => record_with_checkpoints(seed).await,
            };
            crash_and_lose(&trace, &histories, Lost::Nothing, seed, 200).await
        });
        outcome.unwrap_or_else(|what| panic!("DRIFT_SIM_SEED={seed}: {what}"));
    }
}

#[test]
fn a_newest_checkpoint_that_is_lost_as_well_is_covered_by_the_one_before() {
    let first = seed();
    for seed in (0..10).map(|trace| first.wrapping_add(trace)) {
        let outcome = runtime().block_on(async {
            let (trace, histories) = record_with_checkpoints(seed).await;
            crash_and_lose(&trace, &histories, Lost::NewestCheckpoint, seed, 200).await
        });
        outcome.unwrap_or_else(|what| panic!("DRIFT_SIM_SEED={seed}: {what}"));
    }
}

#[test]
fn every_sync_of_the_log_that_is_left_out_is_noticed() {
    for (point, lost) in [
        (SyncPoint::LogTail, Lost::Nothing),
        (SyncPoint::LogRoll, Lost::Nothing),
        (SyncPoint::LogName, Lost::Nothing),
        (SyncPoint::Checkpoint, Lost::Nothing),
        // One checkpoint without a name is covered up by the one before it.
        (SyncPoint::CheckpointName, Lost::NewestCheckpoint),
    ] {
        assert_eq!(shown_by(point), ShownBy::LostIndex);
        let first = seed();
        let noticed = (0..30).any(|trace| {
            let seed = first.wrapping_add(trace);
            runtime().block_on(async {
                let (trace, histories) = record_with_checkpoints(seed).await;
                assert!(trace.count(point) > 0, "{point:?} is not in the trace");
                let outcome =
                    crash_and_lose(&trace.without(point), &histories, lost, seed, 200).await;
                outcome
                    .inspect_err(|what| println!("{point:?}: {what}"))
                    .is_err()
            })
        });
        assert!(noticed, "{point:?}");
    }
}
