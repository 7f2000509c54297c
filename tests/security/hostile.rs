//! Thousands of clients that are slow, or silent, or read nothing, beside a few that push and pull.
//!
//! What the good ones' requests take is printed; whoever measures runs it alone. `DRIFT_TEST_HOSTILE` sets
//! how many come (2,000).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{bytes, digest_of};
use crate::place::{Caller, Place};
use crate::support::{PATIENCE, Server};

const GOOD: usize = 4;
/// Rounds of each good client, of three requests each.
const ROUNDS: usize = 250;
/// How long one may stand still here.
const STALL: Duration = Duration::from_secs(3);

/// What a server may hold, in KiB, and how much more for each transfer.
const MEMORY_KIB: u64 = 64 << 10;
const TRANSFER_KIB: u64 = 256;

/// What an attacker does with a connection.
#[derive(Clone, Copy)]
enum Kind {
    Silent,
    /// A byte of its head each second.
    SlowHead,
    /// A byte of a blob each second.
    SlowBody,
    /// Asks for a blob and takes nothing of it.
    DeafReader,
    /// Begins HTTP/2, and no more.
    SilentHttp2,
}

const KINDS: [Kind; 5] = [
    Kind::Silent,
    Kind::SlowHead,
    Kind::SlowBody,
    Kind::DeafReader,
    Kind::SilentHttp2,
];

/// What became of the attackers' connections.
#[derive(Default)]
struct Tally {
    present: AtomicUsize,
    closed: AtomicUsize,
    refused: AtomicUsize,
}

struct Target {
    address: SocketAddr,
    authorization: String,
    blob: String,
    tally: Tally,
    over: AtomicBool,
}

