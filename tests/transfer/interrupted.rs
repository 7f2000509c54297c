//! Imports that are killed, and the memory that one takes.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::client::{IMAGE, Registry, bytes, digest_of};
use crate::place::{CONFIG, at, failed, on, ran, text, write_layout};
use crate::support::{drift, said, wait_for};

/// Layers of an image that takes a while.
const LAYERS: usize = 24;

/// A layout with an image of many layers, or of one that is long.
fn layout(path: &Path, layers: usize, length: usize) {
    let blobs = path.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let mut content = bytes(length);
    let mut descriptors = Vec::new();
    for at in 0..layers {
        content[0] = at as u8;
        let digest = digest_of(&content);
        std::fs::write(blobs.join(digest.hex()), &content).unwrap();
        descriptors.push(json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": digest,
            "size": length,
        }));
    }
    let config = json!({
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": digest_of(CONFIG),
        "size": CONFIG.len(),
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": descriptors,
    });
    write_layout(path, &[CONFIG], &[(Some("team/app:v1"), &manifest)]);
}

fn import(directory: &Path, layout: &Path) -> Child {
    let mut command = drift();
    command
        .args(["import", text(layout)])
        .current_dir(directory);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Nothing is damaged, to the last byte.
#[track_caller]
fn verify(directory: &Path) {
    let output = crate::place::run(directory, &["verify", "--full"]);
    // What was damaged stands on standard output.
    assert!(output.status.success(), "{output:?}");
    assert!(said(&output).contains("nothing is damaged"), "{output:?}");
}

/// Bytes that lie in the packs.
fn held(directory: &Path) -> u64 {
    let packs = std::fs::read_dir(directory.join("drift-data/packs"))
        .into_iter()
        .flatten();
    packs.map(|it| it.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn an_import_that_was_killed_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let path = at(here, "layout");
    layout(&path, LAYERS, 4 << 20);
    for with_server in [false, true] {
        let server = with_server.then(|| Registry::on(on(here, &[]).start()));
        let before = held(here);
        let mut child = import(here, &path);
        wait_for("some of it", || {
            (held(here) > before + (12 << 20)).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        if let Some(server) = &server {
            server.get("/v2/team/app/manifests/v1").await.expect(404);
            verify(here);
            let told = ran(here, &["import", text(&path), "--json"]);
            let told: Value = serde_json::from_str(&told).unwrap();
            assert!(told["blobs_present"].as_u64().unwrap() > 0, "{told}");
            server.get("/v2/team/app/manifests/v1").await.expect(200);
        }
        verify(here);
    }
    verify(here);
}

#[tokio::test]
async fn a_server_that_is_killed_is_told_and_the_import_can_be_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let path = at(here, "layout");
    layout(&path, LAYERS, 4 << 20);
    let mut server = on(here, &[]).start();
    let mut command = drift();
    command.args(["import", text(&path)]).current_dir(here);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_for("some of it", || (held(here) > 12 << 20).then_some(()));
    server.kill();
    let output = child.wait_with_output().unwrap();
    failed(&output, 1, "the server does not run any more");
    drop(server);
    verify(here);
    let server = Registry::on(on(here, &[]).start());
    ran(here, &["import", text(&path)]);
    server.get("/v2/team/app/manifests/v1").await.expect(200);
    verify(here);
}

/// Measured: DRIFT_TEST_LONG makes the layer 1 GiB.
#[tokio::test]
async fn a_layer_passes_in_pieces() {
    let length: u64 = match std::env::var_os("DRIFT_TEST_LONG") {
        Some(_) => 1 << 30,
        None => 256 << 20,
    };
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let path = at(here, "layout");
    let blobs = path.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let mut hasher = drift::digest::Hasher::new(drift::digest::Algorithm::Sha256);
    let mut file = File::create(at(here, "layer")).unwrap();
    let mut piece = bytes(1 << 20);
    for at in 0..length >> 20 {
        piece[..8].copy_from_slice(&at.to_le_bytes());
        hasher.update(&piece);
        file.write_all(&piece).unwrap();
    }
    let digest = hasher.finish();
    std::fs::rename(at(here, "layer"), blobs.join(digest.hex())).unwrap();
    let layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": length});
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(CONFIG), "size": 2});
    let manifest =
        json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer]});
    write_layout(&path, &[CONFIG], &[(Some("team/app:v1"), &manifest)]);
    let server = Registry::on(on(here, &[]).start());
    let out = at(here, "out.tar");
    for arguments in [
        &["import", text(&path)][..],
        &["export", "team/app", "--to", text(&out)],
        &["import", text(&out), "--repository", "again"],
    ] {
        let mut command = drift();
        command
            .args(arguments)
            .current_dir(here)
            .stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with("VmHWM:"));
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            peak = peak.max(kib.unwrap_or(0));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(child.wait().unwrap().success());
        println!("{}: {peak} KiB at most, {length} bytes", arguments[0]);
        assert!(peak < 64 * 1024, "{arguments:?}: {peak} KiB");
    }
    server.get("/v2/again/manifests/v1").await.expect(200);
}
