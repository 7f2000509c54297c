//! A manifest as people read it: what it is made of, what it says of itself, and what lies around it.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::auth::Action;
use crate::digest::Digest;
use crate::http::error::ApiError;
use crate::oci::image::{CONFIG_BYTES_MAX, Entries, Entry, HistoryEntry, ImageConfig};
use crate::oci::{ManifestType, Reference, RepositoryName};
use crate::registry::{RegistryError, StoredManifest};

/// A manifest.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Manifest {
    /// The repository.
    pub repository: String,
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// What it is.
    pub kind: Kind,
    /// What it is where it is no image, as its maker says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its own bytes.
    pub bytes: u64,
    /// Bytes of its configuration and layers, each once; of an index none.
    pub content_bytes: u64,
    /// When it was last pushed, in milliseconds since 1970.
    pub pushed_ms: u64,
    /// When it was last pulled, as far as that is written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulled_ms: Option<u64>,
    /// The tags that point at it, the first 100.
    pub tags: Vec<String>,
    /// The indexes that list it, the first 100.
    pub listed_by: Vec<String>,
    /// What it is about, if that is another manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What is said of it.
    pub annotations: BTreeMap<String, String>,
    /// What an index lists.
    pub children: Vec<Child>,
    /// What an image says of itself, if its configuration is here and is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The configuration's digest, of an image or artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<String>,
    /// The layers, from the lowest.
    pub layers: Vec<Layer>,
    /// What refers to it: signatures, inventories, attestations. That they are there is all that is
    /// said; nothing here has verified them.
    pub referrers: Vec<Referrer>,
    /// Whether there are more of these.
    pub more_referrers: bool,
}

/// What a manifest is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An image of one platform.
    Image,
    /// A list of manifests.
    Index,
    /// Something else: a chart, a signature, an inventory.
    Artifact,
}

impl Kind {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Image => "image",
            Kind::Index => "index",
            Kind::Artifact => "artifact",
        }
    }
}

/// An entry of an index.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Child {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its own bytes.
    pub bytes: u64,
    /// `linux/arm64/v8`, if it is an image that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// What it is about, where it is an attestation beside the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attests: Option<String>,
}

/// What an image says of itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Image {
    /// `linux/amd64`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// When it was made, in its maker's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The user that it runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// What is run.
    pub entrypoint: Vec<String>,
    /// With which arguments.
    pub command: Vec<String>,
    /// `NAME=VALUE` each.
    pub environment: Vec<String>,
    /// The ports that it listens on.
    pub ports: Vec<String>,
    /// What lies outside of it.
    pub volumes: Vec<String>,
    /// What it is said to be.
    pub labels: BTreeMap<String, String>,
}

/// A layer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Layer {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its bytes, as they are sent.
    pub bytes: u64,
    /// The command that made it, as far as the configuration tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Its file's name, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// Something that refers to a manifest.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Referrer {
    /// Its digest.
    pub digest: String,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its own bytes.
    pub bytes: u64,
}

/// Referrers that are shown.
const REFERRERS_MAX: usize = 100;

/// The annotation by which BuildKit says of which manifest an attestation is.
const ATTESTS: &str = "vnd.docker.reference.digest";

/// The annotation of a file's name (image-spec, `annotations.md`).
const TITLE: &str = "org.opencontainers.image.title";

impl Management {
    /// The manifest that a tag or digest names.
    pub async fn manifest(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<(Manifest, StoredManifest), ApiError> {
        caller.require(Action::Pull, repository)?;
        let registry = &self.api.registry;
        let stored = registry.manifest(repository, reference)?;
        let around = registry.surroundings(repository, &stored.digest)?;
        let around = around.ok_or_else(|| RegistryError::ManifestUnknown {
            repository: repository.clone(),
            reference: reference.clone(),
        })?;
        // It was checked when it came; what this cannot read of it is not shown.
        let entries: Entries = serde_json::from_slice(&stored.bytes).unwrap_or_default();
        let config = match &entries.config {
            Some(config) => self.config(repository, config).await,
            None => None,
        };
        let kind = match stored.media_type.parse() {
            Ok(ManifestType::OciIndex | ManifestType::DockerList) => Kind::Index,
            _ if config.is_some() => Kind::Image,
            _ => Kind::Artifact,
        };
        let referrers = registry.referrers(repository, &stored.digest, None)?;
        let listed: Entries = serde_json::from_slice(&referrers.index_json).unwrap_or_default();
        let listed = listed.manifests.unwrap_or_default();
        let artifact_type = entries.artifact_type.clone();
        let config_type = entries.config.as_ref().and_then(|it| it.media_type.clone());
        let history = config.as_ref().and_then(|it| it.history.as_deref());
        let manifest = Manifest {
            repository: repository.to_string(),
            digest: stored.digest.to_string(),
            media_type: stored.media_type.clone(),
            kind,
            artifact_type: artifact_type.or(config_type.filter(|_| kind == Kind::Artifact)),
            bytes: stored.bytes.len() as u64,
            content_bytes: content_bytes(&entries),
            pushed_ms: around.pushed_ms,
            pulled_ms: around.pulled_ms,
            tags: around.tags.iter().map(ToString::to_string).collect(),
            listed_by: around.listed_by.iter().map(ToString::to_string).collect(),
            subject: entries.subject.as_ref().map(|it| it.digest.clone()),
            annotations: entries.annotations.clone().unwrap_or_default(),
            children: entries.manifests.iter().flatten().map(child).collect(),
            layers: layers(entries.layers.as_deref().unwrap_or_default(), history),
            image: config.map(image),
            config_digest: entries.config.map(|it| it.digest),
            more_referrers: referrers.next.is_some() || listed.len() > REFERRERS_MAX,
            referrers: listed
                .into_iter()
                .take(REFERRERS_MAX)
                .map(referrer)
                .collect(),
        };
        Ok((manifest, stored))
    }

    /// What an image says of itself; `None` if that is not here, or is something else.
    async fn config(&self, repository: &RepositoryName, entry: &Entry) -> Option<ImageConfig> {
        let media_type = entry.media_type.as_deref().unwrap_or_default();
        let is_image = media_type == "application/vnd.oci.image.config.v1+json"
            || media_type == "application/vnd.docker.container.image.v1+json";
        if !is_image || entry.size > CONFIG_BYTES_MAX as u64 {
            return None;
        }
        let digest: Digest = entry.digest.parse().ok()?;
        let blob = self.api.registry.blob(repository, &digest).ok()?;
        if blob.size > CONFIG_BYTES_MAX as u64 {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(blob.size).ok()?);
        let mut pieces = blob.read(0..blob.size);
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.ok()?);
        }
        serde_json::from_slice(&bytes).ok()
    }
}

