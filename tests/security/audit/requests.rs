//! What is told of requests, and what is not.

use super::{EVERYTHING, PROXIED, counted, events, file_of, filed, none, one, send, told};
use crate::client::{Answer, digest_of};
use crate::place::{Caller, Place, STRANGER, basic, bearer};
use crate::support::{Server, said};

#[tokio::test]
async fn each_event_says_who_from_where_what_and_by_which_rule() {
    let rules = [
        "allow user:alice pull,push-new team/**",
        "allow group:leads overwrite team/**",
        "deny user:alice pull team/secret",
        "allow user:alice delete team/a",
        "allow anonymous pull public",
    ];
    let place = Place::with(&[PROXIED], &rules);
    let alice = place.user("alice", &["leads"]);
    // To be told how to log in is no event.
    for path in ["/v2/", "/v2/team/a/tags/list"] {
        send(&place, &STRANGER, "GET", path).await.expect(401);
    }
    let wrong = basic("alice", "guessed");
    let failed = send(&place, &wrong, "GET", "/v2/").await.expect(401);
    let first = place.push_image(&alice, "team/a", "v1", b"one").await;
    place.push_blob(&alice, "team/a", b"two").await.expect(201);
    let push_two = async || place.put_image(&alice, "team/a", "v1", b"two").await;
    let moved = push_two().await.expect(201);
    let again = push_two().await.expect(201);
    let path = |name: &str| format!("/v2/team/{name}/manifests/v1");
    let denied = send(&place, &alice, "DELETE", &path("b")).await.expect(403);
    let gone = send(&place, &alice, "DELETE", &path("a")).await.expect(202);
    let blob = digest_of(b"unused").to_string();
    let pushed = place.push_blob(&alice, "team/a", b"unused").await;
    pushed.expect(201);
    let deleted = format!("/v2/team/a/blobs/{blob}");
    let deleted = place.delete(&alice, &deleted).await.expect(202);
    place.command(&["user", "disable", "alice"]);
    let off = place.get(&alice, "/v2/").await.expect(401);

    let events = events(&place);
    let login = [
        ("action", "login"),
        ("who", "tried:alice"),
        ("decision", "deny"),
    ];
    told(&events, &failed, &login);
    told(
        &events,
        &failed,
        &[("from", "192.0.2.7"), ("status", "401")],
    );
    told(&events, &off, &login);
    let login = [
        ("action", "login"),
        ("who", "user:alice"),
        ("decision", "allow"),
    ];
    one(&events, &[&login[..], &[("from", "127.0.0.1")]].concat());
    let by_rule_10 = "policy rule 10: allow user:alice pull,push-new team/**";
    let event = one(
        &events,
        &[("action", "push-new"), ("digest", &first.to_string())],
    );
    let same = one(
        &events,
        &[
            ("repository", "team/a"),
            ("reference", "v1"),
            ("reason", by_rule_10),
            ("digest", &first.to_string()),
        ],
    );
    assert_eq!(event, same);
    let by_rule_20 = "policy rule 20: allow group:leads overwrite team/**";
    let overwrite = [
        ("action", "overwrite"),
        ("object", "manifest"),
        ("reason", by_rule_20),
    ];
    told(&events, &moved, &overwrite);
    // That the tag points there already takes no right but to push at all.
    told(&events, &again, &[("reason", by_rule_10)]);
    let delete = [
        ("action", "delete"),
        ("object", "tag"),
        ("from", "192.0.2.7"),
    ];
    told(&events, &denied, &delete);
    told(
        &events,
        &denied,
        &[("decision", "deny"), ("reason", "no rule allows it")],
    );
    told(&events, &gone, &delete);
    let by_rule_40 = "policy rule 40: allow user:alice delete team/a";
    told(
        &events,
        &gone,
        &[("decision", "allow"), ("reason", by_rule_40)],
    );
    let delete = [("action", "delete"), ("object", "blob"), ("digest", &blob)];
    told(&events, &deleted, &delete);
    none(&events, "action", "pull");
    none(&events, "action", "upload");
    none(&events, "who", "anonymous");
    assert_eq!(filed(place.registry.server.directory()), events);
}

/// A registry whose requests can be refused for many reasons, at that place.
fn strict(directory: &std::path::Path, more: &[(&str, &str)]) -> Place {
    let mut variables = vec![
        ("DRIFT_AUTH_ENABLED", "true"),
        (
            "DRIFT_QUOTA_RULES",
            "[{ repositories = \"small\", bytes = \"1KiB\" }]",
        ),
        (
            "DRIFT_IMMUTABLE_RULES",
            "[{ repositories = \"team/*\", tags = \"v*\" }]",
        ),
        ("DRIFT_AUTH_BAD_LOGINS_BY_ADDRESS", "2"),
        ("DRIFT_STORAGE_DELETE", "false"),
    ];
    variables.extend(more);
    let builder = Server::builder().variables(&variables);
    Place::on(builder.directory(directory).start())
}

