//! A registry with something in it, and what it says on the command line.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use drift::digest::Digest;
use serde_json::{Value, json};

use crate::client::{IMAGE, INDEX, Registry, bytes, descriptor, digest_of, image};
use crate::support::{Server, ServerBuilder, drift, said};

/// What everything is read back as.
pub const CONFIG: &[u8] = b"{}";

/// Runs the program in the directory of a server.
pub fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = drift();
    command.args(arguments).current_dir(directory);
    command.output().unwrap()
}

/// What the program says, that has to succeed.
#[track_caller]
pub fn ran(directory: &Path, arguments: &[&str]) -> String {
    said(&run(directory, arguments))
}

/// What a program says on standard error, that has to fail so.
#[track_caller]
pub fn failed(output: &Output, code: i32, text: &str) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(text), "{errors}");
    errors
}

/// Two programs with a pipe between them.
#[track_caller]
pub fn piped(from: (&Path, &[&str]), to: (&Path, &[&str])) -> String {
    let mut first = drift();
    first.args(from.1).current_dir(from.0);
    let mut first = first.stdout(Stdio::piped()).spawn().unwrap();
    let mut second = drift();
    second.args(to.1).current_dir(to.0);
    second.stdin(first.stdout.take().unwrap());
    let told = second.output().unwrap();
    assert!(first.wait().unwrap().success());
    said(&told)
}

/// What the program says of a file that comes to it by a pipe.
pub fn from_pipe(directory: &Path, file: &Path, arguments: &[&str]) -> Output {
    let mut cat = std::process::Command::new("cat");
    let mut cat = cat.arg(file).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = drift();
    command.args(arguments).current_dir(directory);
    command.stdin(cat.stdout.take().unwrap());
    let told = command.output().unwrap();
    // With it goes our end of the pipe, without which nobody waits to write more.
    drop(command);
    cat.wait().unwrap();
    told
}

/// What [`fill`] has pushed.
pub struct Filled {
    pub image: Digest,
    pub index: Digest,
    pub children: Vec<Digest>,
    pub referrer: Digest,
    pub layers: Vec<Vec<u8>>,
}

/// Pushes an image, an index of two with a layer in common, and a signature of the index.
pub async fn fill(registry: &Registry, name: &str) -> Filled {
    let layers = [3_000_000, 70_000, 1000].map(|length| bytes(length + 1)[1..].to_vec());
    let image_digest = registry.push_image(name, "v1", &layers[0]).await;
    let mut entries = Vec::new();
    for (at, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
        registry.push_blob(name, &layers[at + 1]).await;
        let child = image(CONFIG, &[&layers[0], &layers[at + 1]]);
        let content = serde_json::to_vec(&child).unwrap();
        let digest = digest_of(&content);
        registry
            .put_manifest(name, &digest.to_string(), &child)
            .await
            .expect(201);
        let mut entry = descriptor(IMAGE, &content);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entries.push((digest, entry));
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": entries.iter().map(|it| it.1.clone()).collect::<Vec<Value>>(),
    });
    registry
        .put_manifest(name, "multi", &index)
        .await
        .expect(201);
    let content = serde_json::to_vec(&index).unwrap();
    let mut signature = image(CONFIG, &[]);
    signature["artifactType"] = json!("application/x-signature");
    signature["subject"] = descriptor(INDEX, &content);
    let referrer = digest_of(&serde_json::to_vec(&signature).unwrap());
    registry
        .put_manifest(name, &referrer.to_string(), &signature)
        .await
        .expect(201);
    Filled {
        image: image_digest,
        index: digest_of(&content),
        children: entries.into_iter().map(|it| it.0).collect(),
        referrer,
        layers: layers.to_vec(),
    }
}

/// Sees that all that was pushed is there.
pub async fn assert_filled(registry: &Registry, name: &str, filled: &Filled) {
    for (tag, digest) in [("v1", filled.image), ("multi", filled.index)] {
        let answer = registry.get(&format!("/v2/{name}/manifests/{tag}")).await;
        let answer = answer.expect(200);
        assert_eq!(digest_of(&answer.body), digest);
    }
    for child in filled.children.iter().chain([&filled.referrer]) {
        let answer = registry.get(&format!("/v2/{name}/manifests/{child}")).await;
        assert_eq!(digest_of(&answer.expect(200).body), *child);
    }
    for layer in &filled.layers {
        let digest = digest_of(layer);
        let answer = registry.get(&format!("/v2/{name}/blobs/{digest}")).await;
        assert!(answer.expect(200).body == *layer);
    }
    let path = format!("/v2/{name}/referrers/{}", filled.index);
    let referrers = registry.get(&path).await.expect(200).json();
    let found = referrers["manifests"][0]["digest"].as_str();
    assert_eq!(found, Some(&*filled.referrer.to_string()), "{referrers}");
}

/// A server that runs on a directory which outlives it.
pub fn on(directory: &Path, variables: &[(&str, &str)]) -> ServerBuilder {
    Server::builder().directory(directory).variables(variables)
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A place in a directory.
pub fn at(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}

/// Writes a layout by hand: its blobs under their digests, and an entry for each name.
pub fn write_layout(path: &Path, blobs: &[&[u8]], entries: &[(Option<&str>, &Value)]) {
    std::fs::create_dir_all(path.join("blobs/sha256")).unwrap();
    let write = |content: &[u8]| {
        let file = path.join("blobs/sha256").join(digest_of(content).hex());
        std::fs::write(file, content).unwrap();
    };
    blobs.iter().for_each(|content| write(content));
    let entries = entries.iter().map(|(name, manifest)| {
        let content = serde_json::to_vec(manifest).unwrap();
        write(&content);
        let mut entry = descriptor(manifest["mediaType"].as_str().unwrap(), &content);
        if let Some(name) = name {
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        entry
    });
    let index = json!({"schemaVersion": 2, "manifests": entries.collect::<Vec<_>>()});
    std::fs::write(path.join("index.json"), index.to_string()).unwrap();
    std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}
