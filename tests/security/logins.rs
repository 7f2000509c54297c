//! Logging in, and failing to.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::place::{Caller, Place, STRANGER, basic, password_of};
use crate::support::{Server, said};

/// CVE-2026-4404.
#[tokio::test]
async fn a_first_start_has_a_password_of_its_own_until_it_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let server = Server::builder().variables(&[("DRIFT_AUTH_ENABLED", "true")]);
        Place::on(server.directory(directory.path()).start())
    };
    let place = start();
    let first = place.initial_password();
    for guess in ["", "admin", "password", "drift", "changeme", "Harbor12345"] {
        place.get(&basic("admin", guess), "/v2/").await.expect(401);
        place.get(&basic("", guess), "/v2/").await.expect(401);
    }
    place.get(&STRANGER, "/v2/").await.expect(401);
    place.get(&place.admin(), "/v2/").await.expect(200);

    let keys = directory.path().join("drift-data/keys");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    assert_eq!(mode(&keys.join("initial-admin-password")), 0o600);
    let log = place.registry.server.log();
    assert!(log.contains("keys/initial-admin-password"), "{log}");
    assert!(
        !log.contains(first.trim()),
        "the password itself is in the log"
    );

    // Another registry has another one.
    assert_ne!(first, Place::new(&[]).initial_password());
    // The next start makes no other.
    drop(place);
    let place = start();
    assert_eq!(place.initial_password(), first);
    let admin = place.admin();
    said(&place.run_with_input(
        &["user", "passwd", "admin", "--password-stdin"],
        "my own words\n",
    ));
    assert!(!keys.join("initial-admin-password").exists());
    place.get(&admin, "/v2/").await.expect(401);
    place
        .get(&basic("admin", "my own words"), "/v2/")
        .await
        .expect(200);
    drop(place);
    let place = start();
    assert!(!keys.join("initial-admin-password").exists());
    place
        .get(&basic("admin", "my own words"), "/v2/")
        .await
        .expect(200);
}

/// CVE-2025-23208.
#[tokio::test]
async fn a_change_of_account_or_group_acts_at_once_on_those_who_are_there() {
    let place = Place::new(&["allow group:dev pull,push team/**"]);
    let alice = place.user("alice", &["dev"]);
    place.push_blob(&alice, "team/a", b"x").await.expect(201);
    let tags = "/v2/team/a/tags/list";
    place.get(&alice, tags).await.expect(200);

    place.command(&["user", "groups", "alice"]);
    place.soon(&alice, tags, 403).await;
    place.command(&["user", "groups", "alice", "dev"]);
    place.soon(&alice, tags, 200).await;
    place.command(&["user", "disable", "alice"]);
    place.soon(&alice, tags, 401).await;
    place.command(&["user", "enable", "alice"]);
    place.soon(&alice, tags, 200).await;
    place.command(&["user", "passwd", "alice"]);
    place.soon(&alice, tags, 401).await;
    said(&place.run_with_input(
        &["user", "passwd", "alice", "--password-stdin"],
        &password_of("alice"),
    ));
    place.soon(&alice, tags, 200).await;
    place.command(&["user", "rm", "alice"]);
    place.soon(&alice, tags, 401).await;
}

/// RUSTSEC-2026-0199, for what a client may send.
#[tokio::test]
async fn passwords_of_any_bytes_and_length_are_wrong_and_nothing_else() {
    let place = Place::new(&[]);
    let admin = place.admin();
    for password in [
        String::new(),
        "ä".repeat(40),
        "\u{1f600}".repeat(18) + "x",
        "x".repeat(72),
        "x".repeat(73),
        "x".repeat(5000),
        "a\0b".to_owned(),
        ":".to_owned(),
    ] {
        place
            .get(&basic("admin", &password), "/v2/")
            .await
            .expect_error(401, "UNAUTHORIZED");
        place
            .get(&basic(&password, "x"), "/v2/")
            .await
            .expect_error(401, "UNAUTHORIZED");
    }
    for header in [
        "Basic",
        "Basic !!!",
        "Basic /w==",
        "Basic YWRtaW4=",
        "Bearer",
        "Bearer a.b.c",
        "x y",
    ] {
        let caller = Caller(Some(header.to_owned()));
        place
            .get(&caller, "/v2/")
            .await
            .expect_error(401, "UNAUTHORIZED");
    }
    // Two logins at once are nobody's.
    let two = [("authorization", admin.0.as_deref().unwrap()); 2];
    place
        .registry
        .send("GET", "/v2/", &two, "")
        .await
        .expect(401);
    place.get(&admin, "/v2/").await.expect(200);
}

#[tokio::test]
async fn a_password_that_an_account_gets_may_be_long_and_in_any_script() {
    let place = Place::new(&[]);
    let long = "пароль ".repeat(30) + "end";
    let add = ["user", "add", "alice", "--password-stdin"];
    said(&place.run_with_input(&add, &long));
    place.get(&basic("alice", &long), "/v2/").await.expect(200);
    // Not cut at 72 bytes, as bcrypt would.
    place
        .get(&basic("alice", &long[..long.len() - 3]), "/v2/")
        .await
        .expect(401);
}

