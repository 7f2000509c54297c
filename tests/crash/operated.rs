//! The server is killed while an operator rolls back, brings back, goes by the rules and collects: at any
//! moment, and at calls that change the disk.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::client::Interrupted;
use crate::operator::{Deed, Operator, SETTINGS};
use crate::place::Place;
use crate::syscalls::serves;
use crate::tracer::{Kill, Moment, Tracer};

/// The store is begun anew after so many kills.
const KILLS_PER_STORE: u32 = 10;

/// Each kind of deed, each with something to do it to.
const SCRIPT: &[Deed] = &[
    Deed::Push(Some(0)),
    Deed::Push(Some(0)),
    Deed::RollBack,
    Deed::DeleteManifest,
    Deed::UndeleteManifest,
    Deed::Push(Some(1)),
    Deed::DeleteTag,
    Deed::UndeleteTag,
    Deed::Push(Some(2)),
    Deed::Push(Some(3)),
    Deed::Retain,
    Deed::UndeleteTag,
    Deed::PurgeManifest,
    Deed::Collect,
    Deed::Compact,
];

/// With it there is always something to do what the script says to.
const SCRIPT_SEED: u64 = 5;

/// Of the calls of a script one in so many is killed at; with `DRIFT_TEST_LONG` each.
const STRIDE: u32 = 4;

fn operator(place: &Place, seed: u64) -> Operator {
    let socket = place.path().join("drift-data/admin.sock");
    Operator::new(place.url(), socket, StdRng::seed_from_u64(seed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_was_answered_outlives_a_kill_at_any_moment() {
    let mut random = StdRng::seed_from_u64(crate::seed());
    let mut done = BTreeMap::<String, u32>::new();
    let (mut killed, mut refused) = (0, 0);
    while killed < crate::kills() / 4 {
        let place = Place::with(SETTINGS);
        let mut server = place.start();
        let mut operator = operator(&place, random.next_u64());
        for _ in 0..KILLS_PER_STORE {
            let moment = Duration::from_micros(random.random_range(500..150_000));
            let kill = async {
                tokio::time::sleep(moment).await;
                server.kill();
            };
            futures::future::join(operator.work(), kill).await;
            killed += 1;
            server = place.start();
            operator.check().await;
        }
        refused += operator.refused;
        for (deed, count) in operator.done {
            *done.entry(deed).or_default() += count;
        }
    }
    println!("{killed} kills behind {done:?}, and {refused} refusals by the quota");
    for deed in [
        "Push",
        "RollBack",
        "UndeleteTag",
        "UndeleteManifest",
        "Retain",
    ] {
        assert!(done.contains_key(deed), "never done: {deed}");
    }
    assert!(refused > 0, "the quota refused nothing");
}

/// Follows the script on a new store and checks that after a restart; the call that the server was killed
/// at, if it made so many.
async fn follow_script(kill: Kill) -> Option<&'static str> {
    let place = Place::with(SETTINGS);
    let tracer = Tracer::start(place.command(), place.path(), kill);
    let mut operator = operator(&place, SCRIPT_SEED);
    let mut followed = Err(Interrupted::Killed);
    if serves(&tracer, &place.url()).await {
        followed = Ok(());
        for deed in SCRIPT {
            followed = operator.perform(*deed).await;
            if followed.is_err() {
                break;
            }
        }
    }
    let traced = tracer.stop();
    assert!(
        followed.is_ok() || traced.killed_at.is_some(),
        "the server died without being killed: {followed:?}\n{}",
        place.log()
    );
    if followed.is_ok() {
        let kinds = SCRIPT.iter().map(|deed| deed.name());
        let missed: Vec<_> = kinds
            .filter(|kind| !operator.done.contains_key(kind))
            .collect();
        assert!(
            missed.is_empty(),
            "the script has nothing to do for {missed:?}"
        );
    }
    let mut server = place.start();
    operator.check().await;
    server.kill();
    traced.killed_at
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_was_answered_outlives_a_kill_at_any_call() {
    let mut random = StdRng::seed_from_u64(crate::seed());
    let stride = match std::env::var_os("DRIFT_TEST_LONG") {
        Some(_) => 1,
        None => STRIDE,
    };
    let mut killed = BTreeMap::<&str, u32>::new();
    let mut number = random.random_range(1..=stride);
    loop {
        let moment = match random.random() {
            true => Moment::Before,
            false => Moment::After,
        };
        match follow_script(Kill { number, moment }).await {
            Some(name) => *killed.entry(name).or_default() += 1,
            None => break,
        }
        number += stride;
    }
    println!("{} kills: {killed:?}", killed.values().sum::<u32>());
    for name in ["pwrite64", "fdatasync"] {
        assert!(killed.contains_key(name), "never killed at {name}");
    }
}
