//! The end: of a client in the middle of an upload, and of the server.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Server, read_to_end, wait_for};
use crate::transport::{GET, begin_upload, read_answer};

/// A transfer that is under way when the signal comes.
fn upload_under_way(server: &Server) -> (TcpStream, String) {
    let location = begin_upload(server);
    let mut stream = server.connect();
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234");
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    (stream, location)
}

#[test]
fn an_upload_whose_client_goes_away_keeps_its_bytes() {
    let server = Server::start();
    let status = |location: &str| {
        server.raw(format!(
            "GET {location} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ))
    };
    let (stream, location) = upload_under_way(&server);
    drop(stream);
    wait_for("the end of the upload", || {
        status(&location).contains("range: 0-4\r\n").then_some(())
    });
    // With this option a close is a reset.
    let (stream, location) = upload_under_way(&server);
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    wait_for("the end of the upload", || {
        status(&location).contains("range: 0-4\r\n").then_some(())
    });
}

#[test]
fn a_stop_lets_transfers_finish() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start();
        let mut idle = server.connect();
        idle.write_all(GET.as_bytes()).unwrap();
        read_answer(&mut idle);
        let (mut stream, _) = upload_under_way(&server);
        server.signal(signal);
        server.wait_for_log("transfers may go on");
        // Idle connections are closed, new ones refused by the system.
        assert_eq!(read_to_end(&mut idle), "");
        assert!(TcpStream::connect(server.address()).is_err());
        assert!(!server.has_ended());
        stream.write_all(b"56789").unwrap();
        let answer = read_to_end(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        assert!(answer.contains("range: 0-9\r\n"), "{answer}");
        assert!(server.wait().success());
        assert!(server.log().contains("stopped"));
    }
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        Server::builder()
            .directory(directory.path())
            .variables(&[("DRIFT_SERVER_SHUTDOWN_TIMEOUT", "1s")])
            .start()
    };
    let mut server = start();
    let (mut stream, location) = upload_under_way(&server);
    let began = Instant::now();
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "it waited {:?}",
        began.elapsed()
    );
    read_to_end(&mut stream);
    // What had arrived is kept, and the upload goes on where it stopped.
    let server = start();
    let status = server.raw(format!(
        "GET {location} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ));
    assert!(status.contains("range: 0-4\r\n"), "{status}");
}
