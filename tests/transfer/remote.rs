//! Registries elsewhere: with logins, and such as lie.

use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::client::{IMAGE, Registry, digest_of, image};
use crate::liar::{Liar, answer, not_found, path};
use crate::place::{CONFIG, assert_filled, at, failed, fill, on, ran, run};
use crate::support::{drift, said};

const LAYER: &[u8] = b"the layer of an image, which is long enough to be cut in two";

fn import(to: &Registry, from: &Liar, arguments: &[&str]) -> Output {
    let url = from.url();
    let begin = ["import", "--plain-http", "--from", &url];
    run(to.server.directory(), &[&begin, arguments].concat())
}

/// Answers as an honest registry does that has one image, `a:v1`.
fn honest(head: &str) -> Vec<u8> {
    let manifest = serde_json::to_vec(&image(CONFIG, &[LAYER])).unwrap();
    let digest = digest_of(&manifest);
    let blob = |content: &[u8]| format!("/v2/a/blobs/{}", digest_of(content));
    match path(head) {
        path if path == format!("/v2/a/manifests/{digest}") || path == "/v2/a/manifests/v1" => {
            answer("200 OK", &[("Content-Type", IMAGE)], &manifest)
        }
        path if path == blob(CONFIG) => answer("200 OK", &[], CONFIG),
        path if path == blob(LAYER) => answer("200 OK", &[], LAYER),
        path if path.starts_with("/v2/a/tags/list") => {
            answer("200 OK", &[], br#"{"name":"a","tags":["v1"]}"#)
        }
        _ => not_found(),
    }
}

fn is_layer(head: &str) -> bool {
    path(head) == format!("/v2/a/blobs/{}", digest_of(LAYER))
}

#[tokio::test]
async fn a_registry_with_a_login_gives_all_that_it_lists() {
    let directory = tempfile::tempdir().unwrap();
    let filled;
    {
        let from = Registry::on(on(directory.path(), &[]).start());
        filled = fill(&from, "team/app").await;
        from.push_image("other", "v1", b"another layer").await;
    }
    let login = [("DRIFT_AUTH_ENABLED", "true")];
    let from = Registry::on(on(directory.path(), &login).start());
    let to = Registry::start();
    let here = to.server.directory();
    let password = at(directory.path(), "drift-data/keys/initial-admin-password");
    let password = std::fs::read_to_string(password).unwrap();
    let url = from.server.url("");
    let import = |password: &str, arguments: &[&str]| {
        let mut command = drift();
        command
            .args(["import", "--from", &url, "--plain-http"])
            .args(arguments);
        command
            .env("DRIFT_IMPORT_PASSWORD", password)
            .current_dir(here);
        command.output().unwrap()
    };
    failed(&import("x", &["--all"]), 1, "authentication required");
    failed(
        &import("x", &["--all", "--user", "admin"]),
        1,
        "answered 401",
    );
    let password = password.trim();
    said(&import(password, &["--all", "--user", "admin"]));
    assert_filled(&to, "team/app", &filled).await;
    to.get("/v2/other/manifests/v1").await.expect(200);
    let one = [
        "team/app:multi",
        "--repository",
        "here",
        "--tag",
        "new",
        "--user",
        "admin",
    ];
    said(&import(password, &one));
    let found = to.get("/v2/here/manifests/new").await.expect(200);
    assert_eq!(digest_of(&found.body), filled.index);
    // A file as docker writes it.
    use base64::Engine;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("admin:{password}"));
    let file = serde_json::json!({"auths": {url[7..].to_owned(): {"auth": auth}}});
    std::fs::write(at(here, "config.json"), file.to_string()).unwrap();
    said(&import(
        "x",
        &[
            "other",
            "--authfile",
            "config.json",
            "--repository",
            "by/file",
        ],
    ));
    to.get("/v2/by/file/manifests/v1").await.expect(200);
}

#[tokio::test]
async fn a_registry_elsewhere_is_exported_to() {
    let from = Registry::start();
    let to = Registry::start();
    let filled = fill(&from, "team/app").await;
    let url = to.server.url("");
    let there = from.server.directory();
    let export = ["export", "team/app", "--to", &url];
    failed(&run(there, &export), 1, "--plain-http");
    ran(there, &[&export[..], &["--plain-http"]].concat());
    assert_filled(&to, "team/app", &filled).await;
    let again = ["--plain-http", "--repository", "mirror", "--json"];
    let told: Value = serde_json::from_str(&ran(there, &[&export[..], &again].concat())).unwrap();
    assert_filled(&to, "mirror", &filled).await;
    assert_eq!(told["failures"], 0, "{told}");
}

#[tokio::test]
async fn a_blob_that_broke_off_goes_on_where_it_was() {
    let to = Registry::start();
    let from = Liar::start(|head| {
        if !is_layer(head) {
            return honest(head);
        }
        let whole = answer("200 OK", &[], LAYER);
        let range = head.split("range: bytes=").nth(1);
        match range.and_then(|range| range.split('-').next()?.parse::<usize>().ok()) {
            None => whole[..whole.len() - LAYER.len() / 2].to_vec(),
            Some(first) => {
                let range = format!("bytes {first}-{}/{}", LAYER.len() - 1, LAYER.len());
                answer(
                    "206 Partial Content",
                    &[("Content-Range", &range)],
                    &LAYER[first..],
                )
            }
        }
    });
    said(&import(&to, &from, &["a:v1"]));
    to.get("/v2/a/manifests/v1").await.expect(200);
    let heads = from.heads();
    let asked: Vec<_> = heads.iter().filter(|head| is_layer(head)).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
}