/// Bytes of configuration and layers, each once.
fn content_bytes(entries: &Entries) -> u64 {
    let parts = entries.config.iter().chain(entries.layers.iter().flatten());
    let parts: BTreeMap<&str, u64> = parts.map(|it| (it.digest.as_str(), it.size)).collect();
    parts
        .values()
        .fold(0, |sum, size| sum.saturating_add(*size))
}

fn child(entry: &Entry) -> Child {
    let annotations = entry.annotations.as_ref();
    Child {
        digest: entry.digest.clone(),
        media_type: entry.media_type.clone().unwrap_or_default(),
        bytes: entry.size,
        platform: entry.platform.as_ref().and_then(|it| it.name()),
        attests: annotations.and_then(|it| it.get(ATTESTS)).cloned(),
    }
}

fn referrer(entry: Entry) -> Referrer {
    Referrer {
        digest: entry.digest,
        artifact_type: entry.artifact_type.or(entry.media_type),
        bytes: entry.size,
    }
}

/// Layers with the commands that made them: of the history's entries those that made a layer stand in the
/// layers' order.
fn layers(layers: &[Entry], history: Option<&[HistoryEntry]>) -> Vec<Layer> {
    let made = history.unwrap_or_default().iter();
    let mut made = made.filter(|it| it.empty_layer != Some(true));
    let lines = layers.iter().map(|entry| {
        let annotations = entry.annotations.as_ref();
        Layer {
            digest: entry.digest.clone(),
            media_type: entry.media_type.clone().unwrap_or_default(),
            bytes: entry.size,
            created_by: made.next().and_then(|it| it.created_by.clone()),
            title: annotations.and_then(|it| it.get(TITLE)).cloned(),
        }
    });
    lines.collect()
}

fn image(config: ImageConfig) -> Image {
    let run = config.config.unwrap_or_default();
    let keys = |map: Option<BTreeMap<String, serde_json::Value>>| {
        map.unwrap_or_default().into_keys().collect()
    };
    Image {
        platform: config.platform.name(),
        created: config.created,
        author: config.author,
        user: run.user.filter(|it| !it.is_empty()),
        working_dir: run.working_dir.filter(|it| !it.is_empty()),
        entrypoint: run.entrypoint.unwrap_or_default(),
        command: run.cmd.unwrap_or_default(),
        environment: run.env.unwrap_or_default(),
        ports: keys(run.exposed_ports),
        volumes: keys(run.volumes),
        labels: run.labels.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digest: &str, size: u64) -> Entry {
        Entry {
            digest: digest.to_owned(),
            size,
            ..Entry::default()
        }
    }

    #[test]
    fn layers_have_the_commands_that_made_them() {
        let step = |command: &str, empty| HistoryEntry {
            created_by: Some(command.to_owned()),
            empty_layer: Some(empty),
            ..HistoryEntry::default()
        };
        let history = [step("ADD", false), step("ENV", true), step("RUN", false)];
        let lines = layers(
            &[entry("a", 1), entry("b", 2), entry("c", 3)],
            Some(&history),
        );
        let commands: Vec<_> = lines.iter().map(|it| it.created_by.as_deref()).collect();
        assert_eq!(commands, [Some("ADD"), Some("RUN"), None]);
    }

    #[test]
    fn a_layer_that_is_there_twice_counts_once() {
        let entries = Entries {
            config: Some(entry("c", 5)),
            layers: Some(vec![entry("a", 1), entry("a", 1), entry("b", u64::MAX)]),
            ..Entries::default()
        };
        assert_eq!(content_bytes(&entries), u64::MAX);
        let entries = Entries {
            layers: Some(vec![entry("a", 1), entry("a", 1)]),
            ..Entries::default()
        };
        assert_eq!(content_bytes(&entries), 1);
    }
}