async fn attack(target: Arc<Target>, kind: Kind) {
    while !target.over.load(Ordering::Relaxed) {
        let Ok(stream) = connect(target.address).await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        target.tally.present.fetch_add(1, Ordering::Relaxed);
        let answer = once(&target, kind, stream).await;
        target.tally.present.fetch_sub(1, Ordering::Relaxed);
        let refused = answer.starts_with(b"HTTP/1.1 503") || answer.starts_with(b"HTTP/1.1 429");
        let count = match refused {
            true => &target.tally.refused,
            false => &target.tally.closed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// With little room for what comes, so that who reads nothing holds it up.
async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    socket.connect(address).await
}

/// One connection, until the server ends it or all is over; the beginning of what it said.
async fn once(target: &Target, kind: Kind, mut stream: TcpStream) -> Vec<u8> {
    let Target {
        authorization,
        blob,
        ..
    } = target;
    let begin = match kind {
        Kind::Silent => String::new(),
        Kind::SlowHead => "GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Slow: ".to_owned(),
        Kind::SlowBody => format!(
            "POST /v2/good/blobs/uploads/?digest={blob} HTTP/1.1\r\nHost: a\r\n\
             Authorization: {authorization}\r\nContent-Length: 1000000\r\n\r\n"
        ),
        Kind::DeafReader => format!(
            "GET /v2/good/blobs/{blob} HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n\r\n"
        ),
        Kind::SilentHttp2 => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    };
    let mut said = Vec::new();
    if stream.write_all(begin.as_bytes()).await.is_err() {
        return said;
    }
    while !target.over.load(Ordering::Relaxed) {
        let second = Duration::from_secs(1);
        match kind {
            Kind::DeafReader => {
                tokio::time::sleep(second).await;
                // The system tells an end that nobody has read up to by an error alone.
                if stream.take_error().ok().flatten().is_some()
                    || stream.write_all(b"").await.is_err()
                {
                    return said;
                }
                if stream
                    .ready(tokio::io::Interest::READABLE)
                    .await
                    .is_ok_and(|it| it.is_read_closed())
                {
                    return said;
                }
            }
            _ => {
                let mut some = [0; 256];
                match tokio::time::timeout(second, stream.read(&mut some)).await {
                    Ok(Ok(0) | Err(_)) => return said,
                    Ok(Ok(count)) if said.len() < 64 => said.extend(&some[..count]),
                    _ => {}
                }
                let drips = matches!(kind, Kind::SlowHead | Kind::SlowBody);
                if drips && stream.write_all(b"x").await.is_err() {
                    return said;
                }
            }
        }
    }
    said
}

/// How long each request of the good clients took, in order.
async fn good(place: &Arc<Place>, caller: &Caller, phase: usize) -> Vec<Duration> {
    let clients = (0..GOOD).map(|client| {
        let (place, caller) = (place.clone(), caller.clone());
        tokio::spawn(async move {
            let mut took = Vec::new();
            for round in 0..ROUNDS {
                let content = format!("{phase} {client} {round}").into_bytes();
                let began = Instant::now();
                place.push_blob(&caller, "good", &content).await.expect(201);
                took.push(began.elapsed());
                for path in ["/v2/good/manifests/t", "/v2/good/tags/list"] {
                    let began = Instant::now();
                    place.get(&caller, path).await.expect(200);
                    took.push(began.elapsed());
                }
            }
            took
        })
    });
    let mut all = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        all.extend(client.await.unwrap());
    }
    all.sort();
    all
}

/// Resident memory, in KiB: now, or the most that there was.
fn memory(server: &Server, key: &str) -> u64 {
    let status = format!("/proc/{}/status", server.process_id());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_slow_and_silent_clients_leave_the_good_ones_be() {
    let hostile = std::env::var("DRIFT_TEST_HOSTILE").ok();
    let hostile: usize = hostile.map_or(2000, |count| count.parse().unwrap());
    let stall = format!("{}s", STALL.as_secs());
    // Room for all: one that is let in and takes its time is not told from an attacker.
    let places = (hostile + 1000).to_string();
    let variables = [
        ("DRIFT_SERVER_CONNECTIONS_MAX", places.as_str()),
        ("DRIFT_SERVER_HEADER_TIMEOUT", &stall),
        ("DRIFT_SERVER_BODY_TIMEOUT", &stall),
        ("RUST_LOG", "warn,drift::app=info"),
    ];
    let place = Arc::new(Place::with(&variables, &["allow user:good pull,push good"]));
    let caller = place.user("good", &[]);
    let large = bytes(8 << 20);
    place.push_image(&caller, "good", "t", &large).await;
    let server = &place.registry.server;
    let calm = good(&place, &caller, 0).await;
    let before = memory(server, "VmRSS:");

    let target = Arc::new(Target {
        address: server.address(),
        authorization: caller.0.clone().unwrap(),
        blob: digest_of(&large).to_string(),
        tally: Tally::default(),
        over: AtomicBool::new(false),
    });
    let attackers: Vec<_> = (0..hostile)
        .map(|number| tokio::spawn(attack(target.clone(), KINDS[number % KINDS.len()])))
        .collect();
    let began = Instant::now();
    while target.tally.present.load(Ordering::Relaxed) < hostile * 9 / 10 {
        assert!(began.elapsed() < PATIENCE, "the attackers do not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut stormy = Vec::new();
    let mut phase = 1;
    // For long enough that what stands still is to be ended.
    while began.elapsed() < STALL * 2 {
        stormy.extend(good(&place, &caller, phase).await);
        phase += 1;
    }
    stormy.sort();
    let of = |took: &[Duration], hundredth: usize| took[(took.len() - 1) * hundredth / 100];
    let peak = memory(server, "VmHWM:");
    let tally = &target.tally;
    println!(
        "{hostile} hostile clients; ended {}, refused {}; P50 {:?} -> {:?}, P99 {:?} -> {:?} of {} requests; \
         memory {} KiB -> {} KiB at the peak",
        tally.closed.load(Ordering::Relaxed),
        tally.refused.load(Ordering::Relaxed),
        of(&calm, 50),
        of(&stormy, 50),
        of(&calm, 99),
        of(&stormy, 99),
        stormy.len(),
        before,
        peak,
    );
    // Of five kinds, one has an upload and one a pull.
    let transfers = (hostile * 2 / 5 + GOOD) as u64;
    let most = MEMORY_KIB + TRANSFER_KIB * transfers;
    assert!(peak < most, "{peak} KiB for {transfers} transfers");
    // Three of five stood still for too long.
    assert!(tally.closed.load(Ordering::Relaxed) >= hostile * 2 / 5);

    target.over.store(true, Ordering::Relaxed);
    for attacker in attackers {
        attacker.await.unwrap();
    }
    // It is all over, and nothing of it stays.
    let began = Instant::now();
    let admin = place.admin();
    loop {
        let figures = place.get(&admin, "/metrics").await.expect(200).body;
        let figures = String::from_utf8(figures).unwrap();
        let mut lines = figures.lines();
        let left = lines
            .find_map(|line| line.strip_prefix("drift_connections "))
            .unwrap();
        if left.parse::<usize>().unwrap() <= GOOD + 1 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{left} connections stay");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
