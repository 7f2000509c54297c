//! What `docker save` writes, and what `docker load` reads.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::client::{Registry, digest_of, image};
use crate::place::{CONFIG, at, failed, fill, from_pipe, ran, run, text};
use crate::support::said;

/// An archive as Docker wrote it up to version 24: a layer that two images share is a link in one.
fn saved(path: &Path, layer: &[u8], config: &[u8], layers: Value) {
    let mut tar = Builder::new(std::fs::File::create(path).unwrap());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    };
    add("one/layer.tar", layer);
    add("config.json", config);
    let list = json!([{"Config": "config.json", "RepoTags": ["team/app:v1", "team/app:latest"], "Layers": layers}]);
    add("manifest.json", list.to_string().as_bytes());
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "two/layer.tar", "../one/layer.tar")
        .unwrap();
    tar.into_inner().unwrap().flush().unwrap();
}

#[tokio::test]
async fn what_docker_saved_is_an_image_here() {
    let to = Registry::start();
    let here = to.server.directory();
    let path = at(here, "saved.tar");
    let layer = b"a layer that is no compressed file";
    let diff_id = digest_of(layer);
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id, diff_id]}}).to_string();
    saved(
        &path,
        layer,
        config.as_bytes(),
        json!(["one/layer.tar", "two/layer.tar"]),
    );
    ran(here, &["import", text(&path)]);
    let manifest = to.get("/v2/team/app/manifests/latest").await.expect(200);
    let parsed = manifest.json();
    assert_eq!(
        parsed["config"]["digest"],
        digest_of(config.as_bytes()).to_string()
    );
    for at in 0..2 {
        assert_eq!(parsed["layers"][at]["digest"], diff_id.to_string());
        assert_eq!(parsed["layers"][at]["size"], layer.len());
    }
    let again = to.get("/v2/team/app/manifests/v1").await.expect(200);
    assert_eq!(again.body, manifest.body);
    // By a pipe, which is kept first: its configuration and its layers come before what says so.
    let spool = at(here, "spool");
    std::fs::create_dir(&spool).unwrap();
    let args = ["import", "-", "--repository", "by/pipe"];
    failed(&from_pipe(here, &path, &args), 1, "by --spool DIRECTORY");
    said(&from_pipe(
        here,
        &path,
        &[&args[..], &["--spool", text(&spool)]].concat(),
    ));
    let by_pipe = to.get("/v2/by/pipe/manifests/v1").await.expect(200);
    assert_eq!(by_pipe.body, manifest.body);
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
    let nowhere = at(here, "nowhere");
    let args = ["import", "-", "--spool", text(&nowhere)];
    failed(
        &from_pipe(here, &path, &args),
        1,
        "cannot keep standard input in",
    );
    // A layer that is not what the configuration says, and one that is not there.
    let never_there = digest_of(b"never there").to_string();
    let other = config.replace(&diff_id.to_string(), &never_there);
    let both = json!(["one/layer.tar", "two/layer.tar"]);
    saved(&path, b"another layer", other.as_bytes(), both);
    let args = ["import", text(&path), "--repository", "liar"];
    failed(&run(here, &args), 1, "its digest is");
    saved(
        &path,
        layer,
        config.as_bytes(),
        json!(["one/layer.tar", "../../etc/passwd"]),
    );
    failed(&run(here, &args), 1, "it has no file");
    saved(&path, layer, config.as_bytes(), json!(["one/layer.tar"]));
    failed(&run(here, &args), 1, "its configuration names 2");
    for tag in ["v1", "latest"] {
        let path = format!("/v2/liar/manifests/{tag}");
        to.get(&path).await.expect(404);
    }
}

#[tokio::test]
async fn what_docker_is_to_load_names_its_images_and_is_a_layout_as_well() {
    let from = Registry::start();
    let there = from.server.directory();
    let filled = fill(&from, "team/app").await;
    let path = at(there, "docker.tar");
    let export = ["export", "--format", "docker-archive", "--to", text(&path)];
    let output = run(there, &[&export[..], &["team/app:multi"]].concat());
    failed(&output, 1, "--platform");
    ran(there, &[&export[..], &["team/app:v1"]].concat());
    let mut tar = tar::Archive::new(std::fs::File::open(&path).unwrap());
    let mut list = None;
    let mut names = Vec::new();
    for entry in tar.entries().unwrap() {
        let entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        if name == "manifest.json" {
            list = Some(serde_json::from_reader::<_, Value>(entry).unwrap());
        }
        names.push(name);
    }
    let blob = |content: &[u8]| format!("blobs/sha256/{}", digest_of(content).hex());
    let expected = json!([{
        "Config": blob(CONFIG), "RepoTags": ["team/app:v1"], "Layers": [blob(&filled.layers[0])],
    }]);
    assert_eq!(list, Some(expected));
    assert!(names.contains(&blob(&filled.layers[0])), "{names:?}");
    ran(there, &["import", text(&path), "--repository", "again"]);
    let manifest = from.get("/v2/again/manifests/v1").await.expect(200);
    assert_eq!(digest_of(&manifest.body), filled.image);
    assert_eq!(manifest.json(), image(CONFIG, &[&filled.layers[0]]));
}
