//! What is too much of one client, and what that is to others.

use std::time::Instant;

use reqwest::header::RETRY_AFTER;

use crate::place::{Place, STRANGER, basic, bearer, password_of};

/// Where somebody comes from, as a proxy says.
fn from(address: &str) -> [(&str, &str); 1] {
    [("x-forwarded-for", address)]
}

const PROXIED: (&str, &str) = ("DRIFT_SERVER_TRUSTED_PROXIES", "127.0.0.1");

#[tokio::test]
async fn whoever_fails_to_log_in_waits_and_those_who_are_in_go_on() {
    let limit = ("DRIFT_AUTH_BAD_LOGINS_BY_ADDRESS", "3");
    let place = Place::with(&[PROXIED, limit], &["allow everybody pull **"]);
    let alice = place.user("alice", &[]);
    let token = bearer(&place.token(&alice, &["repository:a:pull"]).await);
    let bad = basic("alice", "guessed");
    let (attacker, other) = (from("192.0.2.1"), from("192.0.2.2"));
    let send = async |caller, headers: &[(&str, &str)]| {
        place.send(caller, "GET", "/v2/", headers, "").await
    };
    // One more is looked at, and found to be too many.
    for _ in 0..4 {
        send(&bad, &attacker).await.expect(401);
    }
    let began = Instant::now();
    let refused = send(&bad, &attacker)
        .await
        .expect_error(429, "TOOMANYREQUESTS");
    let wait: u64 = refused.headers[RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=21).contains(&wait), "{wait} s");
    // The right password would tell them that it is right.
    let bob = place.user("bob", &[]);
    send(&bob, &attacker).await.expect(429);
    // Not those who come from elsewhere, nor the login that was verified before, nor a token, nor
    // whoever has no login at all.
    send(&bob, &other).await.expect(200);
    send(&alice, &attacker).await.expect(200);
    send(&token, &attacker).await.expect(200);
    let missing = "/v2/a/manifests/x";
    let pull = place.send(&STRANGER, "GET", missing, &attacker, "").await;
    pull.expect(404);
    // What the client says of itself counts for nothing.
    let forged = from("198.51.100.1, 192.0.2.1");
    send(&bad, &forged).await.expect(429);
    assert!(began.elapsed().as_secs() < 20, "too slow to tell");
}

#[tokio::test]
async fn an_account_that_is_tried_from_everywhere_is_not_tried_on() {
    let limit = ("DRIFT_AUTH_BAD_LOGINS_BY_ACCOUNT", "5");
    let place = Place::with(&[PROXIED, limit], &[]);
    let (alice, bob) = (place.user("alice", &[]), place.user("bob", &[]));
    place.get(&alice, "/v2/").await.expect(200);
    let mut refused = 0;
    for last in 0..20 {
        let address = format!("192.0.2.{last}");
        let bad = basic("alice", "guessed");
        let answer = place.send(&bad, "GET", "/v2/", &from(&address), "").await;
        refused += usize::from(answer.status == 429);
    }
    assert!((10..=14).contains(&refused), "{refused} of 20 were refused");
    // An account that there is not is treated alike.
    let mut unknown = 0;
    for _ in 0..20 {
        let answer = place.get(&basic("nobody", "guessed"), "/v2/").await;
        unknown += usize::from(answer.status == 429);
    }
    assert!((10..=14).contains(&unknown), "{unknown} of 20 were refused");
    place.get(&alice, "/v2/").await.expect(200);
    place.get(&bob, "/v2/").await.expect(200);
    let log = place.registry.server.log();
    assert!(log.contains("too many bad logins to one account"));
    assert!(!log.contains("guessed") && !log.contains(&password_of("alice")));
}

#[tokio::test]
async fn requests_beyond_the_share_of_an_address_or_account_wait() {
    let limits = [
        PROXIED,
        ("DRIFT_SERVER_REQUESTS_BY_ADDRESS", "2"),
        ("DRIFT_SERVER_REQUESTS_BY_ACCOUNT", "1"),
    ];
    let place = Place::with(&limits, &[]);
    let counted = async |caller, address: &str| {
        let mut answered = 0;
        for _ in 0..30 {
            let answer = place.send(caller, "GET", "/v2/", &from(address), "").await;
            match answer.status.as_u16() {
                429 => assert!(answer.headers.contains_key(RETRY_AFTER)),
                _ => answered += 1,
            }
        }
        answered
    };
    // Ten seconds' worth at once, and what has come in the meantime.
    let strangers = counted(&STRANGER, "192.0.2.1").await;
    assert!((20..26).contains(&strangers), "{strangers}");
    let alice = place.user("alice", &[]);
    let hers = counted(&alice, "192.0.2.2").await;
    assert!((10..16).contains(&hers), "{hers}");
    place.get(&alice, "/healthz").await.expect(200);
    let bob = place.user("bob", &[]);
    assert!(counted(&bob, "192.0.2.3").await >= 10);
}