#[tokio::test]
async fn what_a_registry_says_is_held_against_its_digest() {
    let to = Registry::start();
    let other = serde_json::to_vec(&image(CONFIG, &[])).unwrap();
    let flipped: Vec<u8> = LAYER.iter().map(|byte| byte ^ 1).collect();
    let longer = [LAYER, b"and more"].concat();
    for (lie, why) in [
        (answer("200 OK", &[], &flipped), "its digest is"),
        (answer("200 OK", &[], &longer), "more than the"),
        (
            answer("200 OK", &[], &LAYER[..10]),
            "given up after 6 tries",
        ),
        (not_found(), "is not in"),
    ] {
        let from = Liar::start(move |head| match is_layer(head) {
            true => lie.clone(),
            false => honest(head),
        });
        failed(&import(&to, &from, &["a:v1"]), 1, why);
        to.get("/v2/a/manifests/v1").await.expect(404);
    }
    let from = Liar::start(move |_| answer("200 OK", &[("Content-Type", IMAGE)], &other));
    let digest = digest_of(b"another");
    failed(
        &import(&to, &from, &[&format!("a@{digest}")]),
        1,
        "its digest is",
    );
    let old = br#"{"schemaVersion":1,"name":"a","tag":"v1","fsLayers":[],"history":[]}"#;
    let from = Liar::start(move |head| match path(head) {
        "/v2/a/manifests/old" => {
            let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
            answer("200 OK", &[("Content-Type", kind)], old)
        }
        _ => honest(head),
    });
    let output = import(&to, &from, &["a:old", "a:v1"]);
    failed(&output, 1, "a:old: manifest");
    failed(&output, 1, "schema 1");
    to.get("/v2/a/manifests/v1").await.expect(200);
}

#[tokio::test]
async fn lists_that_have_no_end_or_lead_elsewhere_are_not_followed() {
    let to = Registry::start();
    let elsewhere = Liar::start(|_| not_found());
    let url = elsewhere.url();
    let link = format!("<{url}/v2/_catalog?last=a>; rel=\"next\"");
    let from =
        Liar::start(move |_| answer("200 OK", &[("Link", &link)], br#"{"repositories":["a"]}"#));
    failed(&import(&to, &from, &["--all"]), 1, "leads elsewhere");
    assert!(elsewhere.heads().is_empty());
    let from = Liar::start(|_| {
        let link = [("Link", "</v2/_catalog?last=a>; rel=next")];
        answer("200 OK", &link, br#"{"repositories":["a"]}"#)
    });
    failed(&import(&to, &from, &["--all"]), 1, "does not end");
    let count = AtomicU64::new(0);
    let from = Liar::start(move |_| {
        let page = count.fetch_add(1, Ordering::Relaxed);
        let names: Vec<_> = (0..30_000).map(|at| format!("{page}-{at:0>200}")).collect();
        let body = serde_json::to_vec(&serde_json::json!({ "repositories": names })).unwrap();
        answer(
            "200 OK",
            &[("Link", "</v2/_catalog?last=a>; rel=next")],
            &body,
        )
    });
    failed(&import(&to, &from, &["--all"]), 1, "does not end");
    assert!(from.heads().len() < 20);
}

#[tokio::test]
async fn a_login_goes_to_nobody_but_the_registry_and_its_maker_of_tokens() {
    let to = Registry::start();
    let here = to.server.directory();
    let store = Liar::start(|_| answer("200 OK", &[], LAYER));
    let (store_url, named_store) = (store.url(), format!("localhost:{}", store.address.port()));
    let with_login = |from: &Liar, arguments: &[&str]| {
        let mut command = drift();
        command.args(["import", "--plain-http", "--from", &from.url(), "a:v1"]);
        command
            .args(["--user", "me"])
            .args(arguments)
            .current_dir(here);
        command
            .env("DRIFT_IMPORT_PASSWORD", "secret")
            .output()
            .unwrap()
    };
    let behind_login = |head: &str, location: &str| match head.contains("authorization: basic") {
        false => answer("401 No", &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
        true if is_layer(head) => answer("307 There", &[("Location", location)], b""),
        true => honest(head),
    };
    let location = format!("{store_url}/layer?signed=1");
    let from = Liar::start(move |head| behind_login(head, &location));
    said(&with_login(&from, &[]));
    let heads = store.heads();
    assert!(!heads.is_empty());
    assert!(
        heads.iter().all(|head| !head.contains("authorization")),
        "{heads:?}"
    );
    // Where the registry sends us on its own account has to be public, or named.
    ran(here, &["repository", "delete", "a", "--now"]);
    let location = format!("http://{named_store}/layer");
    let from = Liar::start(move |head| behind_login(head, &location));
    failed(&with_login(&from, &[]), 1, "not public");
    said(&with_login(
        &from,
        &[
            "--private-network",
            "127.0.0.0/8",
            "--private-network",
            "::1/128",
        ],
    ));
    // A maker of tokens on another host gets them over TLS alone.
    let maker = Liar::start(|_| answer("200 OK", &[], br#"{"token":"t"}"#));
    let challenge = format!("Bearer realm=\"{}/token\",service=\"x\"", maker.url());
    let from = Liar::start(move |_| answer("401 No", &[("WWW-Authenticate", &challenge)], b""));
    failed(&with_login(&from, &[]), 1, "not over TLS");
    assert!(maker.heads().is_empty());
}
