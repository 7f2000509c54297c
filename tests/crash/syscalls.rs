//! The server is killed at every system call that changes the disk, before and after it, while it
//! answers a script of requests; and again at every such call of the start behind a kill.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::action::Kind;
use crate::client::{Client, Interrupted};
use crate::expected::Repository;
use crate::place::Place;
use crate::tracer::{Kill, Moment, Tracer};

/// So many runs must end without a call left to kill at before all calls count as met.
const WHOLE_RUNS: u32 = 5;

/// With it there is always something to do what the script says to.
const SCRIPT_SEED: u64 = 2;

/// Each kind of request, and of most kinds more than one.
const SCRIPT: &[Kind] = &[
    Kind::PushSmall,
    Kind::PushLarge,
    Kind::Upload,
    Kind::Upload,
    Kind::UploadRest,
    Kind::Upload,
    Kind::PushManifest(Repository::First),
    Kind::Mount,
    Kind::Mount,
    Kind::PushManifest(Repository::Second),
    Kind::MoveTag,
    Kind::MoveTag,
    Kind::Upload,
    Kind::Upload,
    Kind::CancelUpload,
    Kind::DeleteTag,
    Kind::DeleteManifest,
    Kind::PushSmall,
    Kind::DeleteBlob,
    Kind::PushLarge,
    Kind::DeleteBlob,
    Kind::Upload,
    Kind::Upload,
    Kind::Upload,
    Kind::PushManifest(Repository::First),
    Kind::DeleteManifest,
];

/// Waits until the server takes requests; whether it does before it is killed.
pub async fn serves(tracer: &Tracer, url: &str) -> bool {
    let client = reqwest::Client::new();
    while !tracer.has_ended() {
        if let Ok(answer) = client.get(format!("{url}/readyz")).send().await
            && answer.status().is_success()
        {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    false
}

/// What was killed, for the summary.
#[derive(Default)]
struct Killed(BTreeMap<&'static str, u32>);

impl Killed {
    fn total(&self) -> u32 {
        self.0.values().sum()
    }
}

async fn kill_at_every_call(moment: Moment) {
    let mut killed = Killed::default();
    // How many calls there are differs a little from run to run.
    let mut whole_runs = 0;
    for number in 1.. {
        let kill = Kill { number, moment };
        match follow_script(kill).await {
            Some(name) => *killed.0.entry(name).or_default() += 1,
            None => whole_runs += 1,
        }
        if whole_runs == WHOLE_RUNS {
            break;
        }
    }
    println!("{} kills, {moment:?}: {:?}", killed.total(), killed.0);
    for name in ["pwrite64", "fdatasync"] {
        assert!(killed.0.contains_key(name), "never killed at {name}");
    }
}

/// Runs the script on a new store and checks it after a restart; the call that the server was
/// killed at, if it made so many.
async fn follow_script(kill: Kill) -> Option<&'static str> {
    let place = Place::new();
    let tracer = Tracer::start(place.command(), place.path(), kill);
    let random = StdRng::seed_from_u64(SCRIPT_SEED);
    let mut client = Client::new(place.url(), "syscalls/image", random);
    let mut followed = Err(Interrupted::Killed);
    if serves(&tracer, &place.url()).await {
        followed = client.follow(SCRIPT).await;
    }
    let traced = tracer.stop();
    assert!(
        followed.is_ok() || traced.killed_at.is_some(),
        "the server died without being killed: {followed:?}\n{}",
        place.log()
    );
    let mut server = place.start();
    client.reconnect();
    client.check(true).await;
    if let Err(why) = client.repeat().await {
        panic!("what was not answered, {kill:?}, does not succeed when repeated: {why}");
    }
    client.check(true).await;
    server.kill();
    traced.killed_at
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_kill_before_any_call() {
    kill_at_every_call(Moment::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_kill_after_any_call() {
    kill_at_every_call(Moment::After).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_kill_at_any_call_of_the_start_behind_a_kill() {
    let mut random = StdRng::seed_from_u64(crate::seed());
    let place = Place::new();
    let mut server = place.start();
    let mut client = Client::new(
        server.url(""),
        "restart/image",
        StdRng::seed_from_u64(random.next_u64()),
    );
    let mut killed = Killed::default();
    let (mut number, mut whole_starts) = (0, 0);
    // Some starts have more to do than others.
    while whole_starts < WHOLE_RUNS {
        number += 1;
        let moment = Duration::from_micros(random.random_range(500..60_000));
        let kill = async {
            tokio::time::sleep(moment).await;
            server.kill();
        };
        futures::future::join(client.work(), kill).await;

        let moment = match random.random() {
            true => Moment::Before,
            false => Moment::After,
        };
        let kill = Kill { number, moment };
        let tracer = Tracer::start(place.command(), place.path(), kill);
        if serves(&tracer, &place.url()).await {
            whole_starts += 1;
        }
        if let Some(name) = tracer.stop().killed_at {
            *killed.0.entry(name).or_default() += 1;
        }
        server = place.start();
        client.reconnect();
        client.check(false).await;
    }
    client.check(true).await;
    println!("{} kills in starts: {:?}", killed.total(), killed.0);
    assert!(killed.total() > 5, "{:?}", killed.0);
}
