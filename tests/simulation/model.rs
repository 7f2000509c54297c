//! What a client knows to be true: the state of its repositories behind each of its requests.

use std::collections::BTreeMap;

use bytes::Bytes;
use drift::digest::Digest;
use drift::ghostbay::StorageError;
use drift::ghostbay::engine::{ByteStream, GetObjectRequest, MultipartUploadPart, StorageEngine};
use drift::ghostbay::uploads::UploadId;
use drift::oci::{Reference, RepositoryName, Tag};
use drift::registry::tables::UsageRow;
use drift::registry::{Page, RegistryError};
use futures::StreamExt;

use crate::workload::{Running, sha256};

/// Keys of objects; so few that they are replaced and copied over often.
pub const OBJECTS: [&str; 3] = ["one", "two", "three"];

/// A repository as its client sees it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Repository {
    /// Blobs; all of them read back whole.
    pub blobs: BTreeMap<Digest, ()>,
    /// Manifests.
    pub manifests: BTreeMap<Digest, ()>,
    /// Where the tags point.
    pub tags: BTreeMap<Tag, Digest>,
    /// Uploads under way and the bytes that they hold.
    pub uploads: BTreeMap<UploadId, u64>,
    /// Objects beside the registry's, by key, and the digests of their contents.
    pub objects: BTreeMap<String, Digest>,
    /// Multipart uploads under way, by id.
    pub multipart: BTreeMap<String, Multipart>,
}

/// The parts of an upload, by number.
pub type Multipart = BTreeMap<i32, Part>;

/// A part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    pub etag: String,
    pub size: u64,
}

/// Most bytes of blobs and manifests of a repository that has a quota: no blob of the long kind fits.
pub const QUOTA_BYTES: u64 = 40_000;
/// Most tags of such a repository.
pub const QUOTA_TAGS: u64 = 2;

/// Whether a client's repository has a quota.
pub fn has_quota(name: &RepositoryName) -> bool {
    name.as_str().ends_with("/a")
}

impl Repository {
    /// What it holds, by a count of all that is in it.
    pub fn usage(&self, content: &BTreeMap<Digest, Bytes>) -> UsageRow {
        let held = self.blobs.keys().chain(self.manifests.keys());
        UsageRow {
            bytes: held.map(|digest| content[digest].len() as u64).sum(),
            blobs: self.blobs.len() as u64,
            manifests: self.manifests.len() as u64,
            tags: self.tags.len() as u64,
        }
    }
}

/// The bucket of a repository's objects beside the registry's.
pub fn bucket(name: &RepositoryName) -> String {
    name.as_str().replace('/', "-") + "-objects"
}

/// All repositories of one client.
pub type State = BTreeMap<RepositoryName, Repository>;

/// The states that a client went through, and everything that it ever sent.
#[derive(Default)]
pub struct History {
    /// The state behind each request; the first is that before any.
    pub states: Vec<State>,
    /// Blobs and manifests by digest.
    pub content: BTreeMap<Digest, Bytes>,
    /// Uploads and the whole of what they are to hold.
    pub uploads: BTreeMap<UploadId, Bytes>,
    /// Multipart uploads and the keys of the objects that they are for.
    pub multipart: BTreeMap<String, String>,
    /// Contents of parts, by ETag.
    pub parts: BTreeMap<String, Bytes>,
    /// Requests that a quota refused.
    pub refused: u64,
    /// Tags and manifests that retention deleted.
    pub retained: u64,
}

