//! Signed tokens: getting one, what it is good for, and forging one.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::place::{Caller, Place, STRANGER, basic, bearer, password_of};

const TAGS: &str = "/v2/team/a/tags/list";

/// The claims of a token.
fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn place() -> (Place, Caller) {
    let place = Place::new(&[
        "allow user:alice pull,push team/**",
        "allow everybody pull public/**",
    ]);
    let alice = place.user("alice", &[]);
    for name in ["team/a", "team/b", "public/a", "private/a"] {
        place.push_image(&place.admin(), name, "v1", b"layer").await;
    }
    (place, alice)
}

#[tokio::test]
async fn a_challenge_says_where_and_what_for() {
    let (place, alice) = place().await;
    let host = place.registry.server.address();
    let start = format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"");
    let digest = crate::client::digest_of(b"layer");
    for (method, path, scope) in [
        ("GET", "/v2/".to_owned(), ""),
        ("GET", TAGS.to_owned(), "repository:team/a:pull"),
        (
            "HEAD",
            format!("/v2/team/a/blobs/{digest}"),
            "repository:team/a:pull",
        ),
        (
            "PUT",
            "/v2/team/a/manifests/v1".to_owned(),
            "repository:team/a:pull,push",
        ),
        (
            "POST",
            "/v2/team/a/blobs/uploads/".to_owned(),
            "repository:team/a:pull,push",
        ),
        (
            "DELETE",
            "/v2/team/a/manifests/v1".to_owned(),
            "repository:team/a:delete",
        ),
        ("GET", "/v2/NONE/tags/list".to_owned(), ""),
    ] {
        let answer = place
            .send(&STRANGER, method, &path, &[], "")
            .await
            .expect(401);
        let scope = match scope {
            "" => String::new(),
            scope => format!(",scope=\"{scope}\""),
        };
        // One challenge: docker answers each of several, and fails at the second.
        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(challenges, [&format!("{start}{scope}")], "{method} {path}");
    }
    // The token of another scope is told so.
    let token = place.token(&alice, &["repository:team/b:pull"]).await;
    let answer = place.get(&bearer(&token), TAGS).await.expect(401);
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.ends_with(",error=\"insufficient_scope\""),
        "{challenge}"
    );
}

#[tokio::test]
async fn the_realm_is_the_configured_one_or_what_a_trusted_proxy_says() {
    let forwarded = [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
    ];
    let realm = async |place: &Place| {
        let answer = place.send(&STRANGER, "GET", "/v2/", &forwarded, "").await;
        answer.header("www-authenticate").to_owned()
    };
    let place = Place::new(&[]);
    let host = place.registry.server.address();
    let own = format!("Bearer realm=\"http://{host}/token\"");
    assert!(realm(&place).await.starts_with(&own));
    let place = Place::with(&[("DRIFT_SERVER_TRUSTED_PROXIES", "127.0.0.1")], &[]);
    let theirs = "Bearer realm=\"https://evil.example/token\",service=\"evil.example\"";
    assert_eq!(realm(&place).await, theirs);
    let url = "https://registry.example.com";
    let place = Place::with(&[("DRIFT_SERVER_EXTERNAL_URL", url)], &[]);
    let set =
        "Bearer realm=\"https://registry.example.com/token\",service=\"registry.example.com\"";
    assert_eq!(realm(&place).await, set);
}

