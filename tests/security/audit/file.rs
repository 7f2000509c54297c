//! The file and the table, when things go wrong.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::Value;

use super::{EVERYTHING, counted, events, file_of, filed, lines, one};
use crate::place::{Caller, Place, basic};
use crate::support::Server;

fn sequences(events: &[Value]) -> Vec<u64> {
    let numbers = events.iter().map(|it| it["sequence"].as_u64().unwrap());
    numbers.collect()
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
    assert_eq!(counted(events), 300);
    assert!(events.len() < 200, "{} lines", events.len());
    assert!(
        events
            .iter()
            .all(|it| it["decision"] == "deny" && it["from"] == "127.0.0.1")
    );
}
