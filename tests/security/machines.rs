//! Tokens for machines.

use crate::place::{Place, STRANGER, basic, bearer};
use crate::support::{Server, drift, said};

const TAGS: &str = "/v2/team/a/tags/list";

#[tokio::test]
async fn a_token_is_for_its_repositories_and_actions_alone() {
    let place = Place::new(&["deny token:ci overwrite team/**"]);
    place
        .push_image(&place.admin(), "team/a", "v1", b"one")
        .await;
    let create = || place.robot("ci", "pull,push", "team/*", &[]);
    let secret = create();
    assert!(secret.starts_with("drift_"), "{secret}");
    // The name with it can be any.
    for name in ["ci", "anything", ""] {
        place.get(&basic(name, &secret), TAGS).await.expect(200);
    }
    let ci = basic("ci", &secret);
    place.push_image(&ci, "team/a", "v2", b"two").await;
    for path in ["/v2/other/tags/list", "/v2/team/a/b/tags/list"] {
        place.get(&ci, path).await.expect_error(403, "DENIED");
    }
    place
        .delete(&ci, "/v2/team/a/manifests/v1")
        .await
        .expect(403);
    // A rule on it takes away.
    place
        .put_image(&ci, "team/a", "v1", b"two")
        .await
        .expect(403);
    let history = place.command(&["tag", "history", "team/a:v2"]);
    assert!(history.contains("by token:ci"), "{history}");

    let signed = place
        .token(&ci, &["repository:team/a:pull,push,delete"])
        .await;
    place.get(&bearer(&signed), TAGS).await.expect(200);
    place.command(&["token", "revoke", "ci"]);
    place.soon(&ci, TAGS, 401).await;
    place.soon(&bearer(&signed), TAGS, 401).await;
    // Another token of the name does not wake what the first was exchanged for.
    create();
    place.get(&bearer(&signed), TAGS).await.expect(401);
}

/// CVE-2019-16919.
#[tokio::test]
async fn a_token_never_may_more_than_the_account_that_it_is_for() {
    let place = Place::new(&["allow user:alice pull team/**", "allow token:broad all **"]);
    let alice = place.user("alice", &[]);
    place
        .push_image(&place.admin(), "team/a", "v1", b"one")
        .await;
    let secret = place.robot("broad", "all", "**", &["--user", "alice"]);
    let broad = basic("alice", &secret);
    place.get(&broad, TAGS).await.expect(200);
    // Neither what it was made for nor a rule on it makes it more.
    place.push_blob(&broad, "team/a", b"x").await.expect(403);
    place
        .get(&broad, "/v2/private/a/tags/list")
        .await
        .expect(403);
    place
        .delete(&broad, "/v2/team/a/manifests/v1")
        .await
        .expect(403);
    let signed = place
        .token(
            &broad,
            &[
                "repository:team/a:pull,push,delete",
                "repository:private/a:pull",
            ],
        )
        .await;
    let signed = bearer(&signed);
    place.get(&signed, TAGS).await.expect(200);
    place.push_blob(&signed, "team/a", b"x").await.expect(403);

    // What the account gets the token gets, and loses with it.
    let rule = place.rule("allow user:alice push-new team/**");
    place.push_blob(&broad, "team/a", b"x").await.expect(201);
    place.command(&["policy", "rm", &rule]);
    place.push_blob(&broad, "team/a", b"y").await.expect(403);
    place.command(&["user", "disable", "alice"]);
    place.soon(&broad, TAGS, 401).await;
    place.soon(&signed, TAGS, 401).await;
    place.command(&["user", "rm", "alice"]);
    place.user("alice", &[]);
    place.get(&broad, TAGS).await.expect(401);
    place.get(&alice, "/v2/").await.expect(200);
    assert_eq!(place.command(&["token", "list"]), "");
}

