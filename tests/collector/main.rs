//! The collector against clients that push, mount, ask for and pull what is about to go.
//!
//! What a client pushed, mounted or was told of is there when its manifest comes within the grace;
//! what a manifest is made of can be pulled; nothing that fails is the server's doing; no row points
//! at what is gone, at any time; and when all is deleted, nothing is left.
//!
//! `DRIFT_TEST_SEED` replays the clients' choices, as far as the scheduler lets it;
//! `DRIFT_TEST_PUSHES` sets how many pushes there are (4,000 by default, a million when
//! `DRIFT_TEST_LONG` is set).

#[path = "../crash/content.rs"]
mod content;
#[path = "../support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use drift::digest::Digest;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::json;

use content::{Content, sha256};
use support::{Server, drift, wait_for};

/// Clients at once.
const CLIENTS: u64 = 8;
/// As [`CLIENTS`], with `DRIFT_TEST_LONG`: so many that the server always has something to do.
const CLIENTS_LONG: u64 = 40;
/// Blobs that all clients take from: few, so that most are about to go somewhere.
const BLOBS: u64 = 40;
/// Images that a client keeps; with one more it deletes its oldest.
const KEPT: usize = 3;
const GRACE: Duration = Duration::from_millis(1500);
/// A client that was held up for longer than this has nothing to rely on.
const IN_TIME: Duration = Duration::from_millis(1200);
const SETTINGS: &[(&str, &str)] = &[
    ("DRIFT_GC_INTERVAL", "5ms"),
    ("DRIFT_GC_GRACE", "1500ms"),
    ("DRIFT_GC_KEEP_DELETED", "0s"),
    ("DRIFT_BACKUP_KEEP_HOURS", "0"),
    ("DRIFT_STORAGE_SCRUB_RATE", "0"),
];
/// Between two checks of all rows.
const VERIFY_PAUSE: Duration = Duration::from_secs(3);
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A blob of the common lot.
struct Blob {
    bytes: Bytes,
    digest: Digest,
}

/// The common lot, made once.
fn lot() -> Vec<Blob> {
    let made = (0..BLOBS).map(|number| {
        let length = match number % 10 {
            0..=6 => 100 + 700 * number as usize,
            7 | 8 => 70_000 + 1000 * number as usize,
            // A worker streams it to a pack of its own.
            _ => 300_000,
        };
        let bytes = Content::new(number + 1, length).bytes();
        Blob {
            digest: sha256(&bytes),
            bytes: bytes.into(),
        }
    });
    made.collect()
}

/// What all clients did.
#[derive(Default)]
struct Done {
    pushes: AtomicU64,
    told_by_head: AtomicU64,
    mounted: AtomicU64,
    uploaded: AtomicU64,
    pulled: AtomicU64,
    late: AtomicU64,
}

struct Pusher<'a> {
    http: Client,
    server: &'a Server,
    number: u64,
    /// How many there are.
    clients: u64,
    lot: &'a [Blob],
    random: StdRng,
    /// Digests of manifests that are there, oldest first, each with its blobs.
    images: VecDeque<(String, Vec<u64>)>,
    done: &'a Done,
}

