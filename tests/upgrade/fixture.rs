//! A small store of a schema version, packed beside the step that leads to it.
//!
//! What is in it follows from numbers, so that its check needs no list.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use drift::audit::{AuditLog, AuditOptions, Detail, Event, FileOptions, Verdict};
use drift::auth::{AuthOptions, Authority, password};
use drift::digest::{Algorithm, Digest};
use drift::ghostbay::LocalStorageEngine;
use drift::ghostbay::engine::{
    ByteStream, CreateMultipartUploadRequest, PutObjectRequest, StorageEngine, UploadPartRequest,
};
use drift::ghostbay::uploads::Append;
use drift::oci::{Reference, RepositoryName};
use drift::registry::{PutManifest, Registry, RegistryOptions};

const FILE: &str = "store.tar.zst";
const LEVEL: i32 = 19;

/// Bytes that the upload in progress holds, and those that it is of.
pub const UPLOADED: usize = 100_000;
pub const UPLOAD: usize = 700_000;
pub const CONFIG: usize = 300;
/// Gathered in memory, and written as it came.
pub const LAYERS: [usize; 2] = [5_000, 400_000];
pub const DELETED: usize = 1_234;
pub const OBJECT: usize = 70_000;
pub const PART: usize = 80_000;
pub const PASSWORD: &str = "the fixture's password";
pub const RULE: &str = "allow group:group pull,push-new fixture/**";

/// All steps, with the folder of each.
pub fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let steps = drift::migrations::STEPS.iter();
    steps
        .map(|step| root.join(format!("v{:04}_{}", step.version, step.name)))
        .collect()
}

/// Unpacks the store beside a step.
pub fn unpack(folder: &Path, to: &Path) {
    let packed = std::fs::read(folder.join(FILE))
        .unwrap_or_else(|error| panic!("{}: {error}: each step has a fixture", folder.display()));
    let archive = zstd::decode_all(&packed[..]).unwrap();
    let mut tar = Command::new("tar")
        .args(["--extract", "--directory"])
        .arg(to)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(&archive).unwrap();
    assert!(tar.wait().unwrap().success());
}

/// The newest schema's store, unpacked.
pub fn newest() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    unpack(&folders().pop().unwrap(), directory.path());
    directory
}

/// Writes the newest schema's store anew.
pub async fn pack_newest() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path()).await;
    let tar = Command::new("tar")
        .args([
            "--create",
            "--sparse",
            "--sort=name",
            "--owner=0",
            "--group=0",
        ])
        .args(["--exclude=drift.lock", "--directory"])
        .arg(directory.path())
        .arg(".")
        .output()
        .unwrap();
    assert!(tar.status.success(), "{tar:?}");
    let packed = zstd::encode_all(&tar.stdout[..], LEVEL).unwrap();
    std::fs::write(folders().pop().unwrap().join(FILE), packed).unwrap();
}

/// Text, which packs well: the fixture lies in the repository.
pub fn content(length: usize) -> Bytes {
    let lines = (0..).map(|line| format!("{length} bytes, line {line}\n"));
    let mut text: Vec<u8> = lines.take(length / 10 + 1).collect::<String>().into();
    text.truncate(length);
    text.into()
}

pub fn digest(length: usize) -> Digest {
    Digest::of(Algorithm::Sha256, &content(length))
}

pub fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

pub fn body(bytes: Bytes) -> ByteStream<'static> {
    Box::pin(futures::stream::once(async { Ok(bytes) }))
}

pub fn append(bytes: Bytes) -> Append<'static> {
    Append {
        start: None,
        length: Some(bytes.len() as u64),
        body: body(bytes),
    }
}

pub fn registry(storage: &LocalStorageEngine) -> Registry {
    let options = RegistryOptions::default();
    Registry::new(std::sync::Arc::new(storage.clone()), options)
}

/// An image of the fixture's blobs; another note, another image.
pub fn image(note: &str, subject: Option<&Bytes>) -> Bytes {
    let descriptor = |media_type: &str, length: usize| serde_json::json!({ "mediaType": media_type, "digest": digest(length), "size": length });
    let layer = "application/vnd.oci.image.layer.v1.tar";
    let mut manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", CONFIG),
        "layers": LAYERS.map(|length| descriptor(layer, length)),
        "annotations": { "note": note },
    });
    if let Some(subject) = subject {
        manifest["subject"] = serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": Digest::of(Algorithm::Sha256, subject),
            "size": subject.len(),
        });
    }
    manifest.to_string().into()
}

/// An index of one image.
pub fn index(of: &Bytes) -> Bytes {
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": Digest::of(Algorithm::Sha256, of),
            "size": of.len(),
        }],
    })
    .to_string()
    .into()
}