#[tokio::test]
async fn a_token_is_for_what_was_asked_and_may_be_done() {
    let (place, alice) = place().await;
    let asked = [
        "repository:team/a:pull,push,delete repository:private/a:pull",
        "repository:public/a:pull,push",
        "repository:team/none:push",
    ];
    let token = place.token(&alice, &asked).await;
    let mut given = claims(&token)["scope"]["repositories"].take();
    let expected = json!({
        "team/a": "pull,push-new,overwrite",
        "public/a": "pull",
        "team/none": "push-new,overwrite",
    });
    assert_eq!(given.take(), expected);
    let by_token = bearer(&token);
    place.get(&by_token, "/v2/").await.expect(200);
    place.get(&by_token, TAGS).await.expect(200);
    place.push_image(&by_token, "team/a", "v2", b"layer").await;
    // What is not in it, although alice may; and what is not, because she may not.
    place
        .get(&by_token, "/v2/team/b/tags/list")
        .await
        .expect(401);
    place
        .get(&by_token, "/v2/private/a/tags/list")
        .await
        .expect_error(403, "DENIED");
    place
        .delete(&by_token, "/v2/team/a/manifests/v1")
        .await
        .expect_error(403, "DENIED");
    // Mounts ask for both repositories.
    let digest = crate::client::digest_of(b"layer");
    let mount = |from: &str| format!("/v2/team/none/blobs/uploads/?mount={digest}&from={from}");
    place
        .send(&by_token, "POST", &mount("team/b"), &[], "")
        .await
        .expect(202);
    place
        .send(&by_token, "POST", &mount("team/a"), &[], "")
        .await
        .expect(201);
    // By a token no other is to be had, neither a broader one nor a later one.
    place
        .get(&by_token, "/token?scope=repository:team/a:pull")
        .await
        .expect_error(401, "UNAUTHORIZED");
    // The catalogue takes its own scope.
    place.get(&by_token, "/v2/_catalog").await.expect(401);
    let token = place.token(&alice, &["registry:catalog:*"]).await;
    let listed = place.get(&bearer(&token), "/v2/_catalog").await.expect(200);
    let names = json!(["public/a", "team/a", "team/b", "team/none"]);
    assert_eq!(listed.json()["repositories"], names);
}

#[tokio::test]
async fn strangers_get_tokens_for_what_strangers_may() {
    let (place, _) = place().await;
    let asked = [
        "repository:public/a:pull,push",
        "repository:team/a:pull",
        "registry:catalog:*",
    ];
    let token = place.token(&STRANGER, &asked).await;
    assert_eq!(
        claims(&token)["scope"]["repositories"],
        json!({ "public/a": "pull" })
    );
    let by_token = bearer(&token);
    place
        .get(&by_token, "/v2/public/a/manifests/v1")
        .await
        .expect(200);
    place.get(&by_token, TAGS).await.expect(401);
    place
        .push_blob(&by_token, "public/a", b"x")
        .await
        .expect(401);
}

#[tokio::test]
async fn a_login_that_is_wrong_gets_no_token_however_it_comes() {
    let (place, alice) = place().await;
    let wrong = basic("alice", "a wrong password");
    let answer = place.get(&wrong, "/token?service=a").await;
    let answer = answer.expect_error(401, "UNAUTHORIZED");
    assert!(answer.header("www-authenticate").starts_with("Basic "));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let post = async |body: String| place.send(&STRANGER, "POST", "/token", &form, body).await;
    let grant = |password: &str| {
        let scope = "repository%3Ateam%2Fa%3Apull+repository%3Ateam%2Fb%3Apull";
        let password = password.replace(' ', "+");
        format!(
            "grant_type=password&service=a&client_id=c&username=alice&password={password}&scope={scope}"
        )
    };
    post(grant("a wrong password"))
        .await
        .expect_error(401, "UNAUTHORIZED");
    let answer = post(grant(&password_of("alice"))).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let json = answer.json();
    assert_eq!(json["expires_in"], 300);
    assert_eq!(json["token"], json["access_token"]);
    let by_token = bearer(json["access_token"].as_str().unwrap());
    place.get(&by_token, TAGS).await.expect(200);
    place
        .get(&by_token, "/v2/team/b/tags/list")
        .await
        .expect(200);
    for body in [
        "grant_type=password&username=alice",
        "grant_type=password",
        "grant_type=authorization_code&code=1",
        "grant_type=refresh_token",
        "%ff",
    ] {
        post(body.to_owned()).await.expect(400);
    }
    post("grant_type=refresh_token&refresh_token=nothing".to_owned())
        .await
        .expect(401);
    let many: String = (0..101)
        .map(|n| format!("repository:r{n}:pull%20"))
        .collect();
    place
        .get(&alice, &format!("/token?scope={many}"))
        .await
        .expect(400);
    place
        .send(&alice, "DELETE", "/token", &[], "")
        .await
        .expect(405);
}

