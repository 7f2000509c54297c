//! The figures of the server: who may read them, and what they say of limits.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use crate::place::{Caller, Place, STRANGER, basic, bearer};
use crate::support::wait_for;

const PROXIED: (&str, &str) = ("DRIFT_SERVER_TRUSTED_PROXIES", "127.0.0.1");

/// The figures, by name and labels.
async fn figures(place: &Place, caller: &Caller) -> BTreeMap<String, f64> {
    let answer = place.get(caller, "/metrics").await.expect(200);
    assert!(
        answer
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.ends_with("# EOF\n"));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let figure = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(figure).collect()
}

fn refused(figures: &BTreeMap<String, f64>, limit: &str) -> f64 {
    figures[&format!("drift_refused_total{{limit=\"{limit}\"}}")]
}

#[tokio::test]
async fn metrics_are_for_those_with_the_right_and_for_named_addresses() {
    let named = ("DRIFT_SERVER_METRICS_FROM", "192.0.2.0/28");
    let rules = [
        "allow everybody pull,push **",
        "allow user:half metrics team/**",
    ];
    let place = Place::with(&[PROXIED, named], &rules);
    let (prom, half) = (place.user("prom", &[]), place.user("half", &[]));
    let ask = async |caller: &Caller, from: &str| {
        let headers = [("x-forwarded-for", from)];
        let answer = place.send(caller, "GET", "/metrics", &headers, "").await;
        answer.status.as_u16()
    };
    let elsewhere = "198.51.100.7";
    assert_eq!(ask(&STRANGER, elsewhere).await, 401);
    assert_eq!(ask(&basic("prom", "guessed"), elsewhere).await, 401);
    assert_eq!(ask(&prom, elsewhere).await, 403);
    assert_eq!(ask(&half, elsewhere).await, 403);
    assert_eq!(ask(&place.admin(), elsewhere).await, 200);
    place.rule("allow user:prom metrics **");
    assert_eq!(ask(&prom, elsewhere).await, 200);
    // What was signed for repositories is for nothing else.
    let signed = bearer(
        &place
            .token(&prom, &["repository:a:*", "registry:catalog:*"])
            .await,
    );
    assert_eq!(ask(&signed, elsewhere).await, 403);

    let secret = place.robot("scrape", "metrics", "**", &[]);
    let secret = basic("any", secret.lines().last().unwrap());
    assert_eq!(ask(&secret, elsewhere).await, 200);
    let pull = place.get(&secret, "/v2/a/tags/list").await;
    pull.expect(403);
    place.command(&["token", "revoke", "scrape"]);
    assert_eq!(ask(&secret, elsewhere).await, 401);

    assert_eq!(ask(&STRANGER, "192.0.2.14").await, 200);
    assert_eq!(ask(&STRANGER, "192.0.2.16").await, 401);
    // Whoever comes directly cannot say that they come from there.
    let direct = Place::with(&[named], &[]);
    let headers = [("x-forwarded-for", "192.0.2.14")];
    let answer = direct
        .send(&STRANGER, "GET", "/metrics", &headers, "")
        .await;
    answer.expect(401);
}

#[tokio::test]
async fn what_meets_a_limit_is_counted() {
    let limits = [
        ("DRIFT_AUTH_BAD_LOGINS_BY_ADDRESS", "1"),
        ("DRIFT_SERVER_REQUESTS_BY_ADDRESS", "1"),
        ("DRIFT_SERVER_REQUESTS_BY_ACCOUNT", "2"),
        PROXIED,
    ];
    let place = Place::with(&limits, &[]);
    let admin = place.admin();
    let send = async |caller: &Caller, from: &str, times: usize| {
        for _ in 0..times {
            let headers = [("x-forwarded-for", from)];
            place.send(caller, "GET", "/v2/", &headers, "").await;
        }
    };
    let before = figures(&place, &admin).await;
    assert_eq!(refused(&before, "bad_logins"), 0.0);
    send(&basic("admin", "guessed"), "192.0.2.1", 5).await;
    send(&STRANGER, "192.0.2.2", 15).await;
    let after = figures(&place, &admin).await;
    assert!(refused(&after, "bad_logins") >= 3.0);
    assert!(refused(&after, "requests_by_address") >= 3.0);
    assert_eq!(refused(&after, "requests_by_account"), 0.0);
    let bad = "drift_logins_total{result=\"bad\"}";
    assert_eq!(after[bad] - before[bad], 5.0);
    let alice = place.user("alice", &[]);
    for last in 10..40 {
        send(&alice, &format!("192.0.2.{last}"), 1).await;
    }
    let after = figures(&place, &admin).await;
    assert!(refused(&after, "requests_by_account") >= 3.0);
}