/// The accounts and the policy of a store.
pub fn authority(storage: &LocalStorageEngine, directory: &Path) -> Authority {
    let options = AuthOptions {
        keys: directory.join("keys"),
        rules: Vec::new(),
        htpasswd: None,
        clients: Vec::new(),
        token_lifetime: std::time::Duration::from_secs(300),
        bad_logins: Default::default(),
        issuers: Vec::new(),
        trust: Vec::new(),
    };
    Authority::open(storage.catalog().clone(), options).unwrap()
}

/// Makes an account and a rule.
async fn write_accounts(storage: &LocalStorageEngine, directory: &Path) {
    let authority = authority(storage, directory);
    let (name, groups) = ("fixture".parse(), vec!["group".parse().unwrap()]);
    let password = password::hash(PASSWORD).unwrap();
    let added = authority.add_account(name.unwrap(), password, groups).await;
    added.unwrap();
    let rule = authority.add_rule(None, RULE.parse().unwrap()).await;
    rule.unwrap();
}

/// Writes an event down.
async fn write_event(storage: &LocalStorageEngine, directory: &Path) {
    let options = AuditOptions {
        file: FileOptions {
            path: directory.join("audit/audit.jsonl"),
            bytes_max: 1 << 20,
            keep: 1,
        },
        rows: 100,
        detail: Detail::Changes,
    };
    let log = AuditLog::start(storage.catalog().clone(), options).unwrap();
    let event = Event::new("user:fixture", "push-new", Verdict::Allow);
    log.record(event).await;
    log.close().await;
}

/// Fills a new store with something of each kind.
async fn write(directory: &Path) {
    let storage = LocalStorageEngine::new(directory).await.unwrap();
    write_accounts(&storage, directory).await;
    write_event(&storage, directory).await;
    let registry = registry(&storage);
    let (first, second) = (name("fixture/image"), name("fixture/second"));
    for length in LAYERS.into_iter().chain([CONFIG, DELETED]) {
        registry
            .push_blob(&first, &digest(length), append(content(length)))
            .await
            .unwrap();
        registry
            .mount(&second, &digest(length), Some(&first), |_| true)
            .await
            .unwrap();
    }
    let put = |bytes: Bytes, tag: &str| PutManifest {
        reference: Reference::Tag(tag.parse().unwrap()),
        tags: Vec::new(),
        content_type: None,
        bytes,
    };
    let one = image("one", None);
    for (bytes, tag) in [
        (one.clone(), "moved"),
        (one.clone(), "one"),
        (one.clone(), "deleted"),
        (image("two", None), "moved"),
        (index(&one), "index"),
        (image("about", Some(&one)), "about"),
        (image("deleted", None), "gone"),
    ] {
        registry
            .put_manifest(&first, put(bytes, tag))
            .await
            .unwrap();
    }
    registry
        .put_manifest(&second, put(one.clone(), "one"))
        .await
        .unwrap();
    let deleted = Digest::of(Algorithm::Sha256, &image("deleted", None));
    registry.delete_manifest(&first, &deleted).await.unwrap();
    registry
        .delete_tag(&first, &"deleted".parse().unwrap())
        .await
        .unwrap();
    registry
        .delete_blob(&first, &digest(DELETED))
        .await
        .unwrap();
    registry
        .delete_blob(&second, &digest(DELETED))
        .await
        .unwrap();

    registry.note_pull(&first, &Digest::of(Algorithm::Sha256, &one));
    let pulled = registry.clone();
    let flushed = tokio::task::spawn_blocking(move || pulled.flush_pulls());
    flushed.await.unwrap().unwrap();

    let upload = registry
        .start_upload(&first, Algorithm::Sha256)
        .await
        .unwrap();
    let begun = append(content(UPLOAD).slice(..UPLOADED));
    registry.append(&first, &upload.id, begun).await.unwrap();

    storage
        .put_object(PutObjectRequest {
            bucket: "things".into(),
            key: "a/b".into(),
            content_type: "text/plain".into(),
            content_length: None,
            data: body(content(OBJECT)),
        })
        .await
        .unwrap();
    let multipart = storage
        .create_multipart_upload(CreateMultipartUploadRequest {
            bucket: "things".into(),
            key: "parts".into(),
            content_type: "text/plain".into(),
            metadata: Some([("note".to_owned(), "in parts".to_owned())].into()),
        })
        .await
        .unwrap();
    storage
        .upload_part(UploadPartRequest {
            bucket: "things".into(),
            key: "parts".into(),
            upload_id: multipart,
            part_number: 1,
            data: body(content(PART)),
        })
        .await
        .unwrap();
    storage.close().await;
}