/// Asserts that a request came to one event, a refusal.
#[track_caller]
fn refused(events: &[serde_json::Value], answer: &Answer, who: &str, action: &str, reason: &str) {
    let wanted = [("decision", "deny"), ("who", who), ("action", action)];
    let event = told(events, answer, &wanted);
    let said = event["reason"].as_str().unwrap();
    assert!(said.contains(reason), "{event}");
}

#[tokio::test]
async fn what_is_refused_for_other_reasons_than_rights_says_which() {
    let directory = tempfile::tempdir().unwrap();
    let mut place = strict(directory.path(), &[]);
    let admin = place.admin();
    place.push_image(&admin, "team/a", "v1", b"one").await;
    place.push_blob(&admin, "team/a", b"two").await.expect(201);
    let immutable = place.put_image(&admin, "team/a", "v1", b"two").await;
    let quota = place.push_blob(&admin, "small", &[7; 5000]).await;
    let path = "/v2/team/a/manifests/v1";
    let deletes = place.delete(&admin, path).await.expect(405);
    // What no path has is no refusal, and a push that fails is none either.
    place.send(&admin, "POST", path, &[], "").await.expect(405);
    let failing = place
        .put_image(&admin, "team/a", "w", b"never pushed")
        .await;
    failing.expect(400);
    let guess = basic("alice", "guessed");
    for _ in 0..3 {
        place.get(&guess, "/v2/").await.expect(401);
    }
    place.get(&guess, "/v2/").await.expect(429);
    let token = bearer(&place.token(&admin, &["repository:team/a:pull"]).await);
    let narrow = place.push_blob(&token, "team/a", b"x").await.expect(401);
    let forged = place.get(&bearer("a.b.c"), "/v2/").await.expect(401);
    let events_of = events(&place);
    let admins = "user:admin";
    let immutable = immutable.expect(403);
    refused(
        &events_of,
        &immutable,
        admins,
        "push-new",
        "tag team/a:v1 is immutable",
    );
    refused(
        &events_of,
        &quota.expect(403),
        admins,
        "upload",
        "its quota allows",
    );
    refused(
        &events_of,
        &deletes,
        admins,
        "delete",
        "deletes switched off",
    );
    refused(
        &events_of,
        &narrow,
        admins,
        "upload",
        "not asked for with this scope",
    );
    refused(&events_of, &forged, "unknown", "login", "none of ours");
    let throttled = one(&events_of, &[("status", "429"), ("who", "tried:alice")]);
    let reason = throttled["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("too many logins have failed"),
        "{reason}"
    );
    let denied = events_of.iter().filter(|it| it["decision"] == "deny");
    let (failed, others): (Vec<_>, Vec<_>) =
        denied.partition(|it| it["status"] == 401 && it["who"] == "tried:alice");
    assert_eq!((counted(failed), others.len()), (3, 6), "{events_of:#?}");

    place.registry.server.signal("TERM");
    place.registry.server.wait();
    drop(place);
    let place = strict(directory.path(), &[("DRIFT_SERVER_READ_ONLY", "true")]);
    let push = place.push_blob(&admin, "team/a", b"x").await.expect(405);
    refused(&events(&place), &push, admins, "upload", "takes no writes");
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_a_refusal_and_every_one_of_them_is_counted() {
    let limits = [
        PROXIED,
        ("DRIFT_SERVER_REQUESTS_BY_ADDRESS", "2"),
        ("DRIFT_SERVER_REQUESTS_BY_ACCOUNT", "1"),
    ];
    let place = Place::with(&limits, &[]);
    let alice = place.user("alice", &[]);
    let before = events(&place).len();
    let ask = async |caller, address: &str, times: usize| {
        let from = [("x-forwarded-for", address)];
        let mut refused = 0;
        for _ in 0..times {
            let answer = place.send(caller, "GET", "/v2/", &from, "").await;
            refused += u64::from(answer.status == 429);
        }
        refused
    };
    // Ten seconds' worth are taken at once: 20 of an address, 10 of an account.
    let strangers = ask(&STRANGER, "192.0.2.1", 30).await;
    let hers = ask(&alice, "192.0.2.2", 18).await;
    assert!(strangers > 0 && hers > 0, "{strangers} {hers}");
    let events = &events(&place)[before..];
    let of = |from: &str| -> Vec<_> {
        let refused = events.iter().filter(|it| it["status"] == 429);
        refused.filter(|it| it["from"] == from).collect()
    };
    for (from, who, refused) in [
        // Before it is known who they are, and behind it.
        ("192.0.2.1", "anonymous", strangers),
        ("192.0.2.2", "user:alice", hers),
    ] {
        assert_eq!(counted(of(from)), refused, "{events:#?}");
        for event in of(from) {
            assert_eq!(
                (&event["who"], &event["decision"]),
                (&who.into(), &"deny".into())
            );
            assert_eq!(event["reason"], "too many requests; come back later");
        }
    }
}

#[tokio::test]
async fn everything_is_pulls_uploads_mounts_and_tokens_as_well() {
    let place = Place::with(&[EVERYTHING], &["allow anonymous pull public"]);
    let admin = place.admin();
    let digest = place.push_image(&admin, "public", "v1", b"one").await;
    let layer = digest_of(b"one");
    let mount = format!("/v2/other/blobs/uploads/?mount={layer}&from=public");
    let mounted = place.send(&admin, "POST", &mount, &[], "").await;
    let look = async |path: &str| place.get(&STRANGER, &format!("/v2/public/{path}")).await;
    let pulled = look("manifests/v1").await.expect(200);
    let blob = look(&format!("blobs/{layer}")).await.expect(200);
    let missing = look("manifests/v2").await.expect(404);
    let scope = "repository:public:pull,delete";
    place.token(&admin, &[scope]).await;
    place.get(&STRANGER, "/healthz").await.expect(200);
    let events = events(&place);
    let mount = [("action", "mount"), ("repository", "other")];
    told(&events, &mounted.expect(201), &mount);
    let digest = digest.to_string();
    let pull = [
        ("who", "anonymous"),
        ("action", "pull"),
        ("digest", &digest),
    ];
    told(&events, &pulled, &pull);
    let by_rule = [("reason", "policy rule 10: allow anonymous pull public")];
    told(&events, &pulled, &by_rule);
    told(&events, &blob, &[("object", "blob"), ("decision", "allow")]);
    told(
        &events,
        &missing,
        &[("status", "404"), ("decision", "allow")],
    );
    one(&events, &[("action", "token"), ("reference", scope)]);
    let uploads = events.iter().filter(|it| it["action"] == "upload");
    assert_eq!(uploads.count(), 2);
    none(&events, "action", "probe");
}

#[tokio::test]
async fn no_secret_is_in_file_or_table() {
    let place = Place::with(&[EVERYTHING], &["allow user:alice all team/**"]);
    let words = "canary words of alice";
    said(&place.run_with_input(&["user", "add", "alice", "--password-stdin"], words));
    let alice = basic("alice", words);
    let secret = place.robot("ci", "pull", "team/*", &[]);
    place.push_image(&alice, "team/a", "v1", b"layer").await;
    place.get(&basic("ci", &secret), "/v2/").await.expect(200);
    let signed = place.token(&alice, &["repository:team/a:pull"]).await;
    place.get(&bearer(&signed), "/v2/").await.expect(200);
    let cut = &signed[..signed.len() - 1];
    place.get(&bearer(cut), "/v2/").await.expect(401);
    place
        .get(&basic("alice", "canary of a guess"), "/v2/")
        .await
        .expect(401);
    // A token where the name goes, and one that is none.
    place.get(&basic(&secret, "x"), "/v2/").await.expect(401);
    place
        .get(&basic("ci", &format!("{secret}x")), "/v2/")
        .await
        .expect(401);
    let query = "/token?password=canary+words+of+alice&account=alice&scope=repository:team/a:pull";
    place.get(&STRANGER, query).await.expect(200);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = "grant_type=password&username=alice&password=canary+of+a+form";
    place
        .send(&STRANGER, "POST", "/token", &form, body)
        .await
        .expect(401);
    place
        .get(&basic("\u{1b}[2J\nevil", "x"), "/v2/")
        .await
        .expect(401);

    let events = events(&place);
    one(&events, &[("who", "tried:(a token)")]);
    one(&events, &[("who", "tried:\\u{1b}[2J\\u{a}evil")]);
    let said = format!("{events:?}") + &place.command(&["audit", "-n", "0"]);
    let file = std::fs::read_to_string(file_of(place.registry.server.directory())).unwrap();
    let header = |caller: &Caller| caller.0.clone().unwrap()[6..].to_owned();
    for canary in [
        "canary",
        &secret[6..],
        signed.rsplit('.').next().unwrap(),
        signed.split('.').nth(1).unwrap(),
        &header(&alice),
        "argon2",
        place.initial_password().trim_end(),
    ] {
        assert!(!said.contains(canary) && !file.contains(canary), "{canary}");
    }
    assert!(!file.contains('\u{1b}') && !said.contains('\u{1b}'));
}

#[tokio::test]
async fn without_a_login_there_is_a_log_only_where_it_is_asked_for() {
    let place = Place::on(Server::start());
    place.push_image(&STRANGER, "a", "v1", b"one").await;
    assert_eq!(events(&place), [serde_json::Value::Null; 0]);
    assert!(!file_of(place.registry.server.directory()).exists());
    let place = Place::on(Server::with(&[("DRIFT_AUDIT_ENABLED", "true")]));
    place.push_image(&STRANGER, "a", "v1", b"one").await;
    let event = &events(&place)[0];
    assert_eq!(
        (&event["who"], &event["reason"]),
        (&"everybody".into(), &"login is switched off".into())
    );
}
