//! The audit log: what is in it, what is not, and what becomes of it when things go wrong.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::Answer;
use crate::place::{Caller, Place, STRANGER, basic, bearer};
use crate::support::{Server, drift, said, wait_for};

const PROXIED: (&str, &str) = ("DRIFT_SERVER_TRUSTED_PROXIES", "127.0.0.1");
const EVERYTHING: (&str, &str) = ("DRIFT_AUDIT_DETAIL", "everything");

/// All events of the table; what was recorded before is in the file then as well.
fn events(place: &Place) -> Vec<Value> {
    lines(&place.command(&["audit", "--json", "-n", "0"]))
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no event: {line:?}")))
        .collect()
}

fn file_of(directory: &Path) -> PathBuf {
    directory.join("drift-data/audit/audit.jsonl")
}

/// The events of all files, the oldest first.
fn filed(directory: &Path) -> Vec<Value> {
    let file = file_of(directory);
    let older = (1..).map(|number| file.with_extension(format!("jsonl.{number}")));
    let mut files: Vec<_> = older.take_while(|file| file.exists()).collect();
    files.reverse();
    files.push(file);
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap());
    texts.flat_map(|text| lines(&text)).collect()
}

fn sequences(events: &[Value]) -> Vec<u64> {
    events
        .iter()
        .map(|it| it["sequence"].as_u64().unwrap())
        .collect()
}

/// The one event with these values.
#[track_caller]
fn one<'e>(events: &'e [Value], wanted: &[(&str, &str)]) -> &'e Value {
    let fits = |event: &&Value| {
        let same = |(key, value): &(&str, &str)| match &event[*key] {
            Value::String(text) => text == value,
            other => other.to_string().as_str() == *value,
        };
        wanted.iter().all(same)
    };
    let found: Vec<_> = events.iter().filter(fits).collect();
    assert_eq!(found.len(), 1, "{wanted:?} among {events:#?}");
    found[0]
}

#[track_caller]
fn none(events: &[Value], key: &str, value: &str) {
    let found = events.iter().find(|event| event[key] == value);
    assert!(found.is_none(), "{found:?}");
}