#[tokio::test]
async fn a_token_ends_when_it_is_to() {
    let place = Place::new(&[]);
    let secret = place.robot("short", "pull", "**", &["--expires", "2s"]);
    let short = basic("x", &secret);
    place.get(&short, "/v2/").await.expect(200);
    let signed = bearer(&place.token(&short, &["repository:a:pull"]).await);
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    place.get(&short, "/v2/").await.expect(401);
    place.get(&signed, "/v2/").await.expect(401);
    for (expires, complaint) in [("0s", "in the future"), ("soon", "is no length of time")] {
        let output = place.run(&[
            "token",
            "create",
            "x",
            "--actions",
            "pull",
            "--repository",
            "a",
            "--expires",
            expires,
        ]);
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(complaint), "{error}");
    }
}

#[tokio::test]
async fn no_secret_is_written_anywhere_but_where_it_belongs() {
    let directory = tempfile::tempdir().unwrap();
    let server =
        Server::builder().variables(&[("DRIFT_AUTH_ENABLED", "true"), ("RUST_LOG", "trace")]);
    let mut place = Place::on(server.directory(directory.path()).start());
    let words = "canary words of alice";
    said(&place.run_with_input(&["user", "add", "alice", "--password-stdin"], words));
    place.rule("allow user:alice all team/**");
    let alice = basic("alice", words);
    let secret = place.robot("ci", "pull", "team/*", &["--user", "alice"]);
    place.push_image(&alice, "team/a", "v1", b"layer").await;
    place.get(&basic("ci", &secret), TAGS).await.expect(200);
    let signed = place.token(&alice, &["repository:team/a:pull"]).await;
    place.get(&bearer(&signed), TAGS).await.expect(200);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = format!(
        "grant_type=password&username=alice&password={}",
        words.replace(' ', "+")
    );
    place
        .send(&STRANGER, "POST", "/token", &form, body)
        .await
        .expect(200);
    let wrong = "canary of a wrong password";
    place.get(&basic("alice", wrong), "/v2/").await.expect(401);
    let query = format!("/token?password={}&account=alice", words.replace(' ', "+"));
    place.get(&STRANGER, &query).await.expect(200);
    let listed = place.command(&["token", "list"]) + &place.command(&["user", "list"]);

    let initial = place.initial_password().trim_end().to_owned();
    place.registry.server.signal("TERM");
    assert!(place.registry.server.wait().success());
    let header = |caller: &crate::place::Caller| {
        let text = caller.0.clone().unwrap();
        text.split(' ').nth(1).unwrap().to_owned()
    };
    let secrets = [
        words.to_owned(),
        words.replace(' ', "+"),
        wrong.to_owned(),
        secret.clone(),
        signed.rsplit('.').next().unwrap().to_owned(),
        initial,
        header(&alice),
        header(&basic("ci", &secret)),
    ];
    assert_eq!(hits(&listed.into_bytes(), &secrets), [""; 0]);
    let mut looked_at = Vec::new();
    for file in files(directory.path()) {
        let bytes = std::fs::read(&file).unwrap();
        looked_at.push((file.display().to_string(), bytes.len()));
        let found = hits(&bytes, &secrets);
        let is_initial = file.ends_with("keys/initial-admin-password");
        assert!(
            found.is_empty() || is_initial,
            "{}: {found:?}",
            file.display()
        );
    }
    for name in [
        "server.log",
        "index.redb",
        ".pack",
        ".changes",
        "audit.jsonl",
    ] {
        let is_there = |(file, length): &(String, usize)| file.ends_with(name) && *length > 100;
        assert!(looked_at.iter().any(is_there), "{name}: {looked_at:?}");
    }
    // When it was used is known after all that.
    let output = drift()
        .args(["token", "list"])
        .current_dir(directory.path())
        .output();
    let list = said(&output.unwrap());
    assert!(
        list.starts_with("ci  user:alice  pull  team/*  expires 20"),
        "{list}"
    );
    assert!(!list.contains("used never"), "{list}");
}

fn hits(bytes: &[u8], secrets: &[String]) -> Vec<String> {
    let holds = |secret: &&String| {
        let secret = secret.as_bytes();
        bytes.windows(secret.len()).any(|window| window == secret)
    };
    secrets.iter().filter(holds).cloned().collect()
}

fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|it| it.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}
