//! Tokens that are not the issuer's, not for us, not now, or not of whom a role is for.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::issuer::{AUDIENCE, Issuer, Key, Trap, now, unsigned};
use crate::oidc::{PUSH, exchange, place, trust};
use crate::place::{basic, bearer};

#[tokio::test]
async fn a_token_that_is_not_the_issuers_for_us_and_now_lets_nobody_in() {
    let (issuer, rsa, ed) = (Issuer::start(), Key::rsa(), Key::ed());
    let trap = Trap::at([127, 0, 0, 1]);
    let mut for_encryption = Key::ed().jwk("enc");
    for_encryption["use"] = json!("enc");
    issuer.publish("", &[rsa.jwk("r"), ed.jwk("o"), for_encryption]);
    let place = place(
        &issuer.configured(&[("", "")]),
        &format!("[{}]", trust(&issuer, "")),
    );
    let good = issuer.claims("");
    // The tools are right: what is as it should be is taken.
    for token in [rsa.token("r", &good), ed.token("o", &good)] {
        exchange(&place, &token, PUSH).await.expect(200);
    }
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        ed.token("o", &changed)
    };
    let without = |name: &str| {
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove(name);
        ed.token("o", &changed)
    };
    let header = |more: Value| {
        let mut header = json!({ "alg": "EdDSA", "kid": "o", "typ": "JWT" });
        header
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        header
    };
    let stranger = Key::ed();
    let jwk = rsa.jwk("r");
    let modulus = jwk["n"].as_str().unwrap();
    let hmac_by = |secret: &[u8], kid: &str| {
        let message = unsigned(&json!({ "alg": "HS256", "kid": kid }), &good);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signature = hmac::sign(&secret, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    };
    let public = URL_SAFE_NO_PAD
        .decode(ed.jwk("o")["x"].as_str().unwrap())
        .unwrap();
    let real = ed.token("o", &good);
    let (message, signature) = real.rsplit_once('.').unwrap();
    let forged = [
        ("no audience", without("aud")),
        ("another audience", with("aud", json!("other"))),
        (
            "other audiences",
            with("aud", json!(["other", "drift-test2"])),
        ),
        (
            "an audience of another case",
            with("aud", json!(AUDIENCE.to_uppercase())),
        ),
        ("no issuer", without("iss")),
        ("another issuer", with("iss", json!("https://localhost:1"))),
        (
            "an issuer with a slash",
            with("iss", json!(issuer.url("/"))),
        ),
        ("two issuers", with("iss", json!([issuer.url("")]))),
        ("no subject", without("sub")),
        ("a subject that is a number", with("sub", json!(7))),
        ("no end", without("exp")),
        ("expired", with("exp", json!(now() - 1))),
        ("expired long ago", with("exp", json!(now() - 1000))),
        (
            "an end that is text",
            with("exp", json!((now() + 1000).to_string())),
        ),
        ("not yet", with("nbf", json!(now() + 1000))),
        ("made in the future", with("iat", json!(now() + 1000))),
        ("an unknown kid", ed.token("unknown", &good)),
        ("no kid", ed.token_with(&json!({ "alg": "EdDSA" }), &good)),
        ("a kid that is a path", ed.token("../../keys/o", &good)),
        ("a trusted kid, another key", stranger.token("o", &good)),
        ("a kid of another kind", ed.token("r", &good)),
        ("a kid to encrypt with", ed.token("enc", &good)),
        (
            "RS256 by an Ed25519 key",
            ed.token_with(&header(json!({ "alg": "RS256" })), &good),
        ),
        (
            "EdDSA by an RSA key",
            rsa.token_with(&json!({ "alg": "EdDSA", "kid": "r" }), &good),
        ),
        (
            "PS256 signed as RS256",
            rsa.token_with(&json!({ "alg": "PS256", "kid": "r" }), &good),
        ),
        ("HS256 by the Ed25519 key", hmac_by(&public, "o")),
        (
            "HS256 by the modulus",
            hmac_by(&URL_SAFE_NO_PAD.decode(modulus).unwrap(), "r"),
        ),
        (
            "HS256 by its text",
            hmac_by(jwk.to_string().as_bytes(), "r"),
        ),
        (
            "none",
            format!(
                "{}.",
                unsigned(&json!({ "alg": "none", "kid": "o" }), &good)
            ),
        ),
        (
            "None",
            format!(
                "{}.{signature}",
                unsigned(&json!({ "alg": "None", "kid": "o" }), &good)
            ),
        ),
        ("no signature", format!("{message}.")),
        ("another signature", {
            let other = with("sub", json!("repo:acme/app:other"));
            format!("{message}.{}", other.rsplit('.').next().unwrap())
        }),
        ("other claims", {
            let mut changed = good.clone();
            changed["sub"] = json!("repo:acme/app:other");
            format!("{}.{signature}", unsigned(&header(json!({})), &changed))
        }),
        (
            "its own jwk",
            stranger.token_with(&header(json!({ "jwk": stranger.jwk("o") })), &good),
        ),
        (
            "its own jku",
            stranger.token_with(
                &header(json!({ "jku": format!("https://{}/", trap.address) })),
                &good,
            ),
        ),
        (
            "its own x5u",
            stranger.token_with(
                &header(json!({ "x5u": format!("https://{}/", trap.address) })),
                &good,
            ),
        ),
        (
            "crit",
            ed.token_with(&header(json!({ "crit": ["exp"] })), &good),
        ),
        (
            "a logout token",
            ed.token_with(&header(json!({ "typ": "logout+jwt" })), &good),
        ),
        ("cut", real[..real.len() - 1].to_owned()),
        ("longer", format!("{real}A")),
        ("too long", with("more", json!("a".repeat(16 * 1024)))),
        ("two parts", message.to_owned()),
        ("four parts", format!("{real}.a")),
        ("nothing", "..".to_owned()),
    ];
    for (what, token) in forged {
        let answer = exchange(&place, &token, PUSH).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        let answer = place.get(&basic("oidc", &token), "/v2/").await;
        assert_eq!(answer.status, 401, "{what} as a password: {answer:?}");
    }
    // Bearer is for those who are configured so.
    place.get(&bearer(&real), "/v2/").await.expect(401);
    assert_eq!(trap.caught(), 0, "a header made the server connect");
    // At the start, and once for all the unknown kids.
    assert!(issuer.asked("/keys") <= 2, "{}", issuer.asked("/keys"));
}

