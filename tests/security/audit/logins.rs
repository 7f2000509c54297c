//! Whom events name, by what they came with.

use serde_json::Value;

use super::{EVERYTHING, counted, events, file_of, has, none, one, told};
use crate::certificates::Authority;
use crate::client_certificates::{HOUR, Plant};
use crate::issuer::{Issuer, Key};
use crate::oidc::{PUSH, exchange, place_with, token_of, trust};
use crate::place::basic;

/// The id of the request that was answered so.
fn id(answer: &reqwest::Response) -> String {
    let id = &answer.headers()["x-request-id"];
    id.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_with_a_certificate_is_the_account_that_it_stands_for() {
    let authority = Authority::new("the plant's");
    let plant = Plant::new(&authority, &[EVERYTHING]);
    let client = plant.client(Some(&authority.issue_to_client("edge-7", vec![], HOUR)));
    let upload = |name: &str| client.post(plant.url(&format!("/v2/{name}/blobs/uploads/")));
    let begun = upload("edge/app").send().await.unwrap();
    let denied = upload("ci/app").send().await.unwrap();
    // A login goes before the certificate, and is what is told of.
    let wrong = upload("edge/app").basic_auth("alice", Some("guessed"));
    let wrong = wrong.send().await.unwrap();
    // One that stands for nobody is no login at all.
    let stranger = plant.client(Some(&authority.issue_to_client("nobody", vec![], HOUR)));
    assert_eq!(plant.ask(&stranger, "edge/app").await, 401);

    let events = events(&plant.place);
    let by_rule = "policy rule 10: allow user:edge pull,push-new,overwrite edge/**";
    for (answer, status, wanted) in [
        (
            &begun,
            202,
            [
                ("who", "user:edge"),
                ("decision", "allow"),
                ("reason", by_rule),
            ],
        ),
        (
            &denied,
            403,
            [
                ("who", "user:edge"),
                ("decision", "deny"),
                ("reason", "no rule allows it"),
            ],
        ),
        (
            &wrong,
            401,
            [
                ("who", "tried:alice"),
                ("decision", "deny"),
                ("action", "login"),
            ],
        ),
    ] {
        assert_eq!(answer.status(), status);
        let event = one(&events, &[("request", &id(answer))]);
        assert!(has(event, &wanted), "{event} has not {wanted:?}");
        assert!(has(event, &[("from", "127.0.0.1")]), "{event}");
    }
    none(&events, "who", "unknown");
}

#[tokio::test]
async fn a_job_is_who_its_issuer_says_and_its_token_is_nowhere() {
    let (issuer, key) = (Issuer::start(), Key::ed());
    issuer.publish("", &[key.jwk("a")]);
    let trust = format!("[{}]", trust(&issuer, ""));
    let place = place_with(&issuer.configured(&[("", "")]), &trust, &[]);
    let claims = issuer.claims("");
    let theirs = key.token("a", &claims);
    let exchanged = exchange(&place, &theirs, PUSH).await.expect(200);
    let job = token_of(&exchanged);
    let digest = place.push_image(&job, "ci/app", "v1", b"layer").await;
    let path = "/v2/ci/app/manifests/v1";
    let denied = place.delete(&job, path).await.expect(403);
    let forged = Key::ed().token("a", &claims);
    let refused = exchange(&place, &forged, PUSH).await.expect(401);
    let basic = basic("oidc", &forged);
    let tried = place.get(&basic, "/v2/").await.expect(401);

    let events = events(&place);
    let subject = claims["sub"].as_str().unwrap();
    let who = format!("oidc:{}#{subject} (role ci)", issuer.url(""));
    let login = [("action", "login"), ("decision", "allow"), ("who", &who)];
    told(&events, &exchanged, &login);
    let by_rule = "policy rule 10: allow role:ci pull,push-new,overwrite ci/**";
    let push = [("action", "push-new"), ("who", &who), ("reason", by_rule)];
    let pushed = [("digest", &digest.to_string()[..]), ("reference", "v1")];
    one(&events, &[&push[..], &pushed].concat());
    let delete = [("action", "delete"), ("who", &who), ("decision", "deny")];
    told(&events, &denied, &delete);
    for (answer, who, reason) in [
        (
            &refused,
            "unknown",
            "no issuer that is trusted vouches for the token",
        ),
        (
            &tried,
            "tried:oidc",
            "the password is wrong, or the account is unknown or switched off",
        ),
    ] {
        let login = [("action", "login"), ("decision", "deny"), ("who", who)];
        told(&events, answer, &login);
        told(&events, answer, &[("reason", reason)]);
    }
    let logins = events.iter().filter(|it| it["action"] == "login");
    let (of_job, others): (Vec<&Value>, Vec<_>) = logins.partition(|it| it["who"] == who.as_str());
    assert_eq!((counted(of_job), others.len()), (1, 2), "{events:#?}");
    let file = std::fs::read_to_string(file_of(place.registry.server.directory())).unwrap();
    for token in [&theirs, &forged, job.0.as_ref().unwrap()] {
        let mut parts = token.split('.').skip(1);
        assert!(!parts.any(|part| file.contains(part)), "{token}");
    }
}
