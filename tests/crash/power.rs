//! The file system below a running server is shut down without a flush, as by a power cut.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::client::Client;
use crate::ext4::Ext4;
use crate::place::Place;

/// The store is begun anew after so many cuts.
const CUTS_PER_STORE: u32 = 20;
/// Bytes of the file system: more than a store can grow to between two beginnings.
const BYTES: u64 = 4 << 30;
/// Behind a cut every request fails; one that does not come to an end is cut off.
const PATIENCE: Duration = Duration::from_secs(5);

/// A fifth of the kills: each takes longer.
fn cuts() -> u32 {
    crate::kills().div_ceil(5)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_power_cut_at_any_moment() {
    let mut random = StdRng::seed_from_u64(crate::seed());
    let (mut cut, mut resumed, mut blobs) = (0, 0, 0);
    while cut < cuts() {
        let Some(mut system) = Ext4::new(BYTES) else {
            return;
        };
        let place = Place::storing_at(&system.path().join("store"));
        let mut server = place.start();
        let mut clients: Vec<Client> = (0..3)
            .map(|n| {
                let random = StdRng::seed_from_u64(random.next_u64());
                let mut client = Client::new(server.url(""), &format!("power/client-{n}"), random);
                client.failures_expected = true;
                client
            })
            .collect();
        for _ in 0..CUTS_PER_STORE.min(cuts() - cut) {
            let moment = Duration::from_micros(random.random_range(500..400_000));
            {
                // Each works until a request of its own is not done.
                let work = futures::future::join_all(clients.iter_mut().map(Client::work));
                let cut = async {
                    tokio::time::sleep(moment).await;
                    system.shut_down();
                };
                let both = futures::future::join(work, cut);
                let _ = tokio::time::timeout(PATIENCE, both).await;
            }
            cut += 1;
            server.kill();
            system.mount_again();
            server = place.start();
            for client in &mut clients {
                client.reconnect();
            }
            futures::future::join_all(clients.iter_mut().map(|client| client.check(false))).await;
        }
        futures::future::join_all(clients.iter_mut().map(|client| client.check(true))).await;
        server.kill();
        for client in &clients {
            resumed += client.resumed;
            blobs += client.blobs();
        }
    }
    println!("{cut} power cuts: {blobs} blobs, {resumed} uploads resumed");
    assert!(resumed > 0, "no upload outlived a power cut");
}
