//! Connections: limits, time limits, requests in disguise, and the end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::client::{Registry, bytes, digest_of};
use crate::support::{PATIENCE, Server, read_to_end, wait_for};

pub const GET: &str = "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n";

/// Reads one answer with a `Content-Length`, head and body, and leaves the connection open.
pub fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer.clone()).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    answer.extend(body);
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn begin_upload(server: &Server) -> String {
    let answer = server.raw(
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let line = answer
        .lines()
        .find(|line| line.starts_with("location: "))
        .unwrap();
    line["location: ".len()..].to_owned()
}

#[test]
fn a_request_in_disguise_is_refused_or_ends_the_connection() {
    let server = Server::start();
    // What follows the first request would be read as a second by a server that trusts the
    // other header.
    let hidden = "GET /v2/_catalog HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunked = format!("0\r\n\r\n{hidden}");
    for (what, request) in [
        (
            "Content-Length before Transfer-Encoding",
            format!(
                "POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}",
                chunked.len()
            ),
        ),
        (
            "Transfer-Encoding before Content-Length",
            format!(
                "POST /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n{chunked}",
                chunked.len()
            ),
        ),
        (
            "two lengths",
            format!(
                "POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n{hidden}"
            ),
        ),
        (
            "two lengths in one",
            format!("POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 5\r\n\r\n{hidden}"),
        ),
        (
            "a signed length",
            format!("POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n{hidden}"),
        ),
        (
            "an encoding that is not the last",
            format!(
                "POST /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n{chunked}"
            ),
        ),
        (
            "an encoding of its own",
            format!(
                "POST /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n{chunked}"
            ),
        ),
        (
            "a space before the colon",
            format!(
                "POST /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n{hidden}"
            ),
        ),
        (
            "a chunked body in HTTP/1.0",
            format!("POST /v2/ HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        ),
    ] {
        let answer = server.raw(&request);
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{what}: {answer}");
        assert!(!answer.contains("repositories"), "{what}: {answer}");
    }
}

#[test]
fn a_connection_serves_many_requests() {
    let server = Server::start();
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).unwrap();
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200"));
    }
    // Two at once, in order.
    stream
        .write_all(format!("{GET}GET /v2/_catalog HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
        .unwrap();
    assert!(read_answer(&mut stream).ends_with("{}"));
    assert!(read_answer(&mut stream).contains("repositories"));
    // A client may end its side and still read its answer.
    stream.write_all(GET.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&mut stream).starts_with("HTTP/1.1 200"));
}

#[test]
fn heads_are_limited() {
    let server = Server::start();
    let many = "X-A: b\r\n".repeat(200);
    let answer = server.raw(format!("GET /v2/ HTTP/1.1\r\nHost: a\r\n{many}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let long = "x".repeat(256 * 1024);
    let answer = server.raw(format!(
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nX-A: {long}\r\n\r\n"
    ));
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer = server.raw(format!("GET /v2/{long} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let answer = server.raw("\u{16}\u{3}\u{1} this is no HTTP\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[test]
fn a_client_that_is_slow_with_its_head_is_cut_off() {
    let server = Server::with(&[("DRIFT_SERVER_HEADER_TIMEOUT", "1s")]);
    let began = Instant::now();
    // Silent from the start, and with half a head.
    let mut silent = server.connect();
    let mut half = server.connect();
    half.write_all(b"GET /v2/ HTTP/1.1\r\nHo").unwrap();
    assert_eq!(read_to_end(&mut silent), "");
    assert_eq!(read_to_end(&mut half), "");
    // A byte every so often is no more of a head.
    let mut dripping = server.connect();
    let began_dripping = Instant::now();
    for byte in format!("GET /v2/ HTTP/1.1\r\nX: {}", "a".repeat(1000)).bytes() {
        if dripping.write_all(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        assert!(
            began_dripping.elapsed() < Duration::from_secs(5),
            "still not cut off"
        );
    }
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(began.elapsed() < PATIENCE);
    assert!(
        server
            .raw("GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .contains("200 OK")
    );
}

#[test]
fn an_idle_connection_is_closed() {
    let server = Server::with(&[
        ("DRIFT_SERVER_IDLE_TIMEOUT", "1s"),
        ("DRIFT_SERVER_HEADER_TIMEOUT", "30s"),
    ]);
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).unwrap();
        read_answer(&mut stream);
        std::thread::sleep(Duration::from_millis(600));
    }
    let began = Instant::now();
    assert_eq!(read_to_end(&mut stream), "");
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "closed after {:?}",
        began.elapsed()
    );
}

#[test]
fn an_upload_that_stands_still_is_ended_and_keeps_its_bytes() {
    let server = Server::with(&[("DRIFT_SERVER_BODY_TIMEOUT", "1s")]);
    let location = begin_upload(&server);
    let mut stream = server.connect();
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // As long as a byte comes, however few, it goes on.
    for _ in 0..4 {
        stream.write_all(b"x").unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
    let answer = read_to_end(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("within 1 s"), "{answer}");
    let status = server.raw(format!(
        "GET {location} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ));
    assert!(status.contains("range: 0-3\r\n"), "{status}");

    let mut stream = server.connect();
    let head = "PUT /v2/a/manifests/t HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    let answer = read_to_end(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[test]
fn a_client_that_reads_nothing_is_dropped() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let content = bytes(32 << 20);
    let registry = Registry::with(&[("DRIFT_SERVER_BODY_TIMEOUT", "1s")]);
    let digest = runtime.block_on(registry.push_blob("a", &content));
    let mut stream = registry.server.connect();
    let request = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    // Long before the client begins to read, its request is over and in the log.
    let log = registry.server.wait_for_log("cut_off=true");
    let line = log
        .lines()
        .find(|line| line.contains("cut_off=true"))
        .unwrap();
    assert!(line.contains(&digest.to_string()), "{line}");
    assert!(read_to_end(&mut stream).len() < content.len());
}

#[test]
fn a_slow_reader_that_goes_on_reading_gets_everything() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let content = bytes(24 << 20);
    let registry = Registry::with(&[
        ("DRIFT_SERVER_BODY_TIMEOUT", "1s"),
        ("DRIFT_SERVER_IDLE_TIMEOUT", "1s"),
    ]);
    let digest = runtime.block_on(registry.push_blob("a", &content));
    let mut stream = registry.server.connect();
    let request =
        format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut got = Vec::new();
    let mut piece = vec![0; 4 << 20];
    loop {
        let read = stream.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        got.extend_from_slice(&piece[..read]);
        if got.len() % (1 << 20) < 65536 {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    assert!(got.ends_with(&content[content.len() - 1000..]));
    assert!(got.len() > content.len());
}

/// A connection with an upload that has begun and does not go on.
fn busy(server: &Server) -> TcpStream {
    wait_for("a free place", || {
        let mut stream = server.connect();
        let digest = digest_of(b"");
        let head = format!(
            "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let answer = read_answer(&mut stream);
        answer.starts_with("HTTP/1.1 100").then_some(stream)
    })
}

#[test]
fn a_connection_too_many_is_told_so() {
    let server = Server::with(&[("DRIFT_SERVER_CONNECTIONS_MAX", "3")]);
    let mut held: Vec<_> = (0..3).map(|_| busy(&server)).collect();
    std::thread::sleep(Duration::from_millis(1100));
    for _ in 0..5 {
        let answer = server.raw(GET);
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.contains("3 connections") && answer.contains("TOOMANYREQUESTS"),
            "{answer}"
        );
        assert!(answer.contains("Retry-After: 1\r\n"), "{answer}");
    }
    // Those that are in go on, and a place that comes free is given away.
    let mut first = held.remove(0);
    first.write_all(b"not empty").unwrap();
    assert!(read_answer(&mut first).starts_with("HTTP/1.1 400"));
    drop(first);
    wait_for("a free place", || {
        let answer = server.raw("GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        answer.starts_with("HTTP/1.1 200").then_some(())
    });
}

#[test]
fn connections_without_a_request_make_room_for_one_that_has() {
    let server = Server::with(&[("DRIFT_SERVER_CONNECTIONS_MAX", "3")]);
    let mut working = busy(&server);
    let mut half = server.connect();
    half.write_all(b"GET /v2/ HT").unwrap();
    let mut idle = wait_for("a free place", || {
        let mut stream = server.connect();
        stream.write_all(GET.as_bytes()).unwrap();
        let answer = read_answer(&mut stream);
        answer.starts_with("HTTP/1.1 200").then_some(stream)
    });
    std::thread::sleep(Duration::from_millis(1100));
    let mut newcomers = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect();
        stream.write_all(GET.as_bytes()).unwrap();
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200"));
        newcomers.push(stream);
    }
    assert_eq!(read_to_end(&mut idle), "");
    assert_eq!(read_to_end(&mut half), "");
    // The one with a request has not been disturbed.
    working.write_all(b"not empty").unwrap();
    assert!(read_answer(&mut working).starts_with("HTTP/1.1 400"));
}

#[test]
fn a_refused_push_gets_its_answer_though_nobody_reads_its_body() {
    let server = Server::start();
    let digest = digest_of(b"");
    let mut stream = server.connect();
    let head = format!(
        "PUT /v2/UPPER/blobs/uploads/x?digest={digest} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let piece = vec![0; 65536];
    // The client goes on sending for a while before it looks, as many do. A reset in answer to
    // that would be all that it learns.
    for _ in 0..100 {
        stream.write_all(&piece).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let answer = read_to_end(&mut stream);
    assert!(answer.contains("NAME_INVALID"), "{answer:?}");
    assert!(answer.contains("connection: close\r\n"), "{answer:?}");
}