impl Pusher<'_> {
    fn path(number: u64, rest: &str) -> String {
        format!("/v2/collected/{number}/{rest}")
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Response {
        let request = self.http.request(method.clone(), self.server.url(path));
        let request = request.header("content-type", MANIFEST).body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        assert!(!status.is_server_error(), "{method} {path}: {status}");
        answer
    }

    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Sees that the repository has the blob, in one of the ways that clients have.
    async fn provide(&mut self, number: u64) {
        let Blob { bytes, digest } = &self.lot[number as usize];
        let bytes = bytes.clone();
        match self.random.random_range(0..4) {
            0 | 1 => {
                let path = Self::path(self.number, &format!("blobs/{digest}"));
                let head = self.send(Method::HEAD, &path, Bytes::new()).await;
                if head.status() == StatusCode::OK {
                    return Self::count(&self.done.told_by_head);
                }
                assert_eq!(head.status(), StatusCode::NOT_FOUND);
            }
            2 => {
                let from = self.random.random_range(0..self.clients);
                let query = format!("blobs/uploads/?mount={digest}&from=collected/{from}");
                let path = Self::path(self.number, &query);
                let mount = self.send(Method::POST, &path, Bytes::new()).await;
                if mount.status() == StatusCode::CREATED {
                    return Self::count(&self.done.mounted);
                }
                // It goes on as an upload.
                assert_eq!(mount.status(), StatusCode::ACCEPTED);
                let location = mount.headers()["location"].to_str().unwrap();
                let path = format!("{location}?digest={digest}");
                let put = self.send(Method::PUT, &path, bytes).await;
                assert_eq!(put.status(), StatusCode::CREATED, "{path}");
                return Self::count(&self.done.uploaded);
            }
            _ => {}
        }
        let path = Self::path(self.number, &format!("blobs/uploads/?digest={digest}"));
        let post = self.send(Method::POST, &path, bytes).await;
        assert_eq!(post.status(), StatusCode::CREATED, "{path}");
        Self::count(&self.done.uploaded);
    }

    async fn push(&mut self) {
        let began = Instant::now();
        let mut blobs = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            let number = self.random.random_range(0..BLOBS);
            self.provide(number).await;
            blobs.push(number);
        }
        if self.random.random_range(0..20) == 0 {
            // Long enough for many collections, and within the grace.
            let pause = Duration::from_millis(self.random.random_range(0..800));
            tokio::time::sleep(pause).await;
        }
        let descriptors: Vec<_> = blobs
            .iter()
            .map(|number| {
                let Blob { bytes, digest } = &self.lot[*number as usize];
                json!({
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": digest,
                    "size": bytes.len(),
                })
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptors[0],
            "layers": descriptors,
            "annotations": { "nonce": self.random.next_u64().to_string() },
        })
        .to_string();
        let digest = sha256(manifest.as_bytes());
        let path = Self::path(self.number, &format!("manifests/{digest}"));
        let put = self.send(Method::PUT, &path, manifest.into()).await;
        let status = put.status();
        if began.elapsed() > IN_TIME && status == StatusCode::BAD_REQUEST {
            return Self::count(&self.done.late);
        }
        let said = put.text().await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{path}: {said}");
        self.images.push_back((digest.to_string(), blobs));
        Self::count(&self.done.pushes);
    }

    /// Pulls an image of its own, blob by blob.
    async fn pull(&mut self) {
        let at = self.random.random_range(0..self.images.len());
        let (digest, blobs) = self.images[at].clone();
        let path = Self::path(self.number, &format!("manifests/{digest}"));
        let manifest = self.send(Method::GET, &path, Bytes::new()).await;
        assert_eq!(manifest.status(), StatusCode::OK, "{path}");
        for number in blobs {
            let Blob { bytes, digest } = &self.lot[number as usize];
            let path = Self::path(self.number, &format!("blobs/{digest}"));
            let got = self.send(Method::GET, &path, Bytes::new()).await;
            assert_eq!(got.status(), StatusCode::OK, "{path}");
            assert!(got.bytes().await.unwrap() == bytes, "{path}");
        }
        Self::count(&self.done.pulled);
    }

    async fn delete_oldest(&mut self) {
        let (digest, _) = self.images.pop_front().unwrap();
        let path = Self::path(self.number, &format!("manifests/{digest}"));
        let deleted = self.send(Method::DELETE, &path, Bytes::new()).await;
        assert_eq!(deleted.status(), StatusCode::ACCEPTED, "{path}");
    }

    async fn work(mut self, pushes: u64) {
        while self.done.pushes.load(Ordering::Relaxed) < pushes {
            self.push().await;
            if !self.images.is_empty() && self.random.random_range(0..4) == 0 {
                self.pull().await;
            }
            while self.images.len() > KEPT {
                self.delete_oldest().await;
            }
        }
        while !self.images.is_empty() {
            self.delete_oldest().await;
        }
    }
}

/// Checks all rows again and again while clients work, until they are done; how often.
async fn verify_meanwhile(server: &Server, done: &Done, pushes: u64) -> u64 {
    let mut checks = 0;
    while done.pushes.load(Ordering::Relaxed) < pushes {
        let mut verify = command(server, &["verify"]);
        let verified = tokio::task::spawn_blocking(move || verify.output().unwrap());
        let verified = verified.await.unwrap();
        assert!(verified.status.success(), "{verified:?}");
        checks += 1;
        tokio::time::sleep(VERIFY_PAUSE).await;
    }
    checks
}

fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = drift();
    command.current_dir(server.directory()).args(arguments);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_rely_on_is_never_collected_and_the_rest_goes() {
    let seed = number("DRIFT_TEST_SEED").unwrap_or_else(rand::random);
    println!("DRIFT_TEST_SEED={seed}");
    let long = std::env::var_os("DRIFT_TEST_LONG").is_some();
    let pushes = number("DRIFT_TEST_PUSHES").unwrap_or(if long { 1_000_000 } else { 4_000 });
    let clients = if long { CLIENTS_LONG } else { CLIENTS };
    let server = Server::with(SETTINGS);
    // Until then everything counts as leased.
    tokio::time::sleep(GRACE).await;
    let (done, lot, began) = (Done::default(), lot(), Instant::now());
    let working = (0..clients).map(|number| {
        let pusher = Pusher {
            http: Client::new(),
            server: &server,
            number,
            clients,
            lot: &lot,
            random: StdRng::seed_from_u64(seed.wrapping_add(number)),
            images: VecDeque::new(),
            done: &done,
        };
        pusher.work(pushes)
    });
    let working = futures::future::join_all(working);
    let (_, checks) =
        futures::future::join(working, verify_meanwhile(&server, &done, pushes)).await;
    let took = began.elapsed().as_secs_f64();

    let catalog = wait_for("an empty registry", || {
        let text = server.raw("GET /v2/_catalog HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        text.contains(r#""repositories":[]"#).then_some(text)
    });
    assert!(catalog.starts_with("HTTP/1.1 200"));
    let verified = command(&server, &["verify", "--full"]).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let log = server.log();
    let collections = log.matches("collected ").count();
    let bad = log.lines().find(|line| line.contains("ERROR"));
    assert_eq!(bad, None);
    let rate = done.pushes.load(Ordering::Relaxed) as f64 / took;
    println!("{clients} clients: {took:.0} s, {rate:.0} pushes/s, {checks} checks meanwhile");
    println!(
        "{collections} collections took something beside {} pushes ({} blobs told of by HEAD, {} mounted, \
         {} uploaded), {} pulls; {} pushes were held up for longer than the grace",
        done.pushes.into_inner(),
        done.told_by_head.into_inner(),
        done.mounted.into_inner(),
        done.uploaded.into_inner(),
        done.pulled.into_inner(),
        done.late.into_inner()
    );
    assert!(collections as u64 >= pushes / 100, "{collections}");
    assert!(checks > 0);
}