/// Sends as somebody, by a proxy that we trust.
async fn send(place: &Place, caller: &Caller, method: &str, path: &str) -> Answer {
    let from = [("x-forwarded-for", "198.51.100.9, 192.0.2.7")];
    place.send(caller, method, path, &from, "").await
}

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
    send(&place, &STRANGER, "GET", "/v2/").await.expect(401);
    send(&place, &STRANGER, "GET", "/v2/team/a/tags/list")
        .await
        .expect(401);
    let wrong = basic("alice", "guessed");
    let failed = send(&place, &wrong, "GET", "/v2/").await.expect(401);
    let first = place.push_image(&alice, "team/a", "v1", b"one").await;
    place.push_blob(&alice, "team/a", b"two").await.expect(201);
    let moved = place
        .put_image(&alice, "team/a", "v1", b"two")
        .await
        .expect(201);
    let again = place
        .put_image(&alice, "team/a", "v1", b"two")
        .await
        .expect(201);
    let denied = send(&place, &alice, "DELETE", "/v2/team/b/manifests/v1")
        .await
        .expect(403);
    let gone = send(&place, &alice, "DELETE", "/v2/team/a/manifests/v1")
        .await
        .expect(202);
    let blob = crate::client::digest_of(b"unused");
    place
        .push_blob(&alice, "team/a", b"unused")
        .await
        .expect(201);
    let deleted = format!("/v2/team/a/blobs/{blob}");
    place.delete(&alice, &deleted).await.expect(202);
    place.command(&["tag", "undelete", "team/a:v1"]);
    place.command(&[
        "token",
        "create",
        "ci",
        "--actions",
        "pull",
        "--repository",
        "team/*",
    ]);
    place.command(&["user", "disable", "alice"]);
    let off = place.get(&alice, "/v2/").await.expect(401);
    place.command(&["gc"]);
    place.command(&["gc", "--dry-run"]);
    place.command(&["user", "list"]);
    assert!(!place.run(&["user", "rm", "nobody"]).status.success());

    let events = events(&place);
    let of = |answer: &Answer| answer.header("x-request-id").to_owned();
    let event = one(&events, &[("request", &of(&failed))]);
    assert_eq!(event["who"], "tried:alice", "{event}");
    assert_eq!(
        (&event["action"], &event["decision"]),
        (&"login".into(), &"deny".into())
    );
    assert_eq!(
        (&event["from"], &event["status"]),
        (&"192.0.2.7".into(), &401.into())
    );
    one(
        &events,
        &[
            ("action", "login"),
            ("decision", "allow"),
            ("who", "user:alice"),
            ("from", "127.0.0.1"),
        ],
    );
    let pushed = [("action", "push-new"), ("digest", &first.to_string())];
    let event = one(&events, &pushed);
    assert_eq!(
        (&event["repository"], &event["reference"]),
        (&"team/a".into(), &"v1".into())
    );
    assert_eq!(
        event["reason"],
        "policy rule 10: allow user:alice pull,push-new team/**"
    );
    let event = one(&events, &[("request", &of(&moved))]);
    assert_eq!(
        (&event["action"], &event["object"]),
        (&"overwrite".into(), &"manifest".into())
    );
    assert_eq!(
        event["reason"],
        "policy rule 20: allow group:leads overwrite team/**"
    );
    // That the tag points there already takes no right but to push at all.
    let event = one(&events, &[("request", &of(&again))]);
    assert_eq!(
        event["reason"],
        "policy rule 10: allow user:alice pull,push-new team/**"
    );
    let event = one(&events, &[("request", &of(&denied))]);
    assert_eq!(
        (&event["action"], &event["reason"]),
        (&"delete".into(), &"no rule allows it".into())
    );
    assert_eq!(
        (&event["object"], &event["decision"]),
        (&"tag".into(), &"deny".into())
    );
    let event = one(&events, &[("request", &of(&gone))]);
    assert_eq!(
        event["reason"],
        "policy rule 40: allow user:alice delete team/a"
    );
    assert_eq!(
        (&event["object"], &event["from"]),
        (&"tag".into(), &"192.0.2.7".into())
    );
    one(
        &events,
        &[
            ("object", "blob"),
            ("action", "delete"),
            ("digest", &blob.to_string()),
        ],
    );
    one(
        &events,
        &[
            ("request", &of(&off)),
            ("who", "tried:alice"),
            ("decision", "deny"),
        ],
    );
    let uid = rustix::process::geteuid().as_raw().to_string();
    for (object, command) in [
        ("account", "user add alice --group leads"),
        ("rule", "policy add: deny user:alice pull team/secret"),
        ("tag", "tag undelete team/a:v1"),
        ("token", "token create ci: pull in team/*"),
        ("account", "user disable alice"),
        ("store", "gc"),
    ] {
        let wanted = [
            ("command", command),
            ("object", object),
            ("uid", &uid),
            ("from", "admin.sock"),
            ("who", "operator"),
        ];
        one(&events, &wanted);
    }
    none(&events, "action", "pull");
    none(&events, "action", "upload");
    none(&events, "who", "anonymous");
    let operators = events.iter().filter(|it| it["who"] == "operator").count();
    assert_eq!(operators, rules.len() + 5, "{events:#?}");
    assert_eq!(filed(place.registry.server.directory()), events);
}

