//! `drift audit`.

use super::file_of;
use crate::place::Place;
use crate::support::{drift, said};

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
