//! The commands of operators.

use super::{events, has, none, one};
use crate::place::Place;
use crate::support::{drift, said};

#[tokio::test]
async fn a_command_that_changes_something_is_an_event_of_the_user_who_gave_it() {
    let rules = ["deny user:alice pull team/secret"];
    let place = Place::new(&rules);
    let admin = place.admin();
    place.user("alice", &["leads"]);
    place.push_image(&admin, "team/a", "v1", b"one").await;
    let path = "/v2/team/a/manifests/v1";
    place.delete(&admin, path).await.expect(202);
    place.command(&["tag", "undelete", "team/a:v1"]);
    place.robot("ci", "pull", "team/*", &[]);
    place.command(&["user", "disable", "alice"]);
    place.command(&["gc"]);
    // What changes nothing, or finds nothing to change.
    place.command(&["gc", "--dry-run"]);
    place.command(&["user", "list"]);
    assert!(!place.run(&["user", "rm", "nobody"]).status.success());

    let events = events(&place);
    let uid = rustix::process::geteuid().as_raw().to_string();
    let by_operator = [
        ("uid", uid.as_str()),
        ("from", "admin.sock"),
        ("who", "operator"),
    ];
    for (object, command) in [
        ("account", "user add alice --group leads"),
        ("rule", "policy add: deny user:alice pull team/secret"),
        ("tag", "tag undelete team/a:v1"),
        ("token", "token create ci: pull in team/*"),
        ("account", "user disable alice"),
        ("store", "gc"),
    ] {
        let event = one(&events, &[("command", command), ("object", object)]);
        assert!(has(event, &by_operator), "{event}");
    }
    none(&events, "decision", "deny");
    let operators = events.iter().filter(|it| it["who"] == "operator");
    assert_eq!(operators.count(), 6, "{events:#?}");
}

#[tokio::test]
async fn commands_that_a_read_only_server_refuses_are_told() {
    let place = Place::with(&[("DRIFT_SERVER_READ_ONLY", "true")], &[]);
    let rules = "[{ repositories = \"**\", keep_last = 1 }]";
    for command in ["gc", "retention", "verify --repair"] {
        let mut run = drift();
        run.args(command.split(' '));
        run.env("DRIFT_RETENTION_RULES", rules);
        run.current_dir(place.registry.server.directory());
        assert!(!run.status().unwrap().success(), "{command}");
        let events = events(&place);
        let refused = [
            ("decision", "deny"),
            ("status", "405"),
            ("command", command),
        ];
        let event = one(&events, &refused);
        let reason = event["reason"].as_str().unwrap();
        assert!(reason.contains("takes no writes"), "{event}");
    }
}

#[tokio::test]
async fn a_command_on_a_stopped_store_is_one_event_as_well() {
    let mut place = Place::new(&[]);
    let admin = place.admin();
    place.push_image(&admin, "team/a", "v1", b"one").await;
    place.registry.server.signal("TERM");
    assert!(place.registry.server.wait().success());
    let run = |line: &str| {
        let mut command = drift();
        command.args(line.split(' '));
        command.env("DRIFT_AUTH_ENABLED", "true");
        command.current_dir(place.registry.server.directory());
        said(&command.output().unwrap())
    };
    run("user add carol");
    run("tag delete team/a:v1");
    run("user list");
    let history = run("tag history team/a:v1");
    assert!(history.contains("deleted by operator"), "{history}");
    let events = run("audit --json --who operator -n 0");
    let events: Vec<serde_json::Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let uid = rustix::process::geteuid().as_raw().to_string();
    for command in ["user add carol", "tag delete team/a:v1"] {
        let by = [("command", command), ("uid", uid.as_str())];
        one(&events, &by);
    }
    assert_eq!(events.len(), 2, "{events:#?}");
}
