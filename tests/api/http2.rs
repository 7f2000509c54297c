//! HTTP/2 in the clear, frame by frame: what a client library would not send.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::client::{Registry, bytes};
use crate::support::Server;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `GET /` over `http`, from the static table of RFC 7541, and a path of its own.
fn head(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path.as_bytes());
    block
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn connect(server: &Server) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    stream
}

/// The next frame: its kind, stream and payload; `None` at the end of the connection.
fn read_frame(stream: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).ok()?;
    let id = u32::from_be_bytes(head[5..9].try_into().unwrap());
    Some((head[3], id, payload))
}

#[test]
fn requests_share_a_connection() {
    let server = Server::start();
    let mut stream = connect(&server);
    for id in [1, 3, 5] {
        let request = frame(HEADERS, END_STREAM | END_HEADERS, id, &head("/v2/"));
        stream.write_all(&request).unwrap();
    }
    let mut bodies = 0;
    while bodies < 3 {
        let (kind, _, payload) = read_frame(&mut stream).unwrap();
        if kind == DATA && !payload.is_empty() {
            assert_eq!(payload, b"{}");
            bodies += 1;
        }
    }
}

#[test]
fn a_head_answered_to_head_has_no_body() {
    let server = Server::start();
    let mut stream = connect(&server);
    // HEAD is not in the static table: a literal value for `:method` (index 2).
    let mut block = vec![0x02, 4];
    block.extend_from_slice(b"HEAD");
    block.extend([0x86, 0x04, 4]);
    block.extend_from_slice(b"/v2/");
    stream
        .write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block))
        .unwrap();
    loop {
        let (kind, id, payload) = read_frame(&mut stream).unwrap();
        assert!(kind != DATA || payload.is_empty(), "a body: {payload:?}");
        if kind == HEADERS && id == 1 {
            break;
        }
    }
}

/// Sends frames until the server has had enough, and says how it ended.
fn flood(server: &Server, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
    let mut stream = connect(server);
    let mut reader = stream.try_clone().unwrap();
    let watcher = std::thread::spawn(move || {
        while let Some((kind, ..)) = read_frame(&mut reader) {
            if kind == GOAWAY {
                return true;
            }
        }
        true
    });
    for round in 0..200_000 {
        if stream.write_all(&next(round)).is_err() || watcher.is_finished() {
            return watcher.join().unwrap();
        }
    }
    false
}

#[test]
fn floods_end_the_connection() {
    let server = Server::start();
    let reset = flood(&server, |round| {
        let id = 2 * round + 1;
        let mut frames = frame(HEADERS, END_HEADERS, id, &head("/v2/"));
        frames.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        frames
    });
    assert!(reset, "a rapid reset was suffered");
    let continued = flood(&server, |round| match round {
        0 => frame(HEADERS, 0, 1, &head("/v2/")),
        _ => frame(CONTINUATION, 0, 1, &[0x00, 1, b'a', 1, b'b']),
    });
    assert!(continued, "endless headers were suffered");
    let empty = flood(&server, |round| match round {
        0 => frame(HEADERS, END_HEADERS, 1, &head("/v2/")),
        _ => frame(DATA, 0, 1, &[]),
    });
    assert!(empty, "endless empty data was suffered");
    assert!(
        server
            .raw("GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .contains("200 OK")
    );
}

#[test]
fn an_answer_that_the_client_does_not_take_is_dropped() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let registry = Registry::with(&[("DRIFT_SERVER_BODY_TIMEOUT", "1s")]);
    let digest = runtime.block_on(registry.push_blob("a", &bytes(8 << 20)));
    let mut stream = connect(&registry.server);
    let path = format!("/v2/a/blobs/{digest}");
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head(&path));
    stream.write_all(&request).unwrap();
    // The client opens its window no further than the 64 KiB that it has at the start,
    // while its connection takes whatever comes.
    while read_frame(&mut stream).is_some() {}
    let log = registry.server.wait_for_log("cut_off=true");
    assert!(log.contains(&path));
}

#[tokio::test]
async fn what_came_of_a_piece_is_kept_when_its_stream_is_reset() {
    let registry = Registry::start();
    let location = registry.begin("test/reset").await;
    let mut stream = connect(&registry.server);
    // PATCH is not in the static table: a literal value for `:method` (index 2).
    let mut block = vec![0x02, 5];
    block.extend_from_slice(b"PATCH");
    block.extend([0x86, 0x04, u8::try_from(location.len()).unwrap()]);
    block.extend_from_slice(location.as_bytes());
    stream
        .write_all(&frame(HEADERS, END_HEADERS, 1, &block))
        .unwrap();
    stream.write_all(&frame(DATA, 0, 1, &bytes(1000))).unwrap();
    // The piece must have been read before the reset throws away what was not.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let cancel = 8u32.to_be_bytes();
    stream.write_all(&frame(RST_STREAM, 0, 1, &cancel)).unwrap();
    crate::support::wait_for("the piece to be kept", || {
        let range = registry.server.raw(format!(
            "GET {location} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ));
        range.contains("range: 0-999\r\n").then_some(())
    });
}
