use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::client::Client;
use crate::place::Place;

/// Clients at once: enough that commits are shared.
const CLIENTS: usize = 4;
/// The store is begun anew after so many kills, so that checks stay short.
const KILLS_PER_STORE: u32 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_kill_at_any_moment() {
    let mut random = StdRng::seed_from_u64(crate::seed());
    let (mut killed, mut resumed, mut finished, mut blobs) = (0, 0, 0, 0);
    while killed < crate::kills() {
        let place = Place::new();
        let mut server = place.start();
        let mut clients: Vec<Client> = (0..CLIENTS)
            .map(|n| {
                let random = StdRng::seed_from_u64(random.next_u64());
                Client::new(server.url(""), &format!("crash/client-{n}"), random)
            })
            .collect();
        for _ in 0..KILLS_PER_STORE.min(crate::kills() - killed) {
            let moment = Duration::from_micros(random.random_range(500..120_000));
            let work = futures::future::join_all(clients.iter_mut().map(Client::work));
            let kill = async {
                tokio::time::sleep(moment).await;
                server.kill();
            };
            futures::future::join(work, kill).await;
            killed += 1;
            server = place.start();
            for client in &mut clients {
                client.reconnect();
            }
            futures::future::join_all(clients.iter_mut().map(|client| client.check(false))).await;
        }
        futures::future::join_all(clients.iter_mut().map(|client| client.check(true))).await;
        for client in &clients {
            resumed += client.resumed;
            finished += client.finished;
            blobs += client.blobs();
        }
    }
    println!("{killed} kills: {blobs} blobs, {resumed} uploads resumed, {finished} finished");
    assert!(resumed > 0 && finished > 0, "no upload outlived a kill");
}
