//! The store on a simulated disk: power cuts at any moment, syncs taken away, errors at every
//! operation. Each failure names the seed that replays it: `DRIFT_SIM_SEED=N`.

mod check;
mod faults;
mod lost;
mod model;
mod replaced;
mod sensitivity;
mod workload;

use drift::ghostbay::sim::crash::Random;
use drift::ghostbay::sim::{Durable, Image, SimDisk, Trace};

use check::{Possible, Tally, check, crash};
use model::{History, observe};
use workload::{Client, open, open_with};

/// Requests of each client in a trace.
const STEPS: usize = 40;

/// Crash images in all: so many unless `DRIFT_SIM_IMAGES` says otherwise.
const IMAGES: u64 = 100_000;

/// As [`IMAGES`], with `DRIFT_TEST_LONG`.
const IMAGES_LONG: u64 = 1_000_000;

/// Crash images of each round of a chain.
const IMAGES_OF_A_ROUND: u64 = 40;

/// Crash images that are made of one trace.
const IMAGES_OF_A_TRACE: u64 = 500;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={value} is no number")),
    )
}

fn is_long() -> bool {
    std::env::var_os("DRIFT_TEST_LONG").is_some()
}

/// Crash images of each of the two tests that share them.
fn images() -> u64 {
    let usual = if is_long() { IMAGES_LONG } else { IMAGES };
    number("DRIFT_SIM_IMAGES").unwrap_or(usual) / 2
}

