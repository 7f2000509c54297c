//! The keys of issuers: where they are asked for, where never, and for how long they count.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::issuer::{AUDIENCE, DISCOVERY, Issuer, Key, Reply, Trap};
use crate::oidc::{PUSH, exchange, place, trust};
use crate::support::PATIENCE;

#[tokio::test]
async fn a_new_key_is_found_at_once_the_old_one_goes_and_a_flood_fetches_nothing() {
    let (issuer, old, new) = (Issuer::start(), Key::ed(), Key::p256());
    issuer.publish("", &[old.jwk("old")]);
    let place = place(
        &issuer.configured(&[("", "")]),
        &format!("[{}]", trust(&issuer, "")),
    );
    let claims = issuer.claims("");
    let [by_old, by_new] = [old.token("old", &claims), new.token("new", &claims)];
    exchange(&place, &by_old, PUSH).await.expect(200);
    let log = "the issuer's keys were fetched";
    place.registry.server.wait_for_log(log);
    let began = Instant::now();
    let before = issuer.asked("/keys");
    issuer.publish("", &[new.jwk("new")]);
    exchange(&place, &by_new, PUSH).await.expect(200);
    assert_eq!(issuer.asked("/keys"), before + 1);
    exchange(&place, &by_old, PUSH).await.expect(401);
    let flood = (0..300).map(|number| {
        let (place, old, claims) = (&place, &old, &claims);
        async move { exchange(place, &old.token(&number.to_string(), claims), PUSH).await }
    });
    for answer in futures::future::join_all(flood).await {
        assert!([401, 429].contains(&answer.status.as_u16()), "{answer:?}");
    }
    let minutes = 1 + began.elapsed().as_secs() as usize / 60;
    assert!(
        issuer.asked("/keys") <= before + minutes,
        "{} fetches",
        issuer.asked("/keys")
    );
    exchange(&place, &by_new, PUSH).await.expect(200);
}

