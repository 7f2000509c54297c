//! TLS: what is spoken, with which certificate, and who is turned away.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::tls::Version;
use reqwest::{Client, StatusCode};

use crate::certificates::{Authority, Files};
use crate::client::{bytes, digest_of};
use crate::start::failure;
use crate::support::{PATIENCE, Server, read_to_end, wait_for};

fn url(server: &Server, path: &str) -> String {
    format!("https://{}{path}", server.address())
}

async fn status(client: &Client, server: &Server) -> Result<StatusCode, reqwest::Error> {
    let answer = client.get(url(server, "/v2/")).send().await?;
    Ok(answer.status())
}

#[tokio::test]
async fn blobs_are_pushed_and_pulled_over_every_version_of_tls_and_http() {
    let authority = Authority::new("test");
    let server = Files::of(&authority.issue()).serve();
    let clients = [
        (authority.client(), http::Version::HTTP_2),
        (authority.client().http1_only(), http::Version::HTTP_11),
        (
            authority.client().tls_version_max(Version::TLS_1_2),
            http::Version::HTTP_2,
        ),
        (
            authority.client().tls_version_min(Version::TLS_1_3),
            http::Version::HTTP_2,
        ),
    ];
    for (number, (client, version)) in clients.into_iter().enumerate() {
        let client = client.build().unwrap();
        let blob = bytes(3_000_000 + number);
        let digest = digest_of(&blob);
        let upload = url(&server, &format!("/v2/a/blobs/uploads/?digest={digest}"));
        let answer = client.post(upload).body(blob.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let answer = client.get(url(&server, &format!("/v2/a/blobs/{digest}")));
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.version(), version);
        assert!(answer.bytes().await.unwrap() == blob);
    }
    let stranger = Authority::new("another").client().build().unwrap();
    assert!(status(&stranger, &server).await.is_err());
    assert_eq!(
        status(&authority.client().build().unwrap(), &server)
            .await
            .unwrap(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_taken_up_and_one_that_cannot_be_used_is_not() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::of(&old.issue());
    let server = files.serve();
    let trusts = async |authority: &Authority| {
        let client = authority.client().build().unwrap();
        status(&client, &server).await.is_ok()
    };
    assert!(trusts(&old).await && !trusts(&new).await);

    // One file of two, as a script that copies them leaves it for a moment.
    let (certificate, key) = new.issue();
    files.put("cert", &certificate);
    server.wait_for_log("the certificate stays as it was");
    assert!(trusts(&old).await && !trusts(&new).await);
    files.put("key", &key);
    server.wait_for_log("the certificate was replaced");
    assert!(trusts(&new).await && !trusts(&old).await);

    // Whatever comes instead, those who push go on.
    for (name, text) in [("key", "no key at all"), ("cert", "")] {
        let before = server.log().matches("stays as it was").count();
        files.put(name, text);
        wait_for("a refusal", || {
            (server.log().matches("stays as it was").count() > before).then_some(())
        });
        assert!(trusts(&new).await);
    }
    assert!(
        !server.log().contains("no key at all"),
        "a file's text is logged"
    );
}

#[test]
fn a_client_in_the_clear_is_told_and_one_that_says_nothing_is_not_waited_for() {
    let server = Files::of(&Authority::new("test").issue()).serve();
    let answer = server.raw("GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.contains("https://"), "{answer}");
    let length = format!("Content-Length: {}", body.len());
    assert!(head.contains(&length), "{answer}");

    // Nothing, and a record that never ends.
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut silent = server.connect();
        silent.write_all(begun).unwrap();
        let began = Instant::now();
        let mut rest = Vec::new();
        let _ = silent.read_to_end(&mut rest);
        assert!(began.elapsed() < PATIENCE, "the connection stays open");
        assert!(began.elapsed() > Duration::from_millis(900));
    }
    // What is no TLS at all ends at once.
    let mut garbage = server.connect();
    garbage.write_all(&[0; 512]).unwrap();
    read_to_end(&mut garbage);
}

fn refused(cert: &Path, key: Option<&Path>) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut variables = vec![
        ("DRIFT_SERVER_API_PORT", "0"),
        ("DRIFT_SERVER_UI_ENABLED", "false"),
    ];
    variables.push(("DRIFT_TLS_CERT", cert.to_str().unwrap()));
    variables.extend(key.map(|key| ("DRIFT_TLS_KEY", key.to_str().unwrap())));
    failure(directory.path(), &[], &variables)
}

#[test]
fn a_start_with_files_that_cannot_be_used_says_which_and_why() {
    let authority = Authority::new("test");
    let files = Files::of(&authority.issue());
    let (cert, key) = (files.path("cert"), files.path("key"));
    assert!(refused(&cert, None).contains("[tls] key"));
    let missing = files.path("missing");
    let said = refused(&missing, Some(&key));
    assert!(
        said.contains("cannot read") && said.contains("missing"),
        "{said}"
    );
    let said = refused(&key, Some(&key));
    assert!(said.contains("holds no certificate"), "{said}");
    let said = refused(&cert, Some(&cert));
    assert!(said.contains("holds no key"), "{said}");
    files.put("key", &authority.issue().1);
    let said = refused(&cert, Some(&key));
    assert!(said.contains("cannot be used"), "{said}");
    assert!(said.contains("DRIFT_TLS_CERT"), "{said}");
}
