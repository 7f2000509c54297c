//! A file system that fills up while images are pushed, and has room again later.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::StatusCode;

use crate::action::Kind;
use crate::client::{Client, Interrupted};
use crate::expected::Repository;
use crate::ext4::Ext4;
use crate::place::Place;
use crate::support::{PATIENCE, Server};

const BYTES: u64 = 16 << 20;
const BALLAST_BYTES: u64 = 3 << 20;
/// Requests of each kind on the full disk.
const REQUESTS_WHEN_FULL: usize = 30;

/// Takes room that is given back later.
fn take_room(ballast: &Path) {
    let file = File::create(ballast).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BALLAST_BYTES).unwrap();
    file.sync_all().unwrap();
}

/// Takes all the room that there is.
fn take_the_rest(rest: &Path) {
    let mut file = File::create(rest).unwrap();
    let mut length = 64 << 10;
    while length > 0 {
        if file.write_all(&vec![1; length]).is_err() {
            length /= 2;
        }
    }
    let _ = file.sync_all();
}

async fn wait_until_ready(server: &Server, ready: bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = readiness(server);
        if answer.starts_with("HTTP/1.1 200") == ready {
            return answer;
        }
        assert!(Instant::now() < deadline, "{answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn readiness(server: &Server) -> String {
    server.raw("GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

/// Does things until one fails for want of room.
async fn fill_up(client: &mut Client) -> (StatusCode, String) {
    for _ in 0..10_000 {
        match client.work_once().await {
            Ok(()) => {}
            Err(Interrupted::Failed(status, said)) => return (status, said),
            // The answer can come before the body has gone, and its end then be a reset.
            Err(Interrupted::Killed) => client.check(false).await,
        }
    }
    panic!("16 MiB took 10,000 requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_pushes_and_loses_nothing_until_there_is_room() {
    let Some(system) = Ext4::new(BYTES) else {
        return;
    };
    let ballast = system.path().join("ballast");
    take_room(&ballast);
    let place = Place::storing_at(&system.path().join("store"));
    let mut server = place.start();
    let random = StdRng::seed_from_u64(crate::seed());
    let mut client = Client::new(server.url(""), "full/image", random);
    client.failures_expected = true;

    let (status, said) = fill_up(&mut client).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{said}");
    assert!(said.contains("room") || said.contains("full"), "{said}");
    client.check(true).await;
    println!("{} blobs on a full disk: {said}", client.blobs());

    let rest = system.path().join("rest");
    take_the_rest(&rest);
    let unready = wait_until_ready(&server, false).await;
    let (_, why) = unready.split_once("\r\n\r\n").unwrap();
    assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
    assert!(why.contains("No space left"), "{why}");
    println!("not ready: {why}");

    // Whatever is answered is so.
    let mut refused = 0;
    for _ in 0..REQUESTS_WHEN_FULL {
        for kind in [
            Kind::PushSmall,
            Kind::PushManifest(Repository::First),
            Kind::Upload,
            Kind::DeleteTag,
        ] {
            let Some(action) = client.choose(kind) else {
                continue;
            };
            match client.perform(action).await {
                Ok(()) => {}
                Err(Interrupted::Failed(status, said)) => {
                    refused += 1;
                    let clear = [
                        StatusCode::INSUFFICIENT_STORAGE,
                        StatusCode::SERVICE_UNAVAILABLE,
                    ];
                    assert!(clear.contains(&status), "{kind:?}: {status} {said}");
                }
                Err(Interrupted::Killed) => {}
            }
            client.check(false).await;
        }
    }
    assert!(refused > 0, "nothing was refused on a full disk");
    client.check(true).await;
    println!("{refused} requests refused");

    // A start finds no room either, and serves what is there.
    server.kill();
    let more = system.path().join("more");
    take_the_rest(&more);
    server = place.start_unready();
    client.reconnect();
    client.check(true).await;

    std::fs::remove_file(&ballast).unwrap();
    std::fs::remove_file(&rest).unwrap();
    std::fs::remove_file(&more).unwrap();
    wait_until_ready(&server, true).await;
    // What the server knows of the room, which pushes need and readiness does not, is so old at most.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    client.failures_expected = false;
    for kind in [
        Kind::PushLarge,
        Kind::PushSmall,
        Kind::PushManifest(Repository::First),
    ] {
        let action = client.choose(kind).unwrap();
        client.perform(action).await.unwrap();
    }
    client.check(true).await;
    server.kill();
    server = place.start();
    client.reconnect();
    client.check(true).await;
    server.kill();
}
