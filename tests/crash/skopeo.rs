use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::content::{Content, sha256};
use crate::place::Place;

/// Writes an OCI layout of one image; its layers' bytes are stored as they are.
fn layout(directory: &Path, layers: &[Content]) {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let store = |bytes: &[u8], media_type: &str| {
        let digest = sha256(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        serde_json::json!({
            "mediaType": format!("application/vnd.oci.image.{media_type}"),
            "digest": digest,
            "size": bytes.len(),
        })
    };
    let mut described = Vec::new();
    let mut diff_ids = Vec::new();
    for layer in layers {
        let bytes = layer.bytes();
        diff_ids.push(sha256(&bytes).to_string());
        described.push(store(&bytes, "layer.v1.tar"));
    }
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "config": {},
    });
    let config = store(&serde_json::to_vec(&config).unwrap(), "config.v1+json");
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": described,
    });
    let manifest = store(&serde_json::to_vec(&manifest).unwrap(), "manifest.v1+json");
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(
        directory.join("index.json"),
        serde_json::to_vec(&index).unwrap(),
    )
    .unwrap();
    std::fs::write(
        directory.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
}

fn skopeo(arguments: &[&str]) -> std::process::Child {
    Command::new("skopeo")
        // Without it skopeo compresses plain layers on the way.
        .args(["--insecure-policy", "copy", "--quiet", "--preserve-digests"])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("skopeo is installed; tests/run sees to it")
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(directory.join("blobs/sha256"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn a_push_by_skopeo_that_was_killed_leaves_nothing_half_and_goes_through_again() {
    let mut random = StdRng::seed_from_u64(crate::seed());
    let place = Place::new();
    let mut server = place.start();
    let image = place.path().join("image");
    let mut acknowledged = 0;
    for round in 0..crate::kills() {
        let layers: Vec<Content> = (0..4)
            .map(|_| {
                let length = random.random_range(1000..6_000_000);
                Content::new(random.next_u64(), length)
            })
            .collect();
        if image.exists() {
            std::fs::remove_dir_all(&image).unwrap();
        }
        layout(&image, &layers);
        let tag = format!("round-{round}");
        let source = format!("oci:{}", image.display());
        let remote = format!("docker://{}/crash/image:{tag}", server.address());
        let push = [source.as_str(), &remote, "--dest-tls-verify=false"];
        let mut child = skopeo(&push);
        let moment = Instant::now() + Duration::from_millis(random.random_range(5..250));
        let mut done = None;
        while done.is_none() && Instant::now() < moment {
            done = child.try_wait().unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        server.kill();
        let done = child.wait().unwrap();
        server = place.start();
        if done.success() {
            acknowledged += 1;
        } else {
            // What was not acknowledged goes through at the second attempt, over whatever is there.
            assert!(skopeo(&push).wait().unwrap().success(), "{tag}");
        }
        let back = place.path().join("back");
        if back.exists() {
            std::fs::remove_dir_all(&back).unwrap();
        }
        let local = format!("oci:{}", back.display());
        let pull = [remote.as_str(), &local, "--src-tls-verify=false"];
        assert!(
            skopeo(&pull).wait().unwrap().success(),
            "{tag} does not pull"
        );
        assert!(
            files(&back) == files(&image),
            "{tag} is not what was pushed"
        );
    }
    println!(
        "{} kills, {acknowledged} of them behind a whole push",
        crate::kills()
    );
}
