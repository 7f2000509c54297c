//! Who may do what: each right by itself.

use crate::client::digest_of;
use crate::place::{Place, STRANGER, image_digest};

/// GHSA-qg67-7m6v-qg25.
#[tokio::test]
async fn whoever_may_pull_and_push_may_not_delete() {
    let place = Place::new(&["allow user:alice pull,push team/**"]);
    let alice = place.user("alice", &[]);
    let digest = place.push_image(&alice, "team/a", "v1", b"layer").await;
    let blob = digest_of(b"layer");
    for path in [
        "/v2/team/a/manifests/v1".to_owned(),
        format!("/v2/team/a/manifests/{digest}"),
        format!("/v2/team/a/blobs/{blob}"),
    ] {
        place
            .delete(&alice, &path)
            .await
            .expect_error(403, "DENIED");
        place.get(&alice, &path).await.expect(200);
    }
    let rule = place.rule("allow user:alice delete team/**");
    place
        .delete(&alice, "/v2/team/a/manifests/v1")
        .await
        .expect(202);
    place.command(&["policy", "rm", &rule]);
    let path = format!("/v2/team/a/manifests/{digest}");
    place
        .delete(&alice, &path)
        .await
        .expect_error(403, "DENIED");
}

/// CVE-2026-31801.
#[tokio::test]
async fn whoever_may_only_add_moves_no_tag() {
    let place = Place::new(&["allow user:alice pull,push-new team/**"]);
    let alice = place.user("alice", &[]);
    let first = place.push_image(&alice, "team/a", "latest", b"one").await;
    place.push_blob(&alice, "team/a", b"two").await.expect(201);
    let manifest = "/v2/team/a/manifests/latest";
    place
        .put_image(&alice, "team/a", "latest", b"two")
        .await
        .expect_error(403, "DENIED");
    let second = image_digest(b"two");
    let by_digest = format!("{second}?tag=new&tag=latest");
    place
        .put_image(&alice, "team/a", &by_digest, b"two")
        .await
        .expect_error(403, "DENIED");
    let answer = place.get(&alice, manifest).await.expect(200);
    assert_eq!(answer.header("docker-content-digest"), first.to_string());
    // Of what was refused, nothing is there.
    place
        .get(&alice, "/v2/team/a/manifests/new")
        .await
        .expect(404);
    // The same again moves nothing, and a new tag is new.
    place
        .put_image(&alice, "team/a", "latest", b"one")
        .await
        .expect(201);
    place
        .put_image(&alice, "team/a", "v2", b"two")
        .await
        .expect(201);

    place.rule("allow user:alice overwrite team/**");
    place
        .put_image(&alice, "team/a", "latest", b"two")
        .await
        .expect(201);
    let answer = place.get(&alice, manifest).await.expect(200);
    assert_eq!(answer.header("docker-content-digest"), second.to_string());
}

#[tokio::test]
async fn whoever_may_only_overwrite_makes_no_tag() {
    let place = Place::new(&["allow user:alice pull,overwrite team/**"]);
    let alice = place.user("alice", &[]);
    place
        .push_image(&place.admin(), "team/a", "latest", b"one")
        .await;
    place.push_blob(&alice, "team/a", b"two").await.expect(201);
    place
        .put_image(&alice, "team/a", "v2", b"two")
        .await
        .expect_error(403, "DENIED");
    place
        .put_image(&alice, "team/a", "latest", b"two")
        .await
        .expect(201);
}

/// CVE-2026-41888.
#[tokio::test]
async fn deletes_switched_off_are_off_for_all_three_kinds() {
    let place = Place::with(&[("DRIFT_STORAGE_DELETE", "false")], &[]);
    let admin = place.admin();
    let digest = place.push_image(&admin, "a", "v1", b"layer").await;
    place.push_blob(&admin, "a", b"loose").await.expect(201);
    for path in [
        "/v2/a/manifests/v1".to_owned(),
        format!("/v2/a/manifests/{digest}"),
        format!("/v2/a/blobs/{}", digest_of(b"loose")),
    ] {
        place
            .delete(&admin, &path)
            .await
            .expect_error(405, "UNSUPPORTED");
        place.get(&admin, &path).await.expect(200);
    }
}

