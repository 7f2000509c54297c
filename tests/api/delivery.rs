//! How blobs get to clients: sent by the kernel in the clear, read into memory elsewhere, and the same
//! bytes each time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Client;
use rustix::fs::{Advice, fadvise};
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use rustix::net::{AddressFamily, SocketType, connect, socket};

use crate::certificates::{Authority, Files};
use crate::client::{Registry, bytes, digest_of};
use crate::support::{PATIENCE, Server, drift, said, wait_for};

const MIB: usize = 1 << 20;

/// Lengths about the borders of pieces, windows and what is sent at once.
const LENGTHS: [usize; 9] = [
    1,
    32 << 10,
    (128 << 10) + 1,
    256 << 10,
    MIB - 1,
    MIB,
    MIB + 1,
    5 * MIB,
    (9 << 20) + 77,
];

fn packs(directory: &Path) -> Vec<PathBuf> {
    let packs = std::fs::read_dir(directory.join("drift-data/packs")).unwrap();
    packs.map(|entry| entry.unwrap().path()).collect()
}

/// Has the system forget what it holds of the packs in memory.
fn cool(directory: &Path) {
    for pack in packs(directory) {
        let file = std::fs::File::open(pack).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The head and body of the next answer on a connection.
fn answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

/// A client that takes little at once.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&socket, 4096).unwrap();
    connect(&socket, &address).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_gives_the_same_bytes_warm_and_cold() {
    let authority = Authority::new("test");
    let secure = Files::of(&authority.issue()).serve();
    let clear = Server::start();
    let http2 = Client::builder().http2_prior_knowledge().build().unwrap();
    let ways = [
        ("http", &clear, Client::new()),
        ("http", &clear, http2),
        ("https", &secure, authority.client().build().unwrap()),
        (
            "https",
            &secure,
            authority.client().http1_only().build().unwrap(),
        ),
    ];
    let contents: Vec<_> = LENGTHS.into_iter().map(bytes).collect();
    for (scheme, server, client) in &ways {
        let url = |path: String| format!("{scheme}://{}{path}", server.address());
        for content in &contents {
            let digest = digest_of(content);
            let push = url(format!("/v2/a/blobs/uploads/?digest={digest}"));
            let pushed = client
                .post(push)
                .body(content.clone())
                .send()
                .await
                .unwrap();
            assert_eq!(pushed.status(), 201);
        }
        for round in 0..3 {
            if round == 2 {
                cool(server.directory());
            }
            for content in &contents {
                let path = url(format!("/v2/a/blobs/{}", digest_of(content)));
                let pulled = client.get(&path).send().await.unwrap();
                assert!(
                    pulled.bytes().await.unwrap() == content[..],
                    "{scheme} {round}"
                );
                let (first, last) = (content.len() / 3, content.len() * 3 / 4);
                let range = format!("bytes={first}-{last}");
                let part = client
                    .get(&path)
                    .header("range", range)
                    .send()
                    .await
                    .unwrap();
                assert_eq!(part.status(), 206);
                assert!(part.bytes().await.unwrap() == content[first..=last]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_files_and_of_memory_share_a_connection() {
    let registry = Registry::start();
    let large = bytes(3 * MIB + 5);
    registry.push_image("a", "t", &large).await;
    let blob = format!("/v2/a/blobs/{}", digest_of(&large));
    let manifest = registry.get("/v2/a/manifests/t").await.expect(200).body;
    // All at once, so that heads and bodies of several answers wait together.
    let mut stream = registry.server.connect();
    let requests: String = (0..20)
        .map(|number| match number % 3 {
            0 => get("/v2/a/manifests/t"),
            1 => get(&blob),
            _ => get("/v2/nothing/manifests/t"),
        })
        .collect();
    stream.write_all(requests.as_bytes()).unwrap();
    for number in 0..20 {
        let (head, body) = answer(&mut stream);
        match number % 3 {
            0 => assert!(body == manifest, "{head}"),
            1 => assert!(body == large, "{head}"),
            _ => assert!(head.starts_with("HTTP/1.1 404"), "{head}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_deleted_and_given_back_while_it_is_pulled_arrives_whole() {
    let keep_nothing = [("DRIFT_BACKUP_KEEP_HOURS", "0")];
    let registry = Registry::with(&keep_nothing);
    let large = bytes(24 * MIB);
    // What stays keeps the pack from going as a whole.
    registry.push_blob("a", &bytes(2 * MIB)).await;
    let digest = registry.push_blob("a", &large).await;
    let path = format!("/v2/a/blobs/{digest}");
    let mut slow = narrow(registry.server.address());
    slow.write_all(get(&path).as_bytes()).unwrap();
    let mut taken = vec![0; 1000];
    slow.read_exact(&mut taken).unwrap();
    // One whose end is in the socket already.
    let mut ended = registry.server.connect();
    let tail = format!("GET {path} HTTP/1.1\r\nHost: a\r\nRange: bytes=-50000\r\n\r\n");
    ended.write_all(tail.as_bytes()).unwrap();
    registry.send("DELETE", &path, &[], "").await.expect(202);
    let mut compact = drift();
    compact
        .arg("compact")
        .current_dir(registry.server.directory());
    println!("{}", said(&compact.output().unwrap()));
    registry.get(&path).await.expect(404);
    read_rest(&mut slow, &mut taken, large.len());
    let body = taken.len() - large.len();
    assert!(taken[body..] == large);
    let (_, part) = answer(&mut ended);
    assert!(part == large[large.len() - 50_000..]);
}

/// Reads on until the head and `body` bytes behind it are there, little by little at first.
fn read_rest(stream: &mut TcpStream, taken: &mut Vec<u8>, body: usize) {
    let head = taken.windows(4).position(|end| end == b"\r\n\r\n");
    let head = head.unwrap() + 4;
    for _ in 0..20 {
        let mut some = [0; 3000];
        let read = stream.read(&mut some).unwrap();
        taken.extend_from_slice(&some[..read]);
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut rest = vec![0; head + body - taken.len()];
    stream.read_exact(&mut rest).unwrap();
    taken.extend(rest);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_break_off_leave_nothing_behind() {
    let registry = Registry::start();
    let large = bytes(16 * MIB);
    let digest = registry.push_blob("a", &large).await;
    let path = format!("/v2/a/blobs/{digest}");
    let descriptors = format!("/proc/{}/fd", registry.server.process_id());
    let open = || std::fs::read_dir(&descriptors).unwrap().count();
    registry.get(&path).await.expect(200);
    let before = open();
    for number in 0..100 {
        let mut stream = narrow(registry.server.address());
        stream.write_all(get(&path).as_bytes()).unwrap();
        let mut some = vec![0; number * 400];
        stream.read_exact(&mut some).unwrap();
        if number % 2 == 0 {
            // With a reset, not in peace.
            set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        }
    }
    wait_for("the connections to be closed", || {
        (open() <= before).then_some(())
    });
    assert!(registry.get(&path).await.expect(200).body == large);
}

/// A byte that changes on the disk below a page cache that has let go of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_rots_on_the_disk_is_seen_by_the_pull_that_reads_it_from_there() {
    let registry = Registry::start();
    let large = bytes(6 * MIB);
    let digest = registry.push_blob("a", &large).await;
    let path = format!("/v2/a/blobs/{digest}");
    assert!(registry.get(&path).await.expect(200).body == large);
    let directory = registry.server.directory().to_owned();
    let needle = &large[3 * MIB..3 * MIB + 64];
    let pack = packs(&directory)
        .into_iter()
        .find_map(|pack| {
            let content = std::fs::read(&pack).unwrap();
            let at = content.windows(64).position(|window| window == needle)?;
            Some((pack, at as u64))
        })
        .unwrap();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&pack.0)
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[!needle[0]], pack.1).unwrap();
    cool(&directory);
    let url = registry.server.url(&path);
    let broken = Client::new().get(url).send().await.unwrap().bytes().await;
    if broken.as_ref().is_ok_and(|_| is_kept_in_memory(&pack.0)) {
        println!("left out: this file system keeps all in memory");
        return;
    }
    assert!(broken.is_err(), "damaged bytes were served");
    wait_for("the damage to be noted", || {
        registry
            .server
            .log()
            .contains("stored bytes are damaged")
            .then_some(())
    });
}

/// Whether the system lets go of nothing of a file, as on a tmpfs.
fn is_kept_in_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == 0x0102_1994)
}
