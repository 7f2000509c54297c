//! `drift user` and `drift policy`, beside a server and on a stopped store.

use crate::place::{Place, STRANGER, basic};
use crate::support::{Server, drift, said};

#[tokio::test]
async fn accounts_and_rules_made_on_a_stopped_store_hold_when_it_starts() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = drift()
            .args(arguments)
            .current_dir(directory.path())
            .output();
        output.unwrap()
    };
    let password = said(&run(&["user", "add", "alice", "--group", "dev"]));
    let number = said(&run(&["policy", "add", "group:dev", "push", "team/**"]));
    assert_eq!(number, "10\n");
    let tested = run(&["policy", "test", "user:alice", "overwrite", "team/a"]);
    let rule = "allow group:dev push-new,overwrite team/**";
    assert_eq!(said(&tested), format!("allowed: policy rule 10: {rule}\n"));

    let server = Server::builder().variables(&[("DRIFT_AUTH_ENABLED", "true")]);
    let place = Place::on(server.directory(directory.path()).start());
    let alice = basic("alice", password.trim_end());
    place.push_blob(&alice, "team/a", b"x").await.expect(201);
    place.push_blob(&alice, "other", b"x").await.expect(403);
    place.push_blob(&STRANGER, "team/a", b"x").await.expect(401);
    // There is an account already, so the start made none.
    assert!(
        !directory
            .path()
            .join("drift-data/keys/initial-admin-password")
            .exists()
    );
    let log = place.registry.server.log();
    assert!(log.contains("user:alice"), "the log names who asked");
    assert!(!log.contains(password.trim_end()));
}

#[test]
fn rules_have_numbers_by_which_they_are_ordered_and_taken_out() {
    let place = Place::new(&["allow user:a pull a", "allow user:b pull b"]);
    place.command(&[
        "policy",
        "add",
        "everybody",
        "pull",
        "c",
        "--deny",
        "--at",
        "15",
    ]);
    assert_eq!(
        place.command(&["policy", "list"]),
        "10  allow user:a pull a\n15  deny everybody pull c\n20  allow user:b pull b"
    );
    let taken = place.run(&["policy", "add", "user:c", "pull", "c", "--at", "15"]);
    assert!(!taken.status.success());
    let error = String::from_utf8(taken.stderr).unwrap();
    assert!(error.contains("policy rule 15 is there already"), "{error}");
    place.command(&["policy", "rm", "15"]);
    assert!(!place.run(&["policy", "rm", "15"]).status.success());
    let denied = place.run(&["policy", "test", "user:a", "pull", "b"]);
    assert_eq!(denied.status.code(), Some(1));
    assert!(
        String::from_utf8(denied.stdout)
            .unwrap()
            .starts_with("denied: ")
    );
}

#[test]
fn accounts_are_listed_and_what_cannot_be_is_refused_by_name() {
    let place = Place::new(&[]);
    place.user("alice", &["dev", "ops"]);
    place.command(&["user", "disable", "alice"]);
    let list = place.command(&["user", "list"]);
    let lines: Vec<_> = list.lines().collect();
    assert!(lines[0].starts_with("admin  admins  ") && lines[0].ends_with("initial password"));
    assert!(lines[1].starts_with("alice  dev,ops  ") && lines[1].ends_with("disabled"));
    for (arguments, input, complaint) in [
        (
            vec!["user", "add", "alice"],
            "",
            "account alice is there already",
        ),
        (vec!["user", "rm", "bob"], "", "there is no account bob"),
        (vec!["user", "passwd", "bob"], "", "there is no account bob"),
        (vec!["user", "add", "a:b"], "", "is no name"),
        (
            vec!["user", "add", "bob", "--password-stdin"],
            "short",
            "at least 8 characters",
        ),
        (vec!["policy", "add", "bob", "pull", "a"], "", "is nobody"),
        (
            vec!["policy", "add", "user:bob", "read", "a"],
            "",
            "is no list of actions",
        ),
        (
            vec!["policy", "add", "user:bob", "pull", "a["],
            "",
            "is no pattern",
        ),
    ] {
        let output = place.run_with_input(&arguments, input);
        assert!(!output.status.success(), "{arguments:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(complaint), "{arguments:?}: {error}");
    }
}

#[test]
fn a_check_of_the_store_takes_accounts_for_what_they_are() {
    let place = Place::new(&["allow user:a pull a"]);
    place.user("alice", &[]);
    said(&place.run(&["verify", "--full", "--repair"]));
    assert!(place.command(&["user", "list"]).contains("alice"));
    assert!(place.command(&["policy", "list"]).contains("user:a"));
}