/// Reads what a registry has of a client's. An answer that is neither a whole one nor "there is
/// none" is an error.
pub async fn observe(running: &Running, history: &History) -> Result<State, String> {
    let Running { registry, storage } = running;
    let mut state = State::new();
    for name in history.states[0].keys() {
        let mut found = Repository::default();
        for (digest, bytes) in &history.content {
            match registry.blob(name, digest) {
                Ok(blob) => {
                    let read = collect(blob.read(0..blob.size)).await;
                    let read = read.map_err(|error| format!("blob {digest}: {error:#}"))?;
                    if read != *bytes {
                        return Err(format!("I4: blob {digest} has other bytes"));
                    }
                    found.blobs.insert(*digest, ());
                }
                Err(RegistryError::BlobUnknown { .. }) => {}
                Err(error) => return Err(format!("blob {digest}: {error:?}")),
            }
            match registry.manifest(name, &Reference::Digest(*digest)) {
                Ok(manifest) if manifest.bytes == *bytes => {
                    found.manifests.insert(*digest, ());
                }
                Ok(_) => return Err(format!("I4: manifest {digest} has other bytes")),
                Err(RegistryError::ManifestUnknown { .. }) => {}
                Err(error) => return Err(format!("manifest {digest}: {error:?}")),
            }
        }
        let page = Page {
            limit: 1000,
            last: None,
        };
        let tags = match registry.tags(name, page) {
            Ok(listing) => listing.names,
            Err(RegistryError::NameUnknown { .. }) => Vec::new(),
            Err(error) => return Err(format!("tags: {error:?}")),
        };
        for tag in tags {
            let tag: Tag = tag.parse().map_err(|error| format!("tag: {error}"))?;
            let manifest = registry
                .manifest(name, &Reference::Tag(tag.clone()))
                .map_err(|error| format!("I3: tag {tag}: {error:?}"))?;
            found.tags.insert(tag, manifest.digest);
        }
        for id in history.uploads.keys() {
            match registry.upload_status(name, id) {
                Ok(status) => {
                    found.uploads.insert(*id, status.offset);
                }
                Err(RegistryError::UploadUnknown { .. }) => {}
                Err(error) => return Err(format!("upload {id}: {error:?}")),
            }
        }
        let bucket = bucket(name);
        for key in OBJECTS {
            let request = GetObjectRequest {
                bucket: bucket.clone(),
                key: key.to_owned(),
                range: None,
            };
            let object = storage.get_object(request).await;
            let Some(object) = object.map_err(|error| format!("object {key}: {error:#}"))? else {
                continue;
            };
            let read = collect(object.data).await;
            let read = read.map_err(|error| format!("I4: object {key}: {error:#}"))?;
            found.objects.insert(key.to_owned(), sha256(&read));
        }
        for (id, key) in &history.multipart {
            match storage.list_parts(&bucket, key, id).await {
                Ok(parts) => {
                    let parts = parts.into_iter().map(|part| {
                        let MultipartUploadPart { etag, size, .. } = part;
                        (part.part_number, Part { etag, size })
                    });
                    found.multipart.insert(id.clone(), parts.collect());
                }
                Err(error) => match error.downcast_ref() {
                    Some(StorageError::NoSuchUpload { .. }) => {}
                    _ => return Err(format!("multipart upload {id}: {error:#}")),
                },
            }
        }
        let usage = found.usage(&history.content);
        match registry.usage(name) {
            Ok(counted) if counted == usage => {}
            counted => {
                return Err(format!("{name}: counted {counted:?}, there {usage:?}"));
            }
        }
        if has_quota(name) && (usage.bytes > QUOTA_BYTES || usage.tags > QUOTA_TAGS) {
            return Err(format!("{name} is beyond its quota: {usage:?}"));
        }
        state.insert(name.clone(), found);
    }
    Ok(state)
}

pub async fn collect(mut stream: ByteStream<'_>) -> anyhow::Result<Bytes> {
    let mut bytes = Vec::new();
    while let Some(frame) = stream.next().await {
        bytes.extend_from_slice(&frame?);
    }
    Ok(bytes.into())
}

/// How two states differ, in words.
pub fn difference(found: &State, expected: &State) -> String {
    let mut lines = Vec::new();
    for (name, expected) in expected {
        let found = &found[name];
        let mut compare = |what: &str, found: String, expected: String| {
            if found != expected {
                lines.push(format!("{name} {what}: found {found}, expected {expected}"));
            }
        };
        let keys = |map: &BTreeMap<Digest, ()>| format!("{:?}", map.keys().collect::<Vec<_>>());
        compare("blobs", keys(&found.blobs), keys(&expected.blobs));
        compare(
            "manifests",
            keys(&found.manifests),
            keys(&expected.manifests),
        );
        compare(
            "tags",
            format!("{:?}", found.tags),
            format!("{:?}", expected.tags),
        );
        compare(
            "objects",
            format!("{:?}", found.objects),
            format!("{:?}", expected.objects),
        );
        compare(
            "multipart uploads",
            format!("{:?}", found.multipart),
            format!("{:?}", expected.multipart),
        );
        compare(
            "uploads",
            format!("{:?}", found.uploads),
            format!("{:?}", expected.uploads),
        );
    }
    lines.join("; ")
}
