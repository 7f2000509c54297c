//! The blobs and manifests that one sequence has to do with.

use drift::digest::{Algorithm, Digest};
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::operation::{ARTIFACT_TYPES, Manifest, Parts};

const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

/// Lengths of the blobs: empty, gathered with others, and long enough for a pack of its own.
const CONTENT_BYTES: [usize; 5] = [0, 2, 5_000, 262_145, 1_100_000];

/// How many blobs there are.
pub const CONTENTS: usize = CONTENT_BYTES.len();

/// The contents and manifests of one sequence.
pub struct Pool {
    pub contents: Vec<Content>,
    pub manifests: Vec<Made>,
}

/// The content of a blob.
pub struct Content {
    pub bytes: Vec<u8>,
    sha256: String,
    sha512: String,
}

impl Content {
    fn new(bytes: Vec<u8>) -> Self {
        Content {
            sha256: digest(Algorithm::Sha256, &bytes),
            sha512: digest(Algorithm::Sha512, &bytes),
            bytes,
        }
    }

    /// Computed once: hashing is slow in a test program.
    pub fn digest(&self, algorithm: Algorithm) -> &str {
        match algorithm {
            Algorithm::Sha256 => &self.sha256,
            Algorithm::Sha512 => &self.sha512,
        }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.sha256, "size": self.bytes.len()})
    }
}

/// A manifest and what must be known of it, written down apart from its JSON.
pub struct Made {
    pub bytes: Vec<u8>,
    pub media_type: &'static str,
    pub blobs_needed: Vec<String>,
    pub blobs_used: Vec<String>,
    pub children: Vec<String>,
    pub subject: Option<String>,
    pub artifact_type: Option<&'static str>,
    pub annotations: Option<Value>,
}

pub fn digest(algorithm: Algorithm, bytes: &[u8]) -> String {
    Digest::of(algorithm, bytes).to_string()
}

fn sha256(bytes: &[u8]) -> String {
    digest(Algorithm::Sha256, bytes)
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()})
}

impl Pool {
    pub fn new(manifests: &[Manifest]) -> Self {
        let contents = CONTENT_BYTES
            .iter()
            .map(|length| {
                let bytes = (0..*length).map(|at| (at * 7 + length + at / 251) as u8);
                Content::new(bytes.collect())
            })
            .collect();
        let mut pool = Pool {
            contents,
            manifests: Vec::new(),
        };
        for manifest in manifests {
            let made = pool.make(manifest);
            pool.manifests.push(made);
        }
        pool
    }

    pub fn manifest(&self, index: &Index) -> usize {
        index.index(self.manifests.len())
    }

    /// An earlier manifest, if there is one yet.
    fn earlier(&self, index: &Index) -> Option<&Made> {
        (!self.manifests.is_empty()).then(|| index.get(&self.manifests))
    }

    fn make(&self, manifest: &Manifest) -> Made {
        let mut document = json!({"schemaVersion": 2});
        let (mut blobs_needed, mut blobs_used, mut children) = (vec![], vec![], vec![]);
        let media_type = match (&manifest.parts, manifest.docker) {
            (Parts::Image { .. }, false) => OCI_IMAGE,
            (Parts::Image { .. }, true) => DOCKER_IMAGE,
            (Parts::Index { .. }, false) => OCI_INDEX,
            (Parts::Index { .. }, true) => DOCKER_LIST,
        };
        document["mediaType"] = json!(media_type);
        match &manifest.parts {
            Parts::Image {
                config,
                layers,
                foreign,
            } => {
                document["config"] = self.contents[*config].descriptor(CONFIG);
                blobs_needed.push(self.contents[*config].sha256.clone());
                let layer_type = if *foreign { FOREIGN } else { LAYER };
                let mut list = Vec::new();
                for layer in layers {
                    list.push(self.contents[*layer].descriptor(layer_type));
                    let digest = self.contents[*layer].sha256.clone();
                    blobs_used.push(digest.clone());
                    if !foreign {
                        blobs_needed.push(digest);
                    }
                }
                document["layers"] = json!(list);
                blobs_used.push(self.contents[*config].sha256.clone());
            }
            Parts::Index { children: indexes } => {
                let made = indexes.iter().filter_map(|index| self.earlier(index));
                let list: Vec<Value> = made
                    .map(|child| {
                        children.push(sha256(&child.bytes));
                        descriptor(child.media_type, &child.bytes)
                    })
                    .collect();
                document["manifests"] = json!(list);
            }
        }
        let subject = manifest
            .subject
            .as_ref()
            .and_then(|index| self.earlier(index));
        if let Some(subject) = subject {
            document["subject"] = descriptor(subject.media_type, &subject.bytes);
        }
        let own_type = manifest.artifact_type.map(|index| ARTIFACT_TYPES[index]);
        if let Some(own_type) = own_type {
            document["artifactType"] = json!(own_type);
        }
        let annotations = manifest
            .annotation
            .map(|note| json!({"note": note.to_string()}));
        if let Some(annotations) = &annotations {
            document["annotations"] = annotations.clone();
        }
        let is_image = matches!(manifest.parts, Parts::Image { .. });
        Made {
            bytes: document.to_string().into_bytes(),
            media_type,
            blobs_needed,
            blobs_used,
            children,
            subject: subject.map(|subject| sha256(&subject.bytes)),
            artifact_type: own_type.or(is_image.then_some(CONFIG)),
            annotations,
        }
    }
}
