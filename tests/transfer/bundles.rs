//! Bundles, of which each adds to the one before.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::client::{Registry, digest_of};
use crate::place::{assert_filled, at, failed, fill, from_pipe, ran, run, text};
use crate::support::said;

/// The digests of the blobs in a tar.
fn blobs(path: &Path) -> BTreeSet<String> {
    let mut tar = tar::Archive::new(std::fs::File::open(path).unwrap());
    let entries = tar.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        entry.path().unwrap().display().to_string()
    });
    entries
        .filter_map(|name| Some(name.strip_prefix("blobs/sha256/")?.to_owned()))
        .collect()
}

#[tokio::test]
async fn three_generations_arrive_as_they_were() {
    let from = Registry::with(&[("DRIFT_STORAGE_DELETE", "true")]);
    let to = Registry::start();
    let (there, here) = (from.server.directory(), to.server.directory());
    let bundles = ["one.tar", "two.tar", "three.tar"].map(|name| at(there, name));
    let [one, two, three] = [&bundles[0], &bundles[1], &bundles[2]].map(|path| text(path));

    let filled = fill(&from, "team/app").await;
    from.push_image("other", "old", b"what goes").await;
    ran(there, &["export", "--all", "--bundle", "--to", one]);
    // By a pipe, in which one cannot go back.
    let args = ["import", "-", "--repository", "team/app"];
    failed(&from_pipe(here, &bundles[0], &args), 1, "keeps its names");
    let args = ["import", "-", "--prune"];
    said(&from_pipe(
        here,
        &bundles[0],
        &[&args[..], &["--dry-run"]].concat(),
    ));
    to.get("/v2/team/app/manifests/v1").await.expect(404);
    said(&from_pipe(here, &bundles[0], &args));
    assert_filled(&to, "team/app", &filled).await;

    let moved = from.push_image("team/app", "v1", b"the layer of v2").await;
    from.push_image("third", "v1", b"what is new").await;
    from.delete("/v2/other/manifests/old").await.expect(202);
    ran(
        there,
        &[
            "export",
            "--since",
            one,
            "--to",
            two,
            "--inventory",
            "two.json",
        ],
    );
    let hex = |content: &[u8]| digest_of(content).hex();
    let found = blobs(&bundles[1]);
    for (content, is_there) in [
        (&b"the layer of v2"[..], true),
        (b"what is new", true),
        (&filled.layers[0], false),
        (b"{}", false),
    ] {
        assert_eq!(found.contains(&hex(content)), is_there, "{found:?}");
    }

    // By its inventory alone. Nothing is new, and a tag goes back.
    let back = from
        .get(&format!("/v2/team/app/manifests/{}", filled.image))
        .await
        .expect(200);
    let back: Value = back.json();
    from.put_manifest("team/app", "v1", &back).await.expect(201);
    ran(there, &["export", "--since", "two.json", "--to", three]);
    let found = blobs(&bundles[2]);
    assert_eq!(found, BTreeSet::from([filled.image.hex()]));

    // One after the other, and none before the one that it follows.
    let empty = Registry::start();
    let output = run(empty.server.directory(), &["import", two]);
    failed(
        &output,
        1,
        "not here, and not in the bundle: manifest team/app@",
    );
    failed(&output, 1, "Nothing was imported");
    empty.get("/v2/third/tags/list").await.expect(404);
    let output = run(here, &["import", two]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("other:old has gone"), "{errors}");
    to.get("/v2/other/manifests/old").await.expect(200);
    for _ in 0..2 {
        ran(here, &["import", two, "--prune"]);
        to.get("/v2/other/manifests/old").await.expect(404);
        let found = to.get("/v2/team/app/manifests/v1").await.expect(200);
        assert_eq!(digest_of(&found.body), moved);
        to.get("/v2/third/manifests/v1").await.expect(200);
    }
    ran(here, &["import", three]);
    assert_filled(&to, "team/app", &filled).await;
    assert!(ran(here, &["verify", "--full"]).contains("nothing is damaged"));
}

#[tokio::test]
async fn no_tag_moves_before_all_of_a_bundle_is_there() {
    let from = Registry::start();
    let to = Registry::start();
    let (there, here) = (from.server.directory(), to.server.directory());
    from.push_image("a", "v1", b"the first layer").await;
    from.push_image("b", "v1", b"the layer that is hit").await;
    let path = at(there, "bundle.tar");
    ran(there, &["export", "--all", "--bundle", "--to", text(&path)]);
    let whole = std::fs::read(&path).unwrap();
    let hit = b"the layer that is hit";
    let place = whole.windows(hit.len()).position(|it| it == hit).unwrap();
    let mut flipped = whole.clone();
    flipped[place] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    let output = run(here, &["import", text(&path)]);
    failed(&output, 1, "its digest is");
    failed(&output, 1, "no tag was set");
    to.get("/v2/a/manifests/v1").await.expect(404);
    // One that lacks a file says so before anything comes.
    std::fs::write(&path, &whole[..place.next_multiple_of(512) - 512]).unwrap();
    failed(
        &run(here, &["import", text(&path)]),
        1,
        "which its inventory names",
    );
    std::fs::write(&path, &whole).unwrap();
    ran(here, &["import", text(&path)]);
    to.get("/v2/a/manifests/v1").await.expect(200);
    let output = run(here, &["import", text(&path), "--repository", "c"]);
    failed(&output, 1, "keeps its names");
}