/// CVE-2025-23208, for tokens that were given before.
#[tokio::test]
async fn a_token_is_worth_nothing_once_its_account_or_right_is_gone() {
    let (place, alice) = place().await;
    let token = async || bearer(&place.token(&alice, &["repository:team/a:pull,push"]).await);
    let by_token = token().await;
    place.get(&by_token, TAGS).await.expect(200);
    place.command(&[
        "policy",
        "add",
        "user:alice",
        "pull",
        "team/a",
        "--deny",
        "--at",
        "1",
    ]);
    place.soon(&by_token, TAGS, 403).await;
    place.command(&["policy", "rm", "1"]);
    place.soon(&by_token, TAGS, 200).await;
    place.command(&["user", "disable", "alice"]);
    place.soon(&by_token, TAGS, 401).await;
    // On again, what was given before does not come back.
    place.command(&["user", "enable", "alice"]);
    place.soon(&alice, TAGS, 200).await;
    place.get(&by_token, TAGS).await.expect(401);
    let by_token = token().await;
    place.get(&by_token, TAGS).await.expect(200);
    place.command(&["user", "passwd", "alice"]);
    place.soon(&by_token, TAGS, 401).await;
}

#[tokio::test]
async fn a_new_key_signs_and_the_old_one_still_verifies() {
    let (place, alice) = place().await;
    let scope = ["repository:team/a:pull"];
    let before = place.token(&alice, &scope).await;
    let kid = |token: &str| {
        let head = URL_SAFE_NO_PAD
            .decode(token.split('.').next().unwrap())
            .unwrap();
        serde_json::from_slice::<Value>(&head).unwrap()["kid"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let id = place.command(&["key", "rotate"]);
    let after = place.token(&alice, &scope).await;
    assert_ne!(kid(&before), id);
    assert_eq!(kid(&after), id);
    for token in [&before, &after] {
        place.get(&bearer(token), TAGS).await.expect(200);
    }
}

/// CVE-2025-24976.
#[tokio::test]
async fn a_token_that_was_not_signed_here_is_nobodys() {
    let (place, alice) = place().await;
    let real = place.token(&alice, &["repository:team/a:pull,push"]).await;
    let keys = place.registry.server.directory().join("drift-data/keys");
    let file = std::fs::read_dir(keys)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let file = file
        .into_iter()
        .find(|path| path.extension().is_some_and(|it| it == "pk8"));
    let pkcs8 = std::fs::read(file.unwrap()).unwrap();
    let public = Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap();
    let public = public.public_key().as_ref().to_vec();
    let ours = EncodingKey::from_ed_der(&pkcs8);
    let other = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let theirs = EncodingKey::from_ed_der(other.as_ref());
    let other_public = Ed25519KeyPair::from_pkcs8(other.as_ref()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(other_public.public_key().as_ref());

    let real_head: Header = jsonwebtoken::decode_header(&real).unwrap();
    let good = claims(&real);
    let sign =
        |head: &Header, claims: &Value, key: &EncodingKey| encode(head, claims, key).unwrap();
    // The tools are right: what the real key signs over the real claims is taken.
    let control = sign(&real_head, &good, &ours);
    place.get(&bearer(&control), TAGS).await.expect(200);

    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed
    };
    let raw = |head: Value, claims: &Value, signature: &str| {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}.{signature}", part(&head), part(claims))
    };
    let signature = real.rsplit('.').next().unwrap();
    let kid = real_head.kid.clone().unwrap();
    let hmac = |algorithm, secret: &[u8]| {
        let head = Header {
            kid: Some(kid.clone()),
            ..Header::new(algorithm)
        };
        sign(&head, &good, &EncodingKey::from_secret(secret))
    };
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid});
    let head_with = |key: &str, value: Value| {
        let mut head = json!({"alg": "EdDSA", "typ": "JWT", "kid": kid});
        head[key] = value;
        head
    };
    let signed_with_head = |head: Value| {
        let message = raw(head, &good, "");
        let message = message.trim_end_matches('.');
        let signature = URL_SAFE_NO_PAD.encode(other_public.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    };
    let now = good["iat"].as_u64().unwrap();
    let forged = [
        ("none", raw(json!({"alg": "none", "kid": kid}), &good, "")),
        (
            "None",
            raw(json!({"alg": "None", "kid": kid}), &good, signature),
        ),
        (
            "no signature",
            raw(json!({"alg": "EdDSA", "kid": kid}), &good, ""),
        ),
        ("HS256 of the public key", hmac(Algorithm::HS256, &public)),
        ("HS512 of the public key", hmac(Algorithm::HS512, &public)),
        ("HS256 of nothing", hmac(Algorithm::HS256, b"")),
        ("its own jwk", signed_with_head(head_with("jwk", jwk))),
        (
            "its own jku",
            signed_with_head(head_with("jku", json!("http://127.0.0.1:1/keys"))),
        ),
        (
            "its own x5c",
            signed_with_head(head_with("x5c", json!([x]))),
        ),
        (
            "a trusted kid, another key",
            sign(&real_head, &good, &theirs),
        ),
        ("an unknown kid", {
            let head = Header {
                kid: Some("unknown".into()),
                ..real_head.clone()
            };
            sign(&head, &good, &ours)
        }),
        ("a kid that is a path", {
            let head = Header {
                kid: Some("../../etc/passwd".into()),
                ..real_head.clone()
            };
            sign(&head, &good, &ours)
        }),
        ("no kid", {
            let head = Header {
                kid: None,
                ..real_head.clone()
            };
            sign(&head, &good, &ours)
        }),
        (
            "other claims",
            raw(
                json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}),
                &with(&|claims| claims["sub"] = json!("user:admin")),
                signature,
            ),
        ),
        (
            "expired",
            sign(&real_head, &with(&|it| it["exp"] = json!(now - 1)), &ours),
        ),
        (
            "not yet",
            sign(
                &real_head,
                &with(&|it| it["nbf"] = json!(now + 3600)),
                &ours,
            ),
        ),
        (
            "no end",
            sign(
                &real_head,
                &with(&|it| drop(it.as_object_mut().unwrap().remove("exp"))),
                &ours,
            ),
        ),
        (
            "another issuer",
            sign(&real_head, &with(&|it| it["iss"] = json!("else")), &ours),
        ),
        (
            "another audience",
            sign(&real_head, &with(&|it| it["aud"] = json!("else")), &ours),
        ),
        (
            "another stamp",
            sign(&real_head, &with(&|it| it["stamp"] = json!("1")), &ours),
        ),
        (
            "nobody",
            sign(
                &real_head,
                &with(&|it| it["sub"] = json!("user:nobody")),
                &ours,
            ),
        ),
        ("cut", real[..real.len() - 1].to_owned()),
        ("longer", format!("{real}A")),
        ("nothing", "..".to_owned()),
    ];
    for (what, token) in forged {
        let answer = place.get(&bearer(&token), TAGS).await;
        assert_eq!(answer.status, 401, "{what}");
    }
    // Rights are those of now, whatever a token says.
    let broad = with(&|it| it["scope"]["repositories"]["private/a"] = json!("all"));
    let broad = bearer(&sign(&real_head, &broad, &ours));
    place
        .get(&broad, "/v2/private/a/tags/list")
        .await
        .expect_error(403, "DENIED");
}
