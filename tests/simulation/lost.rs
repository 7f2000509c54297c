//! Stores whose index is lost as well: the change log has to give it back, all of it after a kill,
//! all but the last second after a power cut.

use std::path::Path;
use std::sync::Arc;

use drift::ghostbay::disk::SyncPoint;
use drift::ghostbay::rebuild::rebuild_on;
use drift::ghostbay::sim::crash::Random;
use drift::ghostbay::sim::{Durable, Event, Image, SimDisk, Trace};

use crate::check::{Possible, check, crash_once};
use crate::model::History;
use crate::sensitivity::{ShownBy, shown_by};
use crate::workload::STORE;
use crate::{images, record, record_with_checkpoints, runtime, seed};

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
    let rebuilt = rebuild_on(Arc::new(disk.clone()), Path::new(STORE));
    rebuilt.map_err(|error| format!("no index can be made: {error:?}"))?;
    check(&disk.image(), histories, possible).await?;
    if random.chance(10) {
        let again = SimDisk::on(crash_once(&image, &disk.trace(), random));
        if !again.has(&index) {
            let rebuilt = rebuild_on(Arc::new(again.clone()), Path::new(STORE));
            rebuilt.map_err(|error| format!("no index behind a crash: {error:?}"))?;
        }
        let crashed = |what| format!("crashed in rebuilding: {what}");
        check(&again.image(), histories, possible)
            .await
            .map_err(crashed)?;
    }
    Ok(())
}

/// Crashes a trace `images` times and loses the index each time.
async fn crash_and_lose(
    trace: &Trace,
    histories: &[History],
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
    for at in 0..=events {
        while moments.next_if_eq(&at).is_some() {
            // Before anything was acknowledged there may be nothing to make an index of.
            let (image, possible) = match random.chance(40) {
                true if possible.has_begun() => (durable.killed(), possible.clone()),
                false if promised.has_begun() => {
                    (durable.power_cut(&mut random), promised.up_to(&possible))
                }
                _ => continue,
            };
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
                0 => record(2, seed).await,
                _ => record_with_checkpoints(seed).await,
            };
            crash_and_lose(&trace, &histories, seed, 200).await
        });
        outcome.unwrap_or_else(|what| panic!("DRIFT_SIM_SEED={seed}: {what}"));
    }
}

#[test]
fn every_sync_of_the_log_that_is_left_out_is_noticed() {
    for point in [
        SyncPoint::LogTail,
        SyncPoint::LogRoll,
        SyncPoint::LogName,
        SyncPoint::Checkpoint,
        // Not CheckpointName: the checkpoint before the newest stays, and every name is durable with
        // the next file of changes. To lose a store by that sync, two checkpoints have to be lost.
    ] {
        assert_eq!(shown_by(point), ShownBy::LostIndex);
        let first = seed();
        let noticed = (0..30).any(|trace| {
            let seed = first.wrapping_add(trace);
            runtime().block_on(async {
                let (trace, histories) = record_with_checkpoints(seed).await;
                assert!(trace.count(point) > 0, "{point:?} is not in the trace");
                let outcome = crash_and_lose(&trace.without(point), &histories, seed, 200).await;
                outcome
                    .inspect_err(|what| println!("{point:?}: {what}"))
                    .is_err()
            })
        });
        assert!(noticed, "{point:?}");
    }
}
