use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::client::Client;
use crate::place::Place;
use crate::support;

/// A kill can fall between a commit and its line in the log. The start finds the gap and closes
/// it in the background, on a store this small within this time.
const GAP_CLOSED: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_the_index() {
    let mut random = StdRng::seed_from_u64(crate::seed());
    let place = Place::new();
    let mut server = place.start();
    let mut clients: Vec<Client> = (0..4)
        .map(|n| {
            let random = StdRng::seed_from_u64(random.next_u64());
            Client::new(server.url(""), &format!("rebuild/client-{n}"), random)
        })
        .collect();
    for _ in 0..crate::kills() / 4 {
        let moment = Duration::from_micros(random.random_range(500..200_000));
        let work = futures::future::join_all(clients.iter_mut().map(Client::work));
        let kill = async {
            tokio::time::sleep(moment).await;
            server.kill();
        };
        futures::future::join(work, kill).await;

        std::fs::remove_file(place.path().join("drift-data/index.redb")).unwrap();
        let refused = support::drift().current_dir(place.path()).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("drift rebuild"), "{said}");
        let rebuilt = support::drift()
            .arg("rebuild")
            .current_dir(place.path())
            .output()
            .unwrap();
        assert!(rebuilt.status.success(), "{rebuilt:?}");

        server = place.start();
        for client in &mut clients {
            client.reconnect();
        }
        futures::future::join_all(clients.iter_mut().map(|client| client.check(true))).await;
        tokio::time::sleep(GAP_CLOSED).await;
    }
}