/// CVE-2023-20902.
#[tokio::test]
async fn an_unknown_account_is_answered_as_a_wrong_password_is() {
    let place = Place::new(&[]);
    place.user("alice", &[]);
    place.user("gone", &[]);
    place.command(&["user", "disable", "gone"]);
    let wrong = |name: &str| basic(name, "a password that is wrong");
    let callers = [
        wrong("alice"),
        wrong("nobody"),
        wrong("gone"),
        wrong("not a name"),
    ];
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..15 {
        for (caller, times) in callers.iter().zip(&mut times) {
            let began = Instant::now();
            let answer = place.get(caller, "/v2/a/tags/list").await;
            times.push(began.elapsed());
            let mut answer = answer.expect_error(401, "UNAUTHORIZED");
            for header in ["x-request-id", "date"] {
                answer.headers.remove(header);
            }
            let known = place.get(&callers[0], "/v2/a/tags/list").await;
            assert_eq!(answer.body, known.body);
            assert_eq!(
                answer.header("www-authenticate"),
                known.header("www-authenticate")
            );
        }
    }
    let medians = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    assert!(
        *most < *least * 2,
        "the time tells which accounts there are: {medians:?}"
    );
}

/// The median and the worst hundredth of so many pulls of a manifest.
async fn pulled(place: &Place, caller: &Caller, pulls: usize) -> [Duration; 2] {
    let mut times = Vec::new();
    for _ in 0..pulls {
        let began = Instant::now();
        place
            .get(caller, "/v2/team/a/manifests/v1")
            .await
            .expect(200);
        times.push(began.elapsed());
    }
    times.sort();
    [times[pulls / 2], times[pulls * 99 / 100]]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_bad_logins_at_once_do_not_stand_in_the_way_of_pulls() {
    let place = Arc::new(Place::new(&["allow user:alice pull,push team/**"]));
    let alice = place.user("alice", &[]);
    place.push_image(&alice, "team/a", "v1", b"layer").await;
    let calm = pulled(&place, &alice, 300).await;
    let logins: Vec<_> = (0..1000)
        .map(|number| {
            let place = place.clone();
            tokio::spawn(async move {
                let wrong = basic("alice", &format!("wrong password {number}"));
                place.get(&wrong, "/v2/").await.status.as_u16()
            })
        })
        .collect();
    let stormy = pulled(&place, &alice, 300).await;
    let mut answers = std::collections::BTreeMap::<u16, usize>::new();
    for login in logins {
        *answers.entry(login.await.unwrap()).or_default() += 1;
    }
    println!(
        "median and P99 of a pull: {calm:?} before, {stormy:?} beside 1000 bad logins, answered {answers:?}"
    );
    let only = answers.keys().all(|status| [401, 429].contains(status));
    assert!(only, "{answers:?}");
    assert!(
        answers.get(&429).is_some_and(|&slowed| slowed > 0),
        "{answers:?}"
    );
    // The thousand clients run on the same processors, and so do other tests.
    let (slack, most) = (Duration::from_millis(20), Duration::from_millis(500));
    assert!(
        stormy[0] < calm[0] * 4 + slack && stormy[1] < calm[1] * 4 + most,
        "{calm:?} became {stormy:?}"
    );
    let memory = std::fs::read_to_string(format!(
        "/proc/{}/status",
        place.registry.server.process_id()
    ));
    let memory = memory.unwrap();
    let peak = memory
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 256 << 10, "{kib} KiB at the peak");
}

#[tokio::test]
async fn accounts_of_a_file_come_and_go_with_its_lines() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("htpasswd");
    let line =
        |name: &str, password: &str| format!("{name}:{}\n", bcrypt::hash(password, 5).unwrap());
    let argon2 = drift::auth::password::hash("the words of bob").unwrap();
    let write = |text: String| std::fs::write(&file, text).unwrap();
    write(line("alice", "secret") + &format!("bob:{argon2}\nadmin:plain\n"));
    let file = file.to_str().unwrap();
    let place = Place::with(
        &[("DRIFT_AUTH_HTPASSWD", file)],
        &[
            "allow user:alice pull,push team/**",
            "allow user:bob pull team/**",
        ],
    );
    // There are accounts, so that the start made none; a hash that is none opens nothing.
    let made = place
        .registry
        .server
        .directory()
        .join("drift-data/keys/initial-admin-password");
    assert!(!made.exists());
    place
        .get(&basic("admin", "plain"), "/v2/")
        .await
        .expect(401);
    place.registry.server.wait_for_log("a line is left out");
    assert!(!place.registry.server.log().contains("plain"));

    let (alice, bob) = (basic("alice", "secret"), basic("bob", "the words of bob"));
    place.push_blob(&alice, "team/a", b"x").await.expect(201);
    place.get(&bob, "/v2/team/a/tags/list").await.expect(200);
    place.push_blob(&bob, "team/a", b"y").await.expect(403);
    // bcrypt sees 72 bytes, and a longer password is not its beginning (RUSTSEC-2026-0199).
    let long = "x".repeat(72);
    write(line("alice", &long));
    place.soon(&basic("alice", &long), "/v2/", 200).await;
    place.get(&alice, "/v2/").await.expect(401);
    place.get(&bob, "/v2/").await.expect(401);
    for password in [
        long.clone() + "x",
        long.clone() + "\0",
        "ä".repeat(40),
        String::new(),
    ] {
        place
            .get(&basic("alice", &password), "/v2/")
            .await
            .expect(401);
    }
    let signed = place
        .token(&basic("alice", &long), &["repository:team/a:pull"])
        .await;
    let signed = crate::place::bearer(&signed);
    place.get(&signed, "/v2/team/a/tags/list").await.expect(200);
    std::fs::remove_file(file).unwrap();
    place.soon(&signed, "/v2/team/a/tags/list", 401).await;
    place.get(&basic("alice", &long), "/v2/").await.expect(401);
}