#[tokio::test]
async fn the_catalogue_shows_what_the_caller_may_pull_and_no_trace_of_the_rest() {
    let place = Place::new(&[
        "allow user:alice pull {r/017,r/080}",
        "allow user:bob push **",
    ]);
    let (admin, alice) = (place.admin(), place.user("alice", &[]));
    let bob = place.user("bob", &[]);
    for number in 0..100 {
        let name = format!("r/{number:03}");
        place.push_blob(&admin, &name, b"content").await.expect(201);
    }
    for query in ["", "?n=1000", "?n=2"] {
        let path = format!("/v2/_catalog{query}");
        let answer = place.get(&alice, &path).await.expect(200);
        let names = serde_json::json!(["r/017", "r/080"]);
        assert_eq!(answer.json()["repositories"], names);
        assert_eq!(answer.header("link"), "");
    }
    let answer = place.get(&alice, "/v2/_catalog?n=1").await.expect(200);
    assert_eq!(
        answer.header("link"),
        "</v2/_catalog?n=1&last=r%2F017>; rel=\"next\""
    );
    let next = place.get(&alice, "/v2/_catalog?n=1&last=r%2F017").await;
    assert_eq!(next.json()["repositories"], serde_json::json!(["r/080"]));
    assert_eq!(next.header("link"), "");
    // To push is not to see.
    let answer = place.get(&bob, "/v2/_catalog").await.expect(200);
    assert_eq!(answer.json()["repositories"], serde_json::json!([]));
    let answer = place.get(&admin, "/v2/_catalog?n=1000").await;
    assert_eq!(answer.json()["repositories"].as_array().unwrap().len(), 100);

    // Strangers see the catalogue where the policy knows strangers.
    place
        .get(&STRANGER, "/v2/_catalog")
        .await
        .expect_error(401, "UNAUTHORIZED");
    place.rule("allow anonymous pull r/001");
    let answer = place.get(&STRANGER, "/v2/_catalog").await.expect(200);
    assert_eq!(answer.json()["repositories"], serde_json::json!(["r/001"]));
}

#[tokio::test]
async fn strangers_pull_what_is_public_and_are_asked_for_a_login_elsewhere() {
    let place = Place::new(&["allow everybody pull public/**"]);
    let (admin, alice) = (place.admin(), place.user("alice", &[]));
    let mut digests = Vec::new();
    for name in ["public/a", "private/a"] {
        digests.push(place.push_image(&admin, name, "v1", b"layer").await);
    }
    let layer = digest_of(b"layer");
    for (name, stranger, known) in [("public/a", 200, 200), ("private/a", 401, 403)] {
        for path in [
            format!("/v2/{name}/manifests/v1"),
            format!("/v2/{name}/manifests/{}", digests[0]),
            format!("/v2/{name}/blobs/{layer}"),
            format!("/v2/{name}/tags/list"),
            format!("/v2/{name}/referrers/{layer}"),
        ] {
            place.get(&STRANGER, &path).await.expect(stranger);
            place.get(&alice, &path).await.expect(known);
        }
        place.push_blob(&STRANGER, name, b"x").await.expect(401);
        place.push_blob(&alice, name, b"x").await.expect(403);
        let tag = format!("/v2/{name}/manifests/v1");
        place.delete(&STRANGER, &tag).await.expect(401);
        place.delete(&alice, &tag).await.expect(403);
    }
    // Whether there is such a thing is nobody's business who may not pull it.
    let answers = ["private/a", "private/none"].map(|name| format!("/v2/{name}/tags/list"));
    for caller in [&STRANGER, &alice] {
        let here = place.get(caller, &answers[0]).await;
        let nowhere = place.get(caller, &answers[1]).await;
        assert_eq!(here.status, nowhere.status);
        let text = |answer: &crate::client::Answer| {
            String::from_utf8(answer.body.clone())
                .unwrap()
                .replace("private/none", "private/a")
        };
        assert_eq!(text(&here), text(&nowhere));
    }
}

#[tokio::test]
async fn a_denial_names_the_rule_and_goes_before_what_administrators_may() {
    let place = Place::with(
        &[(
            "DRIFT_AUTH_RULES",
            "[{ effect = \"deny\", who = \"everybody\", actions = \"delete\", repositories = \"prod/**\" }]",
        )],
        &["allow everybody all **"],
    );
    let admin = place.admin();
    place.push_image(&admin, "prod/a", "v1", b"layer").await;
    let answer = place
        .delete(&admin, "/v2/prod/a/manifests/v1")
        .await
        .expect_error(403, "DENIED");
    let message = answer.json()["errors"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("user:admin may not delete in prod/a")
            && message.contains("rule 1 of [[auth.rules]]: deny everybody delete prod/**"),
        "{message}"
    );
}