#[tokio::test]
async fn what_is_refused_for_other_reasons_than_rights_says_which() {
    let variables = [
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
    let directory = tempfile::tempdir().unwrap();
    let mut all = vec![("DRIFT_AUTH_ENABLED", "true")];
    all.extend(variables);
    let start = |variables: &[(&str, &str)]| {
        Place::on(
            Server::builder()
                .variables(variables)
                .directory(directory.path())
                .start(),
        )
    };
    let mut place = start(&all);
    let admin = place.admin();
    place.push_image(&admin, "team/a", "v1", b"one").await;
    place.push_blob(&admin, "team/a", b"two").await.expect(201);
    let immutable = place
        .put_image(&admin, "team/a", "v1", b"two")
        .await
        .expect(403);
    let quota = place
        .push_blob(&admin, "small", &[7; 5000])
        .await
        .expect(403);
    let deletes = place
        .delete(&admin, "/v2/team/a/manifests/v1")
        .await
        .expect(405);
    // What no path has is no refusal.
    place
        .send(&admin, "POST", "/v2/team/a/manifests/v1", &[], "")
        .await
        .expect(405);
    // A push that fails is none either.
    place
        .put_image(&admin, "team/a", "w", b"never pushed")
        .await
        .expect(400);
    for _ in 0..3 {
        place
            .get(&basic("alice", "guessed"), "/v2/")
            .await
            .expect(401);
    }
    place
        .get(&basic("alice", "guessed"), "/v2/")
        .await
        .expect(429);
    let token = place.token(&admin, &["repository:team/a:pull"]).await;
    let narrow = place
        .push_blob(&bearer(&token), "team/a", b"x")
        .await
        .expect(401);
    let forged = place.get(&bearer("a.b.c"), "/v2/").await.expect(401);
    let read = events(&place);
    let of = |answer: &Answer| answer.header("x-request-id").to_owned();
    let expect = |events: &[Value], answer: &Answer, who: &str, action: &str, reason: &str| {
        let event = one(events, &[("request", &of(answer)), ("decision", "deny")]);
        assert_eq!(
            (&event["who"], &event["action"]),
            (&who.into(), &action.into())
        );
        let said = event["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{event}");
    };
    let admins = "user:admin";
    expect(
        &read,
        &immutable,
        admins,
        "push-new",
        "tag team/a:v1 is immutable",
    );
    expect(&read, &quota, admins, "upload", "its quota allows");
    expect(&read, &deletes, admins, "delete", "deletes switched off");
    expect(
        &read,
        &narrow,
        admins,
        "upload",
        "not asked for with this scope",
    );
    expect(&read, &forged, "unknown", "login", "none of ours");
    let throttled = one(&read, &[("status", "429"), ("who", "tried:alice")]);
    assert!(
        throttled["reason"]
            .as_str()
            .unwrap()
            .starts_with("too many logins have failed")
    );
    let denied = read.iter().filter(|it| it["decision"] == "deny").count();
    let failed = read
        .iter()
        .filter(|it| it["status"] == 401 && it["who"] == "tried:alice");
    let counts: u64 = failed
        .clone()
        .map(|it| it["count"].as_u64().unwrap_or(1))
        .sum();
    assert_eq!((counts, denied - failed.count()), (3, 6), "{read:#?}");

    place.registry.server.signal("TERM");
    place.registry.server.wait();
    drop(place);
    all.push(("DRIFT_SERVER_READ_ONLY", "true"));
    let place = start(&all);
    let refused = place.push_blob(&admin, "team/a", b"x").await.expect(405);
    assert!(!place.run(&["gc"]).status.success());
    let read = events(&place);
    expect(&read, &refused, admins, "upload", "takes no writes");
    let event = one(
        &read,
        &[("command", "gc"), ("decision", "deny"), ("status", "405")],
    );
    assert!(
        event["reason"]
            .as_str()
            .unwrap()
            .contains("takes no writes")
    );
}

#[tokio::test]
async fn everything_is_pulls_uploads_mounts_and_tokens_as_well() {
    let place = Place::with(&[EVERYTHING], &["allow anonymous pull public"]);
    let admin = place.admin();
    let digest = place.push_image(&admin, "public", "v1", b"one").await;
    let layer = crate::client::digest_of(b"one");
    let mount = format!("/v2/other/blobs/uploads/?mount={layer}&from=public");
    let mounted = place
        .send(&admin, "POST", &mount, &[], "")
        .await
        .expect(201);
    let pulled = place
        .get(&STRANGER, "/v2/public/manifests/v1")
        .await
        .expect(200);
    let blob = place
        .get(&STRANGER, &format!("/v2/public/blobs/{layer}"))
        .await
        .expect(200);
    place
        .token(&admin, &["repository:public:pull,delete"])
        .await;
    let missing = place
        .get(&STRANGER, "/v2/public/manifests/v2")
        .await
        .expect(404);
    place.get(&STRANGER, "/healthz").await.expect(200);
    let events = events(&place);
    let of = |answer: &Answer| answer.header("x-request-id").to_owned();
    one(
        &events,
        &[
            ("request", &of(&mounted)),
            ("action", "mount"),
            ("repository", "other"),
        ],
    );
    let event = one(
        &events,
        &[
            ("request", &of(&pulled)),
            ("who", "anonymous"),
            ("action", "pull"),
        ],
    );
    assert_eq!(event["digest"], digest.to_string());
    assert_eq!(
        event["reason"],
        "policy rule 10: allow anonymous pull public"
    );
    one(
        &events,
        &[
            ("request", &of(&blob)),
            ("object", "blob"),
            ("decision", "allow"),
        ],
    );
    one(
        &events,
        &[
            ("request", &of(&missing)),
            ("status", "404"),
            ("decision", "allow"),
        ],
    );
    one(
        &events,
        &[
            ("action", "token"),
            ("reference", "repository:public:pull,delete"),
        ],
    );
    assert_eq!(
        events.iter().filter(|it| it["action"] == "upload").count(),
        2
    );
    none(&events, "action", "probe");
}

#[tokio::test]
async fn no_secret_is_in_file_or_table() {
    let place = Place::with(&[EVERYTHING], &["allow user:alice all team/**"]);
    let words = "canary words of alice";
    said(&place.run_with_input(&["user", "add", "alice", "--password-stdin"], words));
    let alice = basic("alice", words);
    let create = [
        "token",
        "create",
        "ci",
        "--actions",
        "pull",
        "--repository",
        "team/*",
    ];
    let secret = place.command(&create);
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

/// Has eight clients look, so often each; the ids of the requests.
async fn look(place: &Place, caller: &Caller, times: usize) -> BTreeSet<String> {
    let clients = (0..8).map(async |client| {
        let mut ids = Vec::new();
        for number in 0..times {
            let path = format!("/v2/team/{client}/manifests/{number}");
            let answer = place.get(caller, &path).await.expect(404);
            ids.push(answer.header("x-request-id").to_owned());
        }
        ids
    });
    let ids = futures::future::join_all(clients).await;
    ids.into_iter().flatten().collect()
}

#[tokio::test]
async fn rotation_under_load_keeps_every_event_once_and_the_table_its_bound() {
    let variables = [
        EVERYTHING,
        ("DRIFT_AUDIT_ROTATE_AT", "64KiB"),
        ("DRIFT_AUDIT_KEEP", "1000"),
        ("DRIFT_AUDIT_ROWS", "300"),
    ];
    let place = Place::with(&variables, &[]);
    let admin = place.admin();
    let ids = look(&place, &admin, 300).await;
    assert_eq!(ids.len(), 2400);
    let rows = events(&place);
    let filed = filed(place.registry.server.directory());
    let numbers = sequences(&filed);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let pulls = filed.iter().filter(|event| event["action"] == "pull");
    let found: Vec<_> = pulls
        .map(|event| event["request"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(found.len(), ids.len());
    assert_eq!(BTreeSet::from_iter(found), ids);
    let second = file_of(place.registry.server.directory()).with_extension("jsonl.2");
    let length = std::fs::metadata(second).unwrap().len();
    assert!((60 << 10..=64 << 10).contains(&length), "{length}");
    // The table has the newest, and no more.
    assert_eq!(rows.len(), 300);
    assert_eq!(rows[..], filed[filed.len() - 300..]);
}

#[tokio::test]
async fn behind_a_kill_lines_are_whole_and_numbers_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("DRIFT_AUTH_ENABLED", "true"), EVERYTHING];
    let start = || {
        Place::on(
            Server::builder()
                .variables(&variables)
                .directory(directory.path())
                .start(),
        )
    };
    let mut place = start();
    let admin = place.admin();
    let answered = look(&place, &admin, 50).await;
    let address = place.registry.server.address();
    // It is killed in the middle of further ones.
    let head = format!(
        "GET /v2/a/tags/list HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\n\r\n",
        admin.0.clone().unwrap()
    );
    let load = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        while stream.write_all(head.as_bytes()).is_ok() {}
    });
    std::thread::sleep(std::time::Duration::from_millis(100));
    place.registry.server.kill();
    load.join().unwrap();
    drop(place);
    // A line that is cut off, as a crash of the machine leaves one.
    let file = file_of(directory.path());
    let mut text = std::fs::File::options().append(true).open(&file).unwrap();
    text.write_all(b"{\"sequence\":99").unwrap();
    let before = std::fs::read_to_string(&file).unwrap();
    let (whole, _) = before.rsplit_once('\n').unwrap();
    let before = lines(whole);
    // What was answered is there: the file has it before the answer is on its way but for a batch.
    let found: BTreeSet<_> = before
        .iter()
        .filter_map(|it| it["request"].as_str())
        .collect();
    let lost = answered
        .iter()
        .filter(|id| !found.contains(id.as_str()))
        .count();
    assert_eq!(lost, 0);

    let place = start();
    place.command(&["user", "add", "bob"]);
    let rows = events(&place);
    let after = std::fs::read_to_string(&file).unwrap();
    let torn: Vec<_> = after
        .lines()
        .filter(|line| serde_json::from_str::<Value>(line).is_err())
        .collect();
    assert_eq!(torn, ["{\"sequence\":99"]);
    let whole = lines(&after.replace("{\"sequence\":99\n", ""));
    let numbers = sequences(&whole);
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    let last = one(&rows, &[("command", "user add bob")]);
    assert!(last["sequence"].as_u64() > sequences(&before).last().copied());
    assert_eq!(whole.last().unwrap(), last);
    // The table, which may lack the end of the file, has the same events under the same numbers.
    let known: std::collections::HashMap<_, _> = numbers.iter().zip(&whole).collect();
    assert!(
        rows.iter()
            .all(|row| known[&row["sequence"].as_u64().unwrap()] == row)
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_written_stops_nothing_and_is_told() {
    let place = Place::with(&[("DRIFT_AUDIT_FILE", "/dev/full")], &[]);
    let alice = place.user("alice", &[]);
    place.get(&alice, "/v2/").await.expect(200);
    place
        .registry
        .server
        .wait_for_log("audit log's file cannot be written");
    one(
        &events(&place),
        &[("who", "user:alice"), ("action", "login")],
    );

    // Something is in the way of its directory, and then no more.
    let in_the_way = tempfile::NamedTempFile::new().unwrap();
    let file = in_the_way.path().join("audit.jsonl");
    let place = Place::with(&[("DRIFT_AUDIT_FILE", file.to_str().unwrap())], &[]);
    let admin = place.admin();
    place.push_image(&admin, "team/a", "v1", b"one").await;
    place.command(&["user", "add", "alice"]);
    let before = events(&place).len();
    assert_eq!(before, 3);
    place
        .registry
        .server
        .wait_for_log("audit log's file cannot be written");
    in_the_way.close().unwrap();
    place.command(&["user", "rm", "alice"]);
    let rows = events(&place);
    let filed = lines(&std::fs::read_to_string(&file).unwrap());
    assert_eq!(filed.len(), 2);
    assert_eq!(
        (&filed[0]["action"], &filed[0]["count"]),
        (&"missing".into(), &3.into())
    );
    assert_eq!(filed[1]["command"], "user rm alice");
    assert_eq!(rows[3..], filed[..]);
    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_flood_of_bad_logins_is_few_lines_and_every_one_of_them_is_counted() {
    let place = Place::new(&[]);
    let before = events(&place).len();
    let bad = basic("alice", "guessed");
    let guesses = (0..200).map(|_| place.get(&bad, "/v2/"));
    let answers = futures::future::join_all(guesses).await;
    let names = (0..100).map(async |number| {
        let guess = basic(&format!("name{number}"), "guessed");
        place.get(&guess, "/v2/").await
    });
    let others = futures::future::join_all(names).await;
    assert!(
        answers
            .iter()
            .chain(&others)
            .all(|it| [401, 429].contains(&it.status.as_u16()))
    );
    let events = &events(&place)[before..];
    let counts = events.iter().map(|it| it["count"].as_u64().unwrap_or(1));
    assert_eq!(counts.sum::<u64>(), 300);
    assert!(events.len() < 200, "{} lines", events.len());
    assert!(
        events
            .iter()
            .all(|it| it["decision"] == "deny" && it["from"] == "127.0.0.1")
    );
}

/// A push whose client leaves may be done all the same.
#[tokio::test]
async fn what_is_done_for_a_client_that_has_left_is_written_down() {
    let place = Place::new(&[]);
    let admin = place.admin();
    place.push_image(&admin, "team/a", "first", b"one").await;
    let manifest = serde_json::to_vec(&crate::client::image(b"{}", &[b"one"])).unwrap();
    let mut tags = vec!["first".to_owned()];
    for number in 0..40 {
        let mut stream = place.registry.server.connect();
        let head = format!(
            "PUT /v2/team/a/manifests/left{number} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\n\
             content-type: {}\r\ncontent-length: {}\r\n\r\n",
            admin.0.clone().unwrap(),
            crate::client::IMAGE,
            manifest.len()
        );
        stream
            .write_all(&[head.as_bytes(), &manifest].concat())
            .unwrap();
        // From one that is left at once to one that waits a little for its answer.
        std::thread::sleep(std::time::Duration::from_micros(100 * number));
        drop(stream);
    }
    // Behind this everything before it has been taken up, and its commits are made.
    place
        .put_image(&admin, "team/a", "last", b"one")
        .await
        .expect(201);
    wait_for("an event for each tag that is there", || {
        let list = place.command(&["audit", "-n", "0", "--repository", "team/a"]);
        let listed = tags_of(&place);
        tags = listed.clone();
        let all = listed
            .iter()
            .all(|tag| list.contains(&format!("team/a:{tag} ")));
        all.then_some(())
    });
    assert!(tags.len() > 2, "{tags:?}");
}

/// The tags of `team/a` that there are, by what their histories say.
fn tags_of(place: &Place) -> Vec<String> {
    let names = (0..40).map(|number| format!("left{number}"));
    let names = names.chain(["first".to_owned(), "last".to_owned()]);
    names
        .filter(|tag| {
            place
                .run(&["tag", "history", &format!("team/a:{tag}")])
                .status
                .success()
        })
        .collect()
}

#[tokio::test]
async fn the_command_finds_what_is_asked_for_running_or_stopped() {
    let mut place = Place::new(&["allow user:alice push-new team/**"]);
    let alice = place.user("alice", &[]);
    place.push_image(&alice, "team/a", "v1", b"one").await;
    place
        .delete(&alice, "/v2/team/a/manifests/v1")
        .await
        .expect(403);
    place
        .delete(&alice, "/v2/other/manifests/v1")
        .await
        .expect(403);
    let directory = place.registry.server.directory().to_owned();
    let ask = |arguments: &[&str]| {
        let output = drift()
            .arg("audit")
            .args(arguments)
            .current_dir(&directory)
            .output();
        said(&output.unwrap())
    };
    let asked = [
        vec!["--denied"],
        vec!["--denied", "--repository", "team/*"],
        vec!["--who", "alice"],
        vec!["--who", "operator", "-n", "1"],
        vec!["--since", "1h"],
        vec!["--since", "2099-01-01T00:00:00Z"],
        vec!["-n", "2", "--json"],
    ];
    let running: Vec<_> = asked.iter().map(|it| ask(it)).collect();
    let counts: Vec<_> = running.iter().map(|it| it.lines().count()).collect();
    assert_eq!(counts, [2, 1, 4, 1, 6, 0, 2], "{running:#?}");
    let denied =
        "deny  user:alice  delete tag  team/a:v1  from 127.0.0.1  403  (no rule allows it)\n";
    assert!(running[1].ends_with(denied), "{}", running[1]);
    assert!(
        running[3].contains("operator  admin  user add alice"),
        "{}",
        running[3]
    );
    place.registry.server.signal("TERM");
    assert!(place.registry.server.wait().success());
    let stopped: Vec<_> = asked.iter().map(|it| ask(it)).collect();
    assert_eq!(stopped, running);
    let mode = std::fs::metadata(file_of(&directory))
        .unwrap()
        .permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o600
    );
}

#[tokio::test]
async fn without_a_login_there_is_a_log_only_where_it_is_asked_for() {
    let place = Place::on(Server::start());
    place.push_image(&STRANGER, "a", "v1", b"one").await;
    assert_eq!(events(&place), [Value::Null; 0]);
    assert!(!file_of(place.registry.server.directory()).exists());
    let place = Place::on(Server::with(&[("DRIFT_AUDIT_ENABLED", "true")]));
    place.push_image(&STRANGER, "a", "v1", b"one").await;
    let event = &events(&place)[0];
    assert_eq!(
        (&event["who"], &event["reason"]),
        (&"everybody".into(), &"login is switched off".into())
    );
}
