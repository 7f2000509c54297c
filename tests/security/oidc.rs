//! Logins by the word of another: tokens of an issuer that the test runs, such as a CI gives its jobs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::client::Answer;
use crate::issuer::{Issuer, Key, now};
use crate::place::{Caller, Place, STRANGER, basic, bearer};
use crate::support::{Server, drift, wait_for_exit};

pub const FORM: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded")];
const ID_TOKEN: &str = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token";

/// What a job asks for.
pub const PUSH: &str = "repository:ci/app:pull,push";

/// A trust of all of a path's issuer whose subject is of acme/app.
pub fn trust(issuer: &Issuer, path: &str) -> String {
    let url = issuer.url(path);
    format!("{{ issuer = {url:?}, claims = {{ sub = \"repo:acme/app:**\" }}, role = \"ci\" }}")
}

/// A registry that takes the word of issuers, and gives `role:ci` the right to push to `ci/**`.
pub fn place(issuers: &str, trust: &str) -> Place {
    place_with(issuers, trust, &[])
}

pub fn place_with(issuers: &str, trust: &str, further: &[(&str, &str)]) -> Place {
    let mut variables = vec![("DRIFT_AUTH_ISSUERS", issuers), ("DRIFT_AUTH_TRUST", trust)];
    variables.extend(further);
    Place::with(&variables, &["allow role:ci pull,push ci/**"])
}

/// Asks for one of our tokens for one of theirs.
pub async fn exchange(place: &Place, token: &str, scope: &str) -> Answer {
    let body = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={token}\
         &subject_token_type={ID_TOKEN}&scope={}",
        scope.replace(':', "%3A")
    );
    place.send(&STRANGER, "POST", "/token", &FORM, body).await
}

pub fn token_of(answer: &Answer) -> Caller {
    bearer(answer.json()["access_token"].as_str().unwrap())
}

#[tokio::test]
async fn a_job_pushes_where_its_role_may_and_nowhere_else() {
    let issuer = Issuer::start();
    let keys = [("r", Key::rsa()), ("e", Key::p256()), ("o", Key::ed())];
    let published: Vec<_> = keys.iter().map(|(id, key)| key.jwk(id)).collect();
    issuer.publish("", &published);
    let place = place(
        &issuer.configured(&[("", "")]),
        &format!("[{}]", trust(&issuer, "")),
    );
    let claims = issuer.claims("");
    let mut tokens: Vec<_> = keys
        .iter()
        .map(|(id, key)| key.token(id, &claims))
        .collect();
    tokens.push(
        keys[0]
            .1
            .token_with(&json!({ "alg": "PS384", "kid": "r" }), &claims),
    );
    for (number, token) in tokens.iter().enumerate() {
        let scope = format!("{PUSH},delete repository:other:pull,push");
        let answer = exchange(&place, token, &scope).await.expect(200);
        let told = answer.json();
        let kind = "urn:ietf:params:oauth:token-type:access_token";
        assert_eq!(
            (&told["issued_token_type"], &told["token_type"]),
            (&json!(kind), &json!("Bearer"))
        );
        assert_eq!(told["expires_in"], 300);
        assert_eq!(told["scope"], "repository:ci/app:pull,push-new,overwrite");
        assert_eq!(answer.header("cache-control"), "no-store");
        let job = token_of(&answer);
        let layer = [b"layer", token.as_bytes()].concat();
        let tag = format!("v{number}");
        place.push_image(&job, "ci/app", &tag, &layer).await;
        place
            .get(&job, &format!("/v2/ci/app/manifests/{tag}"))
            .await
            .expect(200);
        place
            .delete(&job, &format!("/v2/ci/app/manifests/{tag}"))
            .await
            .expect_error(403, "DENIED");
        place
            .push_blob(&job, "other", b"x")
            .await
            .expect_error(403, "DENIED");
    }
    // A policy is asked as for anybody else.
    let tested = place.command(&["policy", "test", "role:ci", "push-new", "ci/app"]);
    assert!(tested.contains("allow role:ci"), "{tested}");
    assert!(
        !place
            .run(&["policy", "test", "role:ci", "delete", "ci/app"])
            .status
            .success()
    );
    assert!(
        !place
            .run(&["policy", "test", "role:cd", "pull", "ci/app"])
            .status
            .success()
    );
    let log = place.registry.server.log();
    let who = format!(
        "oidc:{}#repo:acme/app:ref:refs/heads/main (role ci)",
        issuer.url("")
    );
    assert!(log.contains(&who), "the log names who pushed");
    for token in tokens {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!log.contains(signature), "a token is in the log");
    }
    // All of that took the keys once.
    assert!(issuer.asked("/keys") <= 2, "{}", issuer.asked("/keys"));
}