#[test]
fn an_address_with_its_share_of_connections_is_told_and_others_are_served() {
    let share = ("DRIFT_SERVER_CONNECTIONS_BY_ADDRESS", "3");
    let named = ("DRIFT_SERVER_METRICS_FROM", "127.0.0.1");
    let place = Place::with(&[share, named], &[]);
    let server = &place.registry.server;
    let mut kept: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let ask = "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    // One of another address of this machine.
    let elsewhere = || {
        let socket = std::net::TcpStream::from(
            rustix::net::socket(
                rustix::net::AddressFamily::INET,
                rustix::net::SocketType::STREAM,
                None,
            )
            .unwrap(),
        );
        rustix::net::bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
        rustix::net::connect(&socket, &server.address()).unwrap();
        socket
    };
    let refused = wait_for("a refusal", || {
        let answer = server.raw(ask);
        answer.starts_with("HTTP/1.1 429 ").then_some(answer)
    });
    assert!(
        refused.contains("TOOMANYREQUESTS") && refused.contains("3 connections"),
        "{refused}"
    );
    assert!(refused.contains("Retry-After: "), "{refused}");
    let mut other = elsewhere();
    other
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // One that ends makes room for another.
    kept.pop();
    let figures = wait_for("a place", || {
        let answer = server.raw(ask);
        // The two that are kept, and the one that asks.
        let served =
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("drift_connections 3\n");
        served.then_some(answer)
    });
    let counted = "drift_refused_total{limit=\"connections_by_address\"} ";
    let counted = figures
        .split_once(counted)
        .unwrap()
        .1
        .lines()
        .next()
        .unwrap();
    assert!(counted.parse::<u64>().unwrap() >= 1, "{figures}");
}

#[tokio::test]
async fn clients_make_figures_grow_and_not_their_number() {
    let place = Place::new(&["allow user:alice pull,push **"]);
    let alice = place.user("alice", &[]);
    let admin = place.admin();
    place.push_image(&alice, "a", "t", b"layer").await;
    let ask = async |from: usize, to: usize| {
        for number in from..to {
            let canary = format!("canary{number}");
            place.get(&alice, &format!("/v2/{canary}/tags/list")).await;
            place.get(&alice, &format!("/{canary}")).await;
            place.get(&basic(&canary, "guessed"), "/v2/").await;
            place
                .send(&alice, &canary.to_uppercase(), "/v2/", &[], "")
                .await;
            place
                .get(&bearer(&canary), &format!("/v2/_catalog?last={canary}"))
                .await;
        }
    };
    ask(0, 2).await;
    let before = figures(&place, &admin).await;
    ask(2, 30).await;
    let after = figures(&place, &admin).await;
    let names = |figures: &BTreeMap<String, f64>| figures.keys().cloned().collect::<Vec<_>>();
    // The answer to `/metrics` itself is counted when it has ended.
    let own = |name: &String| !name.contains("\"metrics\"");
    let of = |figures| names(figures).into_iter().filter(own).collect::<Vec<_>>();
    assert_eq!(of(&before), of(&after));
    assert!(
        names(&after)
            .iter()
            .all(|name| !name.to_lowercase().contains("canary"))
    );
    let others = after
        .iter()
        .filter(|(name, _)| name.contains("method=\"other\""));
    assert_eq!(others.map(|(_, count)| count).sum::<f64>(), 30.0);
    let pushed = "drift_http_requests_total{route=\"manifest\",method=\"PUT\",status=\"201\"}";
    assert_eq!(after[pushed], 1.0);
    assert!(after["drift_http_received_bytes_total"] > 100.0);
}
