//! Kills the real process with SIGKILL, at random moments and at every call that changes the disk,
//! and looks each time at what it had acknowledged.
//!
//! `DRIFT_TEST_SEED` replays a run's choices, as far as the scheduler lets it; `DRIFT_TEST_KILLS`
//! sets how often each test kills (100 by default, and twenty times as often when
//! `DRIFT_TEST_LONG` is set).

mod action;
mod check;
mod client;
mod compact;
mod compact_index;
mod content;
mod expected;
mod ext4;
mod full;
mod operated;
mod operator;
mod place;
mod power;
mod pushes;
mod rebuild;
mod skopeo;
#[path = "../support/store.rs"]
mod store;
#[path = "../support/mod.rs"]
mod support;
mod syscalls;
mod tracer;

/// How often a test kills the server.
fn kills() -> u32 {
    let set = std::env::var("DRIFT_TEST_KILLS").ok();
    let long = std::env::var_os("DRIFT_TEST_LONG").is_some();
    set.and_then(|kills| kills.parse().ok())
        .unwrap_or(if long { 2000 } else { 100 })
}

/// The run's seed, printed so that a failure can be replayed.
fn seed() -> u64 {
    let set = std::env::var("DRIFT_TEST_SEED").ok();
    let seed = set
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("DRIFT_TEST_SEED={seed}");
    seed
}