#[tokio::test]
async fn each_condition_of_a_trust_has_to_hold() {
    let (issuer, key) = (Issuer::start(), Key::ed());
    issuer.publish("", &[key.jwk("a")]);
    let trust = format!(
        "[{{ issuer = {:?}, role = \"ci\", claims = {{ sub = \"repo:acme/*:ref:refs/heads/main\", \
         repository = [\"acme/app\", \"acme/lib\"], ref_protected = \"true\", groups = \"ops\", \
         \"/kubernetes.io/serviceaccount/name\" = \"build*\" }} }}]",
        issuer.url("")
    );
    let place = place(&issuer.configured(&[("", "")]), &trust);
    let good = issuer.claims("");
    exchange(&place, &key.token("a", &good), PUSH)
        .await
        .expect(200);
    for (name, value) in [
        ("sub", json!("repo:acme/app:ref:refs/heads/main2")),
        ("sub", json!("repo:acme/app:pull_request")),
        ("sub", json!("repo:acme-evil/app:ref:refs/heads/main")),
        ("sub", json!("repo:acme/app/x:ref:refs/heads/main")),
        (
            "sub",
            json!("repo:acme/evil:environment:a:ref:refs/heads/main"),
        ),
        ("sub", json!("xrepo:acme/app:ref:refs/heads/main")),
        ("repository", json!("acme/app2")),
        ("repository", json!("Acme/app")),
        ("repository", json!(null)),
        ("ref_protected", json!(false)),
        ("groups", json!(["dev"])),
        ("groups", json!([["ops"]])),
        ("groups", json!({ "ops": "ops" })),
        (
            "kubernetes.io",
            json!({ "serviceaccount": { "name": "evil-builder" } }),
        ),
        ("kubernetes.io", json!("builder")),
    ] {
        let mut changed = good.clone();
        changed[name] = value.clone();
        let answer = exchange(&place, &key.token("a", &changed), PUSH).await;
        assert_eq!(answer.status, 401, "{name} = {value}: {answer:?}");
    }
    let log = place
        .registry
        .server
        .wait_for_log("no [[auth.trust]] fits the claims");
    assert!(log.contains("repo:acme/app:pull_request"));
}
