//! OCI layouts, out and in: directories, tars and pipes.

use serde_json::Value;

use crate::client::{Registry, digest_of, image};
use crate::place::{CONFIG, assert_filled, at, fill, on, piped, ran, run, text, write_layout};

#[tokio::test]
async fn what_is_exported_can_be_imported_as_it_was() {
    let from = Registry::start();
    let to = Registry::start();
    let (there, here) = (from.server.directory(), to.server.directory());
    let filled = fill(&from, "team/app").await;
    for (name, repository) in [("layout", "by/directory"), ("layout.tar", "by/tar")] {
        let path = at(there, name);
        let told = ran(there, &["export", "team/app", "--to", text(&path)]);
        assert!(told.contains("team/app:v1\n"), "{told}");
        let args = ["import", text(&path), "--repository", repository];
        let told = ran(here, &args);
        assert!(told.contains(&format!("{repository}:multi\n")), "{told}");
        assert_filled(&to, repository, &filled).await;
        // Once more there is nothing left to do.
        let told = ran(here, &[&args[..], &["--json"]].concat());
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["blobs_copied"], 0, "{told}");
        assert_eq!(told["manifests_copied"], 0, "{told}");
        assert_eq!(told["blobs_present"], 4, "{told}");
    }
    piped(
        (there, &["export", "team/app", "--to", "-"]),
        (here, &["import", "-", "--repository", "by/pipe"]),
    );
    assert_filled(&to, "by/pipe", &filled).await;
    // Under the names that it has.
    let whole = Registry::start();
    let elsewhere = whole.server.directory();
    piped(
        (there, &["export", "team/app", "--to", "-"]),
        (elsewhere, &["import", "-"]),
    );
    assert_filled(&whole, "team/app", &filled).await;
    // Without a name of ours it keeps that of the layout.
    ran(here, &["import", text(&at(there, "layout"))]);
    assert_filled(&to, "team/app", &filled).await;
}

#[tokio::test]
async fn several_repositories_go_into_one_layout_and_come_out_of_it() {
    let from = Registry::start();
    let to = Registry::start();
    let (there, here) = (from.server.directory(), to.server.directory());
    let first = fill(&from, "team/app").await;
    let second = from.push_image("other", "v1", b"another layer").await;
    let path = at(there, "all.tar");
    ran(there, &["export", "--all", "--to", text(&path)]);
    ran(here, &["import", text(&path)]);
    assert_filled(&to, "team/app", &first).await;
    let found = to.get("/v2/other/manifests/v1").await.expect(200);
    assert_eq!(digest_of(&found.body), second);
}

#[tokio::test]
async fn one_platform_comes_in_the_place_of_its_index() {
    let from = Registry::start();
    let there = from.server.directory();
    let filled = fill(&from, "team/app").await;
    let path = at(there, "layout");
    let export = ["export", "team/app:multi", "--to", text(&path)];
    ran(
        there,
        &[&export[..], &["--platform", "linux/arm64"]].concat(),
    );
    let index: Value =
        serde_json::from_slice(&std::fs::read(path.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str();
    assert_eq!(digest, Some(&*filled.children[1].to_string()));
    let output = run(
        there,
        &[&export[..], &["--platform", "linux/s390x"]].concat(),
    );
    crate::place::failed(&output, 1, "has no image for linux/s390x");
}

#[tokio::test]
async fn a_stopped_store_is_imported_to_and_exported_from() {
    let directory = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let first = Registry::on(on(directory.path(), &[]).start());
    let filled = fill(&first, "team/app").await;
    let mut first = first.server;
    first.signal("TERM");
    first.wait();
    let path = at(directory.path(), "layout.tar");
    ran(
        directory.path(),
        &["export", "team/app", "--to", text(&path)],
    );
    ran(other.path(), &["import", text(&path)]);
    let second = Registry::on(on(other.path(), &[]).start());
    assert_filled(&second, "team/app", &filled).await;
}

#[tokio::test]
async fn layouts_of_others_are_named_by_what_they_say_or_by_the_operator() {
    let to = Registry::start();
    let here = to.server.directory();
    let path = at(here, "theirs");
    let manifest = image(CONFIG, &[b"layer"]);
    for (called, extra, expected) in [
        (
            Some("docker.io/library/alpine:3.20"),
            &[][..],
            "library/alpine/manifests/3.20",
        ),
        (Some("v1"), &["--repository", "a/b"][..], "a/b/manifests/v1"),
        (
            None,
            &["--repository", "c", "--tag", "v2"][..],
            "c/manifests/v2",
        ),
    ] {
        let _ = std::fs::remove_dir_all(&path);
        write_layout(&path, &[CONFIG, b"layer"], &[(called, &manifest)]);
        ran(here, &[&["import", text(&path)], extra].concat());
        to.get(&format!("/v2/{expected}")).await.expect(200);
    }
    let output = run(here, &["import", text(&path)]);
    crate::place::failed(&output, 1, "--repository");
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let from = Registry::start();
    let to = Registry::start();
    let (there, here) = (from.server.directory(), to.server.directory());
    fill(&from, "team/app").await;
    let path = at(there, "layout");
    ran(there, &["export", "team/app", "--to", text(&path)]);
    let told = ran(here, &["import", text(&path), "--dry-run", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["blobs_copied"], &told["tags"]),
        (&4.into(), &2.into())
    );
    to.get("/v2/team/app/tags/list").await.expect(404);
}
