//! What `docker save` writes (moby, "Docker Image Specification v1.2", `manifest.json`) as a source.
//!
//! Its images have no manifest in the sense of a registry: one is made here, of type OCI, of the
//! configuration and the layers as they are. The same archive makes the same manifest. A newer Docker writes
//! an OCI layout that has `manifest.json` as well, and is read as a layout.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;

use super::end::{ContentStream, Found, Source};
use super::error::TransferError;
use super::files::{Files, Region, is_plain};
use super::names::{Called, Naming};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::oci::media_type::OCI_IMAGE;
use crate::oci::{Reference, RepositoryName, Tag};

/// The file that says what is in it.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The longest of that, and the longest configuration of an image, in bytes.
const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;
const CONFIG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The types of layers, by how they begin.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const COMPRESSED: [(&[u8], &str); 2] = [
    (&[0x1f, 0x8b], "application/vnd.oci.image.layer.v1.tar+gzip"),
    (
        &[0x28, 0xb5, 0x2f, 0xfd],
        "application/vnd.oci.image.layer.v1.tar+zstd",
    ),
];

/// An image, as `manifest.json` has it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

/// Such an archive.
pub struct DockerArchive {
    name: String,
    roots: BTreeMap<RepositoryName, BTreeSet<(Option<Tag>, Digest)>>,
    manifests: HashMap<Digest, Bytes>,
    blobs: HashMap<Digest, Region>,
}

impl DockerArchive {
    /// Reads what is in one, and makes its manifests. `name` is for messages.
    pub async fn open(
        files: &impl Files,
        name: &str,
        naming: &Naming,
    ) -> Result<Self, TransferError> {
        let mut archive = DockerArchive {
            name: name.to_owned(),
            roots: BTreeMap::new(),
            manifests: HashMap::new(),
            blobs: HashMap::new(),
        };
        let list = archive.file(files, MANIFEST_FILE)?;
        let list = list.whole(MANIFEST_BYTES_MAX, MANIFEST_FILE).await?;
        let images: Vec<Image> = serde_json::from_slice(&list).map_err(|error| {
            archive.unusable(format!("its {MANIFEST_FILE} cannot be read: {error}"))
        })?;
        if naming.tag.is_some() && images.len() > 1 {
            let reason = format!("it holds {} images, and --tag names one", images.len());
            return Err(archive.unusable(reason));
        }
        for image in images {
            let digest = archive.image(files, &image).await?;
            let tags = image.repo_tags.unwrap_or_default();
            let named = tags.into_iter().map(Some);
            let mut named: Vec<Option<String>> = named.collect();
            if named.is_empty() || naming.tag.is_some() {
                named.truncate(1);
                if named.is_empty() {
                    named.push(None);
                }
            }
            for reference in named {
                let called = Called {
                    repository: None,
                    reference,
                };
                let (repository, tag) = naming
                    .of(&called)
                    .map_err(|error| archive.unusable(error.to_string()))?;
                let roots = archive.roots.entry(repository).or_default();
                roots.insert((tag, digest));
            }
        }
        Ok(archive)
    }

    /// Makes the manifest of an image.
    async fn image(&mut self, files: &impl Files, image: &Image) -> Result<Digest, TransferError> {
        let config = self.file(files, &image.config)?;
        let bytes = config.whole(CONFIG_BYTES_MAX, &image.config).await?;
        let parsed: Config = serde_json::from_slice(&bytes)
            .map_err(|error| self.unusable(format!("{} cannot be read: {error}", image.config)))?;
        let diff_ids = parsed.rootfs.diff_ids.unwrap_or_default();
        let layers = image.layers.clone().unwrap_or_default();
        if diff_ids.len() != layers.len() {
            return Err(self.unusable(format!(
                "{} has {} layers, and its configuration names {}",
                image.config,
                layers.len(),
                diff_ids.len()
            )));
        }
        let config_digest = Digest::of(Algorithm::Sha256, &bytes);
        self.blobs.insert(config_digest, config);
        let mut described = Vec::new();
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let region = self.file(files, layer)?;
            let begin = region.begin().await?;
            let compressed = COMPRESSED
                .iter()
                .find(|(magic, _)| begin.starts_with(magic));
            // What is not compressed has the digest that the configuration names, and is held against it
            // on its way. Of the rest nobody knows it yet.
            let (media_type, digest) = match compressed {
                None => (LAYER, diff_id),
                Some((_, media_type)) => (*media_type, digest_of(&region).await?),
            };
            described.push(json!({
                "mediaType": media_type,
                "digest": digest,
                "size": region.length,
            }));
            self.blobs.insert(digest, region);
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest,
                "size": bytes.len(),
            },
            "layers": described,
        });
        let manifest = Bytes::from(manifest.to_string());
        let digest = Digest::of(Algorithm::Sha256, &manifest);
        self.manifests.insert(digest, manifest);
        Ok(digest)
    }

    fn file(&self, files: &impl Files, name: &str) -> Result<Region, TransferError> {
        let found = match is_plain(name) {
            true => files.find(name)?,
            false => None,
        };
        found.ok_or_else(|| {
            let shown: String = name.chars().take(200).collect();
            self.unusable(format!("it has no file {shown:?}, and should"))
        })
    }

    fn unusable(&self, reason: String) -> TransferError {
        TransferError::Unusable(format!("{}: {reason}", self.name))
    }

    fn missing(&self, what: String) -> TransferError {
        TransferError::Missing {
            end: self.name.clone(),
            what,
        }
    }
}

/// The digest of a file's content.
async fn digest_of(region: &Region) -> Result<Digest, TransferError> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut pieces = region.stream(0);
    while let Some(piece) = pieces.next().await {
        hasher.update(&piece?);
    }
    Ok(hasher.finish())
}

#[async_trait]
impl Source for DockerArchive {
    fn name(&self) -> &str {
        &self.name
    }

    async fn repositories(&self) -> Result<Vec<RepositoryName>, TransferError> {
        Ok(self.roots.keys().cloned().collect())
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, TransferError> {
        let roots = self.roots.get(repository).into_iter().flatten();
        Ok(roots.filter_map(|(tag, _)| tag.clone()).collect())
    }

    async fn untagged(&self, repository: &RepositoryName) -> Result<Vec<Digest>, TransferError> {
        let roots = self.roots.get(repository).into_iter().flatten();
        let untagged = roots.filter(|(tag, _)| tag.is_none());
        Ok(untagged.map(|(_, digest)| *digest).collect())
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Found, TransferError> {
        let mut roots = self.roots.get(repository).into_iter().flatten();
        let root = roots.find(|(tag, digest)| match reference {
            Reference::Tag(wanted) => tag.as_ref() == Some(wanted),
            Reference::Digest(wanted) => digest == wanted,
        });
        let found = root.and_then(|(_, digest)| Some((*digest, self.manifests.get(digest)?)));
        let (digest, bytes) =
            found.ok_or_else(|| self.missing(format!("manifest {reference} of {repository}")))?;
        Ok(Found {
            digest,
            media_type: OCI_IMAGE.to_owned(),
            bytes: bytes.clone(),
        })
    }

    async fn blob(
        &self,
        _: &RepositoryName,
        digest: &Digest,
        _: u64,
        from: u64,
    ) -> Result<ContentStream, TransferError> {
        let region = self.blobs.get(digest);
        let region = region.ok_or_else(|| self.missing(format!("blob {digest}")))?;
        Ok(region.stream(from))
    }
}
