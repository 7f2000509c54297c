//! CVE-2020-29662 and its kind: a spelling of a path that authorization reads in another way than
//! what answers it.

use std::collections::BTreeSet;

use crate::client::digest_of;
use crate::place::{Caller, Place, STRANGER};

fn status(place: &Place, caller: &Caller, method: &str, path: &str) -> u16 {
    let authorization = caller
        .0
        .as_ref()
        .map(|it| format!("Authorization: {it}\r\n"));
    let authorization = authorization.unwrap_or_default();
    // Raw, because a client library would tidy these up.
    let answer = place.registry.server.raw(format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\n{authorization}Connection: close\r\nContent-Length: 0\r\n\r\n"
    ));
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Every way to write a path that some server takes for the same.
fn spellings(path: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let tail = path.strip_prefix("/v2/").unwrap();
    all.insert(format!("/v2//{tail}"));
    all.insert(format!("//v2/{tail}"));
    all.insert(format!("/v2/./{tail}"));
    all.insert(format!("/v2/%2e/{tail}"));
    all.insert(format!("/v2/x/../{tail}"));
    all.insert(format!("/v2/x/%2e%2e/{tail}"));
    all.insert(format!("/v2/x%2f..%2f{tail}"));
    all.insert(format!("/v2/public/a/../../{tail}"));
    all.insert(format!("/V2/{tail}"));
    all.insert(format!("/v2;x/{tail}"));
    all.insert(format!("/v2/;/{tail}"));
    all.insert(format!("/v2\\{tail}"));
    all.insert(format!("/%76%32/{tail}"));
    all.insert(format!("/v2%2f{tail}"));
    for suffix in [
        "/", "//", ";", ";x=y", "%00", "%20", "%2f", "/.", "/..", "?", "?x", "#x", "%3f", "%23",
    ] {
        all.insert(format!("{path}{suffix}"));
    }
    for (position, _) in tail.match_indices('/') {
        let (before, after) = (&tail[..position], &tail[position + 1..]);
        for separator in ["%2f", "%2F", "//", "/./", "\\", "%5c", "/;/", ";/", "%252f"] {
            all.insert(format!("/v2/{before}{separator}{after}"));
        }
    }
    for (position, letter) in tail
        .char_indices()
        .filter(|(_, it)| it.is_ascii_alphabetic())
        .take(12)
    {
        let escaped = format!("%{:02x}", letter as u32);
        all.insert(format!(
            "/v2/{}{escaped}{}",
            &tail[..position],
            &tail[position + 1..]
        ));
        let twice = format!("%25{:02x}", letter as u32);
        all.insert(format!(
            "/v2/{}{twice}{}",
            &tail[..position],
            &tail[position + 1..]
        ));
    }
    all
}

#[test]
fn no_spelling_of_a_path_gets_past_the_policy() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (place, alice) = runtime.block_on(async {
        let log = ("RUST_LOG", "info,drift::http::middleware=warn");
        let place = Place::with(&[log], &["allow everybody pull public/**"]);
        let (admin, alice) = (place.admin(), place.user("alice", &[]));
        for name in ["public/a", "private/a"] {
            place.push_image(&admin, name, "v1", b"layer").await;
        }
        (place, alice)
    });
    let digest = digest_of(b"layer");
    let mut tried = 0;
    for path in [
        "/v2/private/a/tags/list".to_owned(),
        "/v2/private/a/manifests/v1".to_owned(),
        format!("/v2/private/a/blobs/{digest}"),
        format!("/v2/private/a/referrers/{digest}"),
        "/v2/private/a/blobs/uploads/".to_owned(),
        "/v2/private/a/blobs/uploads".to_owned(),
        "/v2/_catalog".to_owned(),
    ] {
        for spelling in spellings(&path) {
            for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"] {
                // A query is no part of the path. What the catalogue shows is another test's matter.
                let listed = path == "/v2/_catalog" && ["GET", "HEAD"].contains(&method);
                let status_of = status(&place, &STRANGER, method, &spelling);
                assert!(
                    [400, 401].contains(&status_of) || (listed && status_of == 200),
                    "{method} {spelling} gave a stranger {status_of}"
                );
                let status_of = status(&place, &alice, method, &spelling);
                assert!(
                    [400, 403, 404, 405].contains(&status_of) || (listed && status_of == 200),
                    "{method} {spelling} gave alice {status_of}"
                );
                tried += 1;
            }
        }
    }
    println!("{tried} spellings");
    assert!(tried > 1000);
}