#[tokio::test]
async fn a_token_goes_where_a_password_goes() {
    let (issuer, key) = (Issuer::start(), Key::ed());
    issuer.publish("", &[key.jwk("a")]);
    let place = place(
        &issuer.configured(&[("", "")]),
        &format!("[{}]", trust(&issuer, "")),
    );
    let token = key.token("a", &issuer.claims(""));
    // What docker login keeps, and sends to /token; skopeo, crane and others send it on every path.
    let kept = basic("oidc", &token);
    place.get(&kept, "/v2/").await.expect(200);
    place.push_image(&kept, "ci/app", "v1", b"layer").await;
    place
        .push_blob(&kept, "other", b"x")
        .await
        .expect_error(403, "DENIED");
    let job = bearer(&place.token(&kept, &[PUSH]).await);
    place.push_image(&job, "ci/app", "v2", b"layer").await;
    for body in [
        format!("grant_type=password&username=any&password={token}&scope={PUSH}"),
        format!("grant_type=refresh_token&refresh_token={token}&scope={PUSH}"),
    ] {
        let answer = place
            .send(&STRANGER, "POST", "/token", &FORM, body)
            .await
            .expect(200);
        place
            .get(&token_of(&answer), "/v2/ci/app/tags/list")
            .await
            .expect(200);
        assert!(answer.json().get("issued_token_type").is_none());
    }
    // The catalogue shows what the role may pull, and nothing else.
    let admin = place.admin();
    place.push_image(&admin, "other", "v1", b"layer").await;
    let listed = place.get(&kept, "/v2/_catalog").await.expect(200);
    assert_eq!(listed.json()["repositories"], json!(["ci/app"]));
    // What an exchange lacks, or asks for in vain.
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
    for rest in [
        String::new(),
        format!("&subject_token={token}"),
        format!("&subject_token_type={ID_TOKEN}"),
        format!(
            "&subject_token={token}&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Asaml2"
        ),
        format!(
            "&subject_token={token}&subject_token_type={ID_TOKEN}&requested_token_type=urn%3Ax"
        ),
        format!("&subject_token={token}&subject_token_type={ID_TOKEN}&actor_token={token}"),
    ] {
        let body = format!("{grant}{rest}");
        place
            .send(&STRANGER, "POST", "/token", &FORM, body)
            .await
            .expect(400);
    }
}

#[tokio::test]
async fn tokens_are_taken_as_they_are_only_of_issuers_that_are_configured_so() {
    let (issuer, key) = (Issuer::start(), Key::rsa());
    for path in ["/direct", "/exchanged"] {
        issuer.publish(path, &[key.jwk("a")]);
    }
    let configured = issuer.configured(&[("/direct", ", direct = true"), ("/exchanged", "")]);
    let trusts = ["/direct", "/exchanged"]
        .map(|path| trust(&issuer, path))
        .join(", ");
    let place = place(&configured, &format!("[{trusts}]"));
    let [direct, exchanged] =
        ["/direct", "/exchanged"].map(|path| bearer(&key.token("a", &issuer.claims(path))));
    place.push_image(&direct, "ci/app", "v1", b"layer").await;
    place
        .push_blob(&direct, "other", b"x")
        .await
        .expect_error(403, "DENIED");
    place
        .get(&exchanged, "/v2/ci/app/tags/list")
        .await
        .expect(401);
    let mut late = issuer.claims("/direct");
    late["exp"] = json!(now() - 1);
    place
        .get(&bearer(&key.token("a", &late)), "/v2/")
        .await
        .expect(401);
    let forged = Key::rsa().token("a", &issuer.claims("/direct"));
    place.get(&bearer(&forged), "/v2/").await.expect(401);
    // An upload is its maker's: another job of the same role is another.
    let begun = place.begin(&direct, "ci/app").await.expect(202);
    let location = begun.header("location");
    place.get(&direct, location).await.expect(204);
    let mut other = issuer.claims("/direct");
    other["sub"] = json!("repo:acme/app:ref:refs/heads/other");
    let other = bearer(&key.token("a", &other));
    place.get(&other, location).await.expect(404);
    place.get(&other, "/v2/ci/app/tags/list").await.expect(200);
}

