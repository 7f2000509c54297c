//! What one repository, or one account, can learn of another: nothing.

use crate::client::digest_of;
use crate::place::{Caller, Place};

async fn place() -> (Place, Caller, Caller) {
    let place = Place::new(&[
        "allow user:alice pull,push,delete alice/**",
        "allow user:bob pull,push,delete bob/**",
    ]);
    let (alice, bob) = (place.user("alice", &[]), place.user("bob", &[]));
    (place, alice, bob)
}

async fn mount(place: &Place, caller: &Caller, digest: &str, from: &str) -> crate::client::Answer {
    let path = format!("/v2/bob/a/blobs/uploads/?mount={digest}{from}");
    place.send(caller, "POST", &path, &[], "").await
}

#[tokio::test]
async fn a_mount_without_the_right_to_pull_is_an_ordinary_upload() {
    let (place, alice, bob) = place().await;
    let secret = digest_of(b"secret").to_string();
    place
        .push_blob(&alice, "alice/secret", b"secret")
        .await
        .expect(201);
    let absent = digest_of(b"absent").to_string();
    for digest in [&secret, &absent] {
        for from in [
            "&from=alice/secret",
            "&from=nobody/none",
            "",
            "&from=..%2fx",
            "&from=A",
        ] {
            let answer = mount(&place, &bob, digest, from).await.expect(202);
            assert!(
                answer
                    .header("location")
                    .starts_with("/v2/bob/a/blobs/uploads/")
            );
            assert_eq!(answer.header("docker-content-digest"), "");
            assert_eq!(answer.body, b"");
        }
    }
    place
        .get(&bob, &format!("/v2/bob/a/blobs/{secret}"))
        .await
        .expect(404);
    // With the right it is mounted, and taken away the right is gone at once.
    let rule = place.rule("allow user:bob pull alice/secret");
    mount(&place, &bob, &secret, "&from=alice/secret")
        .await
        .expect(201);
    place
        .delete(&bob, &format!("/v2/bob/a/blobs/{secret}"))
        .await
        .expect(202);
    place.command(&["policy", "rm", &rule]);
    mount(&place, &bob, &secret, "&from=alice/secret")
        .await
        .expect(202);
    mount(&place, &bob, &secret, "").await.expect(202);
}

/// CVE-2024-39897.
#[tokio::test]
async fn a_blob_of_another_repository_is_not_there() {
    let (place, alice, bob) = place().await;
    let digest = digest_of(b"secret");
    place
        .push_blob(&alice, "alice/a", b"secret")
        .await
        .expect(201);
    place.push_blob(&bob, "bob/a", b"own").await.expect(201);
    let path = format!("/v2/bob/a/blobs/{digest}");
    let held_elsewhere = place
        .get(&bob, &path)
        .await
        .expect_error(404, "BLOB_UNKNOWN");
    let absent = digest_of(b"absent");
    let nowhere = place
        .get(&bob, &format!("/v2/bob/a/blobs/{absent}"))
        .await
        .expect_error(404, "BLOB_UNKNOWN");
    let text = |answer: &crate::client::Answer| String::from_utf8(answer.body.clone()).unwrap();
    assert_eq!(
        text(&held_elsewhere).replace(&digest.to_string(), "D"),
        text(&nowhere).replace(&absent.to_string(), "D")
    );
    place.send(&bob, "HEAD", &path, &[], "").await.expect(404);
}

/// CVE-2026-35172.
#[tokio::test]
async fn a_blob_deleted_in_one_repository_stays_in_the_other() {
    let (place, alice, bob) = place().await;
    let digest = digest_of(b"shared");
    for (caller, name) in [(&alice, "alice/a"), (&bob, "bob/a")] {
        place.push_blob(caller, name, b"shared").await.expect(201);
    }
    let of = |name: &str| format!("/v2/{name}/blobs/{digest}");
    place.delete(&alice, &of("alice/a")).await.expect(202);
    assert_eq!(
        place.get(&bob, &of("bob/a")).await.expect(200).body,
        b"shared"
    );
    place.get(&alice, &of("alice/a")).await.expect(404);
    // Nor does bob's right reach into alice's.
    place.delete(&bob, &of("alice/a")).await.expect(403);
}

/// CVE-2026-32589.
#[tokio::test]
async fn an_upload_is_its_repositorys_and_its_makers_alone() {
    let place = Place::new(&["allow group:dev pull,push team/**"]);
    let (alice, bob) = (place.user("alice", &["dev"]), place.user("bob", &["dev"]));
    let location = place
        .begin(&alice, "team/a")
        .await
        .expect(202)
        .header("location")
        .to_owned();
    let elsewhere = location.replace("/team/a/", "/team/b/");
    let made_up = location[..location.len() - 4].to_owned() + "0000";
    let digest = digest_of(b"content");
    for (caller, location) in [(&bob, &location), (&alice, &elsewhere), (&alice, &made_up)] {
        for (method, query) in [
            ("GET", String::new()),
            ("PATCH", String::new()),
            ("PUT", format!("?digest={digest}")),
            ("DELETE", String::new()),
        ] {
            let path = format!("{location}{query}");
            place
                .send(caller, method, &path, &[], "content")
                .await
                .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        }
    }
    // All of that has done nothing to it.
    let put = format!("{location}?digest={digest}");
    place
        .send(&alice, "PUT", &put, &[], "content")
        .await
        .expect(201);
    // Not even what it came to is told to others.
    place
        .send(&bob, "PUT", &put, &[], "")
        .await
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
}