/// A seed for this run, or the one that is to be replayed.
fn seed() -> u64 {
    number("DRIFT_SIM_SEED").unwrap_or_else(rand::random)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// What clients do.
#[derive(Clone, Copy)]
enum Work {
    AllKinds,
    /// Taking space and giving it back.
    Space,
    /// What quotas and retention bear on.
    Rules,
    /// Objects beside the registry's, whole and in parts.
    Objects,
}

/// Lets clients work on a new store, restarted now and then, and gives back what was done.
async fn record(clients: usize, seed: u64) -> (Trace, Vec<History>) {
    record_work(Work::AllKinds, clients, seed).await
}

async fn record_work(work: Work, clients: usize, seed: u64) -> (Trace, Vec<History>) {
    let disk = SimDisk::default();
    let mut clients: Vec<Client> = (0..clients)
        .map(|number| Client::new(number, &disk, seed).alone(clients == 1))
        .collect();
    for _ in 0..3 {
        let running = open(&disk).await.unwrap();
        let steps = clients.iter_mut().map(async |client| {
            for _ in 0..STEPS / 3 {
                let done = match work {
                    Work::AllKinds => client.step(&running).await,
                    Work::Space => client.step_of_space(&running).await,
                    Work::Rules => client.step_of_rules(&running).await,
                    Work::Objects => client.step_of_objects(&running).await,
                };
                if let Some(workload::Outcome::Failed(error)) = done {
                    panic!("a request failed on a good disk: {error:?}");
                }
            }
        });
        futures::future::join_all(steps).await;
        running.storage.close().await;
    }
    let histories = clients.into_iter().map(|client| client.history).collect();
    (disk.trace(), histories)
}

/// As [`record`] with one client, whose store takes checkpoints on the way.
async fn record_with_checkpoints(seed: u64) -> (Trace, Vec<History>) {
    let disk = SimDisk::default();
    let mut client = Client::new(0, &disk, seed);
    for _ in 0..3 {
        let running = open_with(&disk, Some(8 << 10)).await.unwrap();
        for _ in 0..STEPS / 3 {
            client.step(&running).await;
        }
        running.storage.close().await;
    }
    (disk.trace(), vec![client.history])
}

/// Work, a power cut, recovery, more work on what it left, and so on; crash images of each round.
async fn chain(seed: u64, rounds: u64) -> Result<Tally, String> {
    let mut random = Random::new(seed);
    let mut image = Image::default();
    let mut client = Client::new(0, &SimDisk::default(), seed);
    let mut tally = Tally::default();
    for round in 0..rounds {
        let disk = SimDisk::on(image.clone());
        let running = open(&disk).await.map_err(|error| format!("{error:?}"))?;
        client.continue_on(&disk);
        let found = observe(&running, &client.history).await?;
        client.settle(found);
        let mut possible = Possible::newest(std::slice::from_ref(&client.history));
        let start = possible.clone();
        for _ in 0..STEPS / 3 {
            if let Some(workload::Outcome::Failed(error)) = client.step(&running).await {
                return Err(format!("round {round}: a request failed: {error:?}"));
            }
        }
        drop(running);
        let trace = disk.trace();
        let history = std::slice::from_ref(&client.history);
        let done = crash(
            (&image, &start),
            &trace,
            history,
            random.next_u64(),
            IMAGES_OF_A_ROUND,
        )
        .await;
        let done = done.map_err(|what| format!("round {round}: {what}"))?;
        tally.images += done.images;
        tally.recrashed += done.recrashed;
        let mut durable = Durable::new(image);
        let end = trace.events.len() as u64 - random.below(trace.events.len() as u64 / 3);
        for event in &trace.events[..end as usize] {
            durable.take_in(event);
            possible.take_in(event);
        }
        image = durable.power_cut(&mut random);
        check(&image, history, &possible).await?;
    }
    Ok(tally)
}

/// Crashes traces of `clients` that do such work until `images` have been checked, on two threads.
fn crash_many(work: Work, clients: usize, images: u64) -> Tally {
    let first = seed();
    let traces = match number("DRIFT_SIM_SEED") {
        Some(_) => 1,
        None => images.div_ceil(IMAGES_OF_A_TRACE),
    };
    let next = std::sync::atomic::AtomicU64::new(0);
    let tally = std::sync::Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let trace = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if trace >= traces {
                        break;
                    }
                    let seed = first.wrapping_add(trace);
                    let outcome = runtime().block_on(async {
                        let (trace, histories) = record_work(work, clients, seed).await;
                        crash(
                            (&Image::default(), &Possible::first(histories.len())),
                            &trace,
                            &histories,
                            seed,
                            IMAGES_OF_A_TRACE,
                        )
                        .await
                    });
                    let done = outcome.unwrap_or_else(|what| {
                        panic!("DRIFT_SIM_SEED={seed} with {clients} clients: {what}")
                    });
                    let mut tally = tally.lock().unwrap();
                    tally.images += done.images;
                    tally.recrashed += done.recrashed;
                    tally.refused += done.refused;
                    tally.retained += done.retained;
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    if traces > 1 && matches!(work, Work::Rules) {
        assert!(tally.refused > 0 && tally.retained > 0, "{tally:?}");
    }
    tally
}

#[test]
fn no_crash_of_one_client_breaks_a_promise() {
    let tally = crash_many(Work::AllKinds, 1, images());
    println!("{tally:?}");
}

#[test]
fn no_crash_of_clients_that_share_commits_breaks_a_promise() {
    let tally = crash_many(Work::AllKinds, 4, images());
    println!("{tally:?}");
}

#[test]
fn no_crash_of_clients_whose_space_is_given_back_and_compacted_breaks_a_promise() {
    let tally = crash_many(Work::Space, 2, images() / 4);
    println!("{tally:?}");
}

#[test]
fn no_crash_of_clients_whom_rules_refuse_and_delete_from_breaks_a_promise() {
    let tally = crash_many(Work::Rules, 2, images() / 8);
    println!("{tally:?}");
}

#[test]
fn no_crash_of_clients_of_the_object_store_breaks_a_promise() {
    let tally = crash_many(Work::Objects, 2, images() / 4);
    println!("{tally:?}");
}

#[test]
fn no_crash_of_what_a_crash_left_breaks_a_promise() {
    let first = seed();
    for seed in (0..8).map(|chain| first.wrapping_add(chain)) {
        let outcome = runtime().block_on(chain(seed, 5));
        outcome.unwrap_or_else(|what| panic!("DRIFT_SIM_SEED={seed}, a chain: {what}"));
    }
}