#[tokio::test]
async fn a_token_of_ours_ends_with_theirs_and_with_the_trust() {
    let (issuer, key) = (Issuer::start(), Key::ed());
    issuer.publish("", &[key.jwk("a")]);
    let issuers = issuer.configured(&[("", "")]);
    let directory = tempfile::tempdir().unwrap();
    let start = |claims: &str, role: &str| {
        let trust = format!(
            "[{{ issuer = {:?}, claims = {{ sub = {claims:?} }}, role = {role:?} }}]",
            issuer.url("")
        );
        let variables = [
            ("DRIFT_AUTH_ENABLED", "true"),
            ("DRIFT_AUTH_ISSUERS", &issuers),
            ("DRIFT_AUTH_TRUST", &trust),
        ];
        let server = Server::builder()
            .variables(&variables)
            .directory(directory.path());
        Place::on(server.start())
    };
    let before = start("repo:acme/**", "ci");
    let number = before.rule("allow role:ci pull,push ci/**");
    let mut claims = issuer.claims("");
    claims["exp"] = json!(now() + 120);
    let token = key.token("a", &claims);
    let answer = exchange(&before, &token, PUSH).await.expect(200);
    let lifetime = answer.json()["expires_in"].as_u64().unwrap();
    assert!((60..=120).contains(&lifetime), "{lifetime}");
    let job = token_of(&answer);
    let Caller(Some(header)) = &job else {
        unreachable!()
    };
    let part = header.split('.').nth(1).unwrap();
    let ours: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert!(ours["exp"].as_u64().unwrap() <= claims["exp"].as_u64().unwrap());
    before.push_blob(&job, "ci/app", b"x").await.expect(201);
    // By a token of ours no other is to be had.
    before
        .get(&job, &format!("/token?scope={PUSH}"))
        .await
        .expect(401);
    // A rule that goes acts at once.
    before.command(&["policy", "rm", &number]);
    before.soon(&job, "/v2/ci/app/tags/list", 403).await;
    before.rule("allow role:ci pull,push ci/**");
    before.soon(&job, "/v2/ci/app/tags/list", 200).await;
    drop(before);

    // A start with the same trust changes nothing; with another, the token is for nothing.
    let same = start("repo:acme/**", "ci");
    same.get(&job, "/v2/ci/app/tags/list").await.expect(200);
    drop(same);
    for (claims, role) in [("repo:acme/app:**", "ci"), ("repo:acme/**", "cd")] {
        let other = start(claims, role);
        other.get(&job, "/v2/ci/app/tags/list").await.expect(401);
        exchange(&other, &token, PUSH).await.expect(200);
    }
}

#[tokio::test]
async fn whoever_tries_tokens_waits_and_those_who_are_in_go_on() {
    let (issuer, key) = (Issuer::start(), Key::ed());
    issuer.publish("", &[key.jwk("a")]);
    let trust = format!("[{}]", trust(&issuer, ""));
    let limit = [("DRIFT_AUTH_BAD_LOGINS_BY_ADDRESS", "3")];
    let place = place_with(&issuer.configured(&[("", "")]), &trust, &limit);
    let claims = issuer.claims("");
    let known = key.token("a", &claims);
    let job = token_of(&exchange(&place, &known, PUSH).await.expect(200));
    let forged = Key::ed().token("a", &claims);
    let unknown = key.token("a", &json!({ "iss": "https://unknown.example.com" }));
    // One more is looked at, and found to be too many.
    for token in [&forged, &unknown, &forged, &unknown] {
        exchange(&place, token, PUSH).await.expect(401);
    }
    for token in [&forged, &unknown] {
        exchange(&place, token, PUSH)
            .await
            .expect_error(429, "TOOMANYREQUESTS");
    }
    place.get(&basic("oidc", &forged), "/v2/").await.expect(429);
    exchange(&place, &known, PUSH).await.expect(200);
    place.get(&job, "/v2/ci/app/tags/list").await.expect(404);
    let mut fresh = claims.clone();
    fresh["jti"] = json!("another");
    exchange(&place, &key.token("a", &fresh), PUSH)
        .await
        .expect(429);
}

#[test]
fn a_start_names_what_cannot_be_meant() {
    let directory = tempfile::tempdir().unwrap();
    let issuer =
        |rest: &str| format!("[{{ url = \"https://a.example.com\", audience = \"drift\"{rest} }}]");
    let github = "https://token.actions.githubusercontent.com";
    for (issuers, trust, words) in [
        (
            issuer(", ca = \"missing.pem\""),
            "[]".to_owned(),
            ["missing.pem", "[[auth.issuers]]"],
        ),
        (
            issuer(""),
            "[{ issuer = \"https://a.example.com\", claims = {}, role = \"ci\" }]".to_owned(),
            ["DRIFT_AUTH_TRUST", "everybody who has a token"],
        ),
        (
            format!("[{{ url = {github:?}, audience = \"drift\" }}]"),
            format!(
                "[{{ issuer = {github:?}, claims = {{ ref = \"refs/heads/main\" }}, role = \"ci\" }}]"
            ),
            ["DRIFT_AUTH_TRUST", "repository_owner"],
        ),
    ] {
        let mut child = drift()
            .current_dir(directory.path())
            .env("DRIFT_SERVER_API_PORT", "0")
            .env("DRIFT_SERVER_UI_ENABLED", "false")
            .env("DRIFT_AUTH_ENABLED", "true")
            .env("DRIFT_AUTH_ISSUERS", issuers)
            .env("DRIFT_AUTH_TRUST", trust)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let status = wait_for_exit(&mut child);
        let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
        assert!(!status.success());
        for word in words {
            assert!(said.contains(word), "{said:?} does not name {word:?}");
        }
    }
}
