//! Takes each sync away, or does it too late, and sees that the simulator notices. A sync that can
//! go without anybody noticing is either not needed or not tested.

use drift::ghostbay::disk::SyncPoint;
use drift::ghostbay::sim::{Image, SimDisk, Trace};

use crate::check::{Possible, crash};
use crate::model::{History, observe};
use crate::workload::{Client, Outcome, open};
use crate::{Work, record_work, runtime, seed};

/// Traces and crash images of each that have to be enough to notice.
const TRACES: u64 = 20;
const IMAGES: u64 = 400;

/// A commit of the index syncs its pages, and then which of them count.
const COMMIT_SYNCS: usize = 2;

/// Whether crashes of mutilated traces break a promise.
fn is_noticed(mutilate: impl Fn(&Trace) -> Trace) -> bool {
    is_noticed_in(Work::AllKinds, mutilate)
}

/// As [`is_noticed`], of clients that do such work.
fn is_noticed_in(work: Work, mutilate: impl Fn(&Trace) -> Trace) -> bool {
    let first = seed();
    for seed in (0..TRACES).map(|trace| first.wrapping_add(trace)) {
        let outcome = runtime().block_on(async {
            let (trace, histories) = record_work(work, 1, seed).await;
            crash(
                (&Image::default(), &Possible::first(histories.len())),
                &mutilate(&trace),
                &histories,
                seed,
                IMAGES,
            )
            .await
        });
        if let Err(what) = outcome {
            println!("noticed with seed {seed}: {what}");
            return true;
        }
    }
    false
}

/// Which loss shows that a sync was left out.
#[derive(PartialEq, Eq, Debug)]
pub enum ShownBy {
    /// A power cut.
    PowerCut,
    /// A power cut behind a failed sync of the index.
    PowerCutBehindFailure,
    /// A power cut that takes the index along.
    LostIndex,
    /// None: nothing rests on it.
    Nothing,
}

/// A new sync does not compile until somebody has said here what shows that it is needed.
pub fn shown_by(point: SyncPoint) -> ShownBy {
    match point {
        SyncPoint::Bodies
        | SyncPoint::SmallBodies
        | SyncPoint::PackName
        | SyncPoint::Index
        | SyncPoint::StoreNames => ShownBy::PowerCut,
        SyncPoint::IndexSwap => ShownBy::PowerCutBehindFailure,
        SyncPoint::LogTail
        | SyncPoint::LogRoll
        | SyncPoint::LogName
        | SyncPoint::Checkpoint
        | SyncPoint::CheckpointName => ShownBy::LostIndex,
        SyncPoint::Probe => ShownBy::Nothing,
    }
}

fn each_is_noticed(points: &[SyncPoint]) {
    for point in points {
        assert_eq!(shown_by(*point), ShownBy::PowerCut);
        println!("{point:?}");
        assert!(is_noticed(|trace| trace.without(*point)), "{point:?}");
    }
}

#[test]
fn every_sync_that_is_left_out_is_noticed() {
    each_is_noticed(&[
        SyncPoint::Bodies,
        SyncPoint::SmallBodies,
        SyncPoint::PackName,
        SyncPoint::Index,
        SyncPoint::StoreNames,
    ]);
}

#[test]
fn the_name_of_a_fresh_index_that_is_not_synced_is_noticed() {
    // At a store's beginning the directory is synced once more; behind a failed sync it is not.
    let first = seed();
    let noticed = (0..TRACES).any(|trace| {
        let seed = first.wrapping_add(trace);
        runtime().block_on(async {
            let (trace, histories) = record_a_failed_sync(seed).await;
            let start = (&Image::default(), &Possible::first(1));
            let whole = crash(start, &trace, &histories, seed, IMAGES).await;
            whole.unwrap_or_else(|what| panic!("DRIFT_SIM_SEED={seed}: {what}"));
            let point = SyncPoint::IndexSwap;
            assert_eq!(shown_by(point), ShownBy::PowerCutBehindFailure);
            let cut = trace.without(point);
            crash(start, &cut, &histories, seed, IMAGES).await.is_err()
        })
    });
    assert!(noticed);
}

/// As [`record_work`], with a sync of the index that fails on the way.
async fn record_a_failed_sync(seed: u64) -> (Trace, Vec<History>) {
    let disk = SimDisk::default();
    let mut client = Client::new(0, &disk, seed);
    let running = open(&disk).await.unwrap();
    for step in 0..20 {
        if step == 8 {
            disk.fail_next_sync(SyncPoint::Index);
        }
        if let Some(Outcome::Failed(_)) = client.step(&running).await {
            let found = observe(&running, &client.history).await.unwrap();
            client.settle(found);
        }
    }
    running.storage.close().await;
    (disk.trace(), vec![client.history])
}

#[test]
fn space_that_is_given_back_before_the_release_is_durable_is_noticed() {
    // The release is one of the last few commits before the punch, and the bytes are older.
    let noticed = (1..=3).any(|commits| {
        let early = |trace: &Trace| trace.punched_before(SyncPoint::Index, commits * COMMIT_SYNCS);
        is_noticed_in(Work::Space, early)
    });
    assert!(noticed);
}

#[test]
fn every_sync_that_comes_too_late_is_noticed() {
    for point in [
        SyncPoint::Bodies,
        SyncPoint::SmallBodies,
        SyncPoint::PackName,
    ] {
        println!("{point:?} behind the index");
        assert!(
            is_noticed(|trace| trace.late(point, SyncPoint::Index, COMMIT_SYNCS)),
            "{point:?}"
        );
    }
}