#[tokio::test]
async fn issuers_that_misbehave_get_nobody_in_and_lead_nowhere() {
    let (issuer, key) = (Issuer::start(), Key::ed());
    let (plain, private) = (Trap::at([127, 0, 0, 1]), Trap::at([127, 0, 0, 2]));
    let jwk = [key.jwk("a")];
    let paths = [
        "/good",
        "/redirect",
        "/long",
        "/slow",
        "/html",
        "/fails",
        "/other",
        "/http",
        "/metadata",
        "/private",
        "/mapped",
        "/described-by-redirect",
        "/no-keys",
        "/secret-keys",
        "/missing",
    ];
    for path in paths {
        issuer.publish(path, &jwk);
    }
    issuer.reply("/redirect/keys", Reply::Redirect(issuer.url("/good/keys")));
    issuer.reply("/long/keys", Reply::Long(10 << 20));
    issuer.reply("/slow/keys", Reply::Slow);
    issuer.reply(
        "/html/keys",
        Reply::Text("<html>log in first</html>".to_owned()),
    );
    issuer.reply("/fails/keys", Reply::Failure);
    let described = json!({ "issuer": issuer.url("/good"), "jwks_uri": issuer.url("/good/keys") });
    issuer.reply(&format!("/other{DISCOVERY}"), Reply::Json(described, ""));
    issuer.describe("/http", &format!("http://{}/keys", plain.address));
    issuer.describe("/metadata", "https://169.254.169.254/latest/meta-data/");
    issuer.describe("/private", &format!("https://{}/keys", private.address));
    let port = private.address.port();
    issuer.describe(
        "/mapped",
        &format!("https://[::ffff:127.0.0.2]:{port}/keys"),
    );
    let to = format!("https://{}/", plain.address);
    issuer.reply(
        &format!("/described-by-redirect{DISCOVERY}"),
        Reply::Redirect(to),
    );
    issuer.reply("/no-keys/keys", Reply::Json(json!({ "keys": [] }), ""));
    let secret = json!({ "keys": [{ "kty": "oct", "kid": "a", "k": "c2VjcmV0", "alg": "HS256" }] });
    issuer.reply("/secret-keys/keys", Reply::Json(secret, ""));
    let gone = issuer.url("/missing/nowhere");
    issuer.describe("/missing", &gone);

    let configured = issuer.configured(&paths.map(|path| (path, "")));
    let trusts = paths.map(|path| trust(&issuer, path)).join(", ");
    let place = place(&configured, &format!("[{trusts}]"));
    for path in paths {
        let token = key.token("a", &issuer.claims(path));
        let status = if path == "/good" { 200 } else { 503 };
        let answer = exchange(&place, &token, PUSH).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    let log = place.registry.server.log();
    for (path, reason) in [
        ("/redirect", "302"),
        ("/long", "more than the 1048576 bytes"),
        ("/slow", "timed out"),
        ("/html", "no JSON object with a list"),
        ("/fails", "500"),
        ("/other", "have to be equal"),
        ("/http", "does not begin with https"),
        ("/metadata", "169.254.169.254, which is not public"),
        ("/private", "127.0.0.2, which is not public"),
        ("/mapped", "which is not public"),
        ("/described-by-redirect", "302"),
        ("/no-keys", "no key among them"),
        ("/secret-keys", "kty and crv are none"),
        ("/missing", "404"),
    ] {
        let url = issuer.url(path);
        let failed = log.lines().filter(|line| line.contains("were not fetched"));
        let mut failed = failed
            .filter(|line| line.contains(&format!("{url} ")) || line.contains(&format!("{url}\"")));
        let line = failed
            .next()
            .unwrap_or_else(|| panic!("nothing of {path} in the log"));
        assert!(line.contains(reason), "{path}: {line}");
    }
    assert_eq!(
        (plain.caught(), private.caught()),
        (0, 0),
        "connections where none may go"
    );
}

#[tokio::test]
async fn an_issuer_with_another_certificate_or_on_no_public_address_is_not_asked() {
    let (issuer, other, key) = (Issuer::start(), Issuer::start(), Key::ed());
    for path in ["/stranger", "/system", "/closed"] {
        issuer.publish(path, &[key.jwk("a")]);
    }
    let one = |path: &str, rest: &str| {
        let url = issuer.url(path);
        format!("{{ url = {url:?}, audience = {AUDIENCE:?}{rest} }}")
    };
    let networks = ", private_networks = [\"127.0.0.0/8\"]";
    let issuers = [
        one("/stranger", &format!("{networks}, ca = {:?}", other.ca())),
        one("/system", networks),
        one("/closed", &format!(", ca = {:?}", issuer.ca())),
    ];
    let trusts = ["/stranger", "/system", "/closed"].map(|path| trust(&issuer, path));
    let place = place(
        &format!("[{}]", issuers.join(", ")),
        &format!("[{}]", trusts.join(", ")),
    );
    for path in ["/stranger", "/system", "/closed"] {
        let token = key.token("a", &issuer.claims(path));
        exchange(&place, &token, PUSH)
            .await
            .expect_error(503, "UNAVAILABLE");
        assert_eq!(issuer.asked(&format!("{path}{DISCOVERY}")), 0, "{path}");
    }
    let log = place.registry.server.log();
    assert!(
        log.contains("localhost is at 127.0.0.1, which is not public"),
        "the reason is told"
    );
}

#[tokio::test]
async fn a_server_starts_without_its_issuer_and_asks_until_it_is_there() {
    let key = Key::ed();
    // A port that is free until the issuer comes.
    let first = Issuer::start();
    let (url, configured, trusted) = (
        first.url(""),
        first.configured(&[("", "")]),
        trust(&first, ""),
    );
    let address: SocketAddr = format!("127.0.0.1:{}", url.rsplit(':').next().unwrap())
        .parse()
        .unwrap();
    let ca = first.ca();
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("ca.pem");
    std::fs::copy(&ca, &kept).unwrap();
    let configured = configured.replace(ca.to_str().unwrap(), kept.to_str().unwrap());
    let claims = first.claims("");
    drop(first);
    let place = place(&configured, &format!("[{trusted}]"));
    let token = key.token("a", &claims);
    let refused = exchange(&place, &token, PUSH)
        .await
        .expect_error(503, "UNAVAILABLE");
    assert!(refused.headers.contains_key("retry-after"));
    place.get(&place.admin(), "/v2/").await.expect(200);
    // The same port, another certificate, whose authority is put where the old one's was.
    let issuer = wait_for_port(address);
    issuer.publish("", &[key.jwk("a")]);
    std::fs::copy(issuer.ca(), &kept).unwrap();
    // No token makes it ask.
    let began = Instant::now();
    while issuer.asked("/keys") == 0 {
        assert!(began.elapsed() < 3 * PATIENCE, "nobody asked for the keys");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    exchange(&place, &token, PUSH).await.expect(200);
}

/// An issuer at the address of one that has just gone.
fn wait_for_port(address: SocketAddr) -> Issuer {
    crate::support::wait_for("the port", || {
        std::net::TcpListener::bind(address).ok().map(drop)
    });
    Issuer::at(address)
}
