//! What is done to a registry, and with which contents: few of each, so that they meet.

use drift::digest::{Algorithm, Digest};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// Names of which one is the beginning of others.
pub const REPOSITORIES: [&str; 3] = ["a", "a-b", "a/b"];
pub const TAGS: [&str; 3] = ["1.0-rc", "V1", "latest"];
pub const ARTIFACT_TYPES: [&str; 2] = ["application/vnd.example.sbom+json", "example"];

const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

/// Lengths of the blobs: empty, gathered with others, and long enough for a pack of its own.
const CONTENT_BYTES: [usize; 5] = [0, 2, 5_000, 262_145, 1_100_000];

#[derive(Clone, Debug)]
pub enum Operation {
    PushBlob {
        repository: usize,
        content: usize,
        algorithm: Algorithm,
        way: Way,
        /// Names another digest at the end.
        spoiled: bool,
    },
    Mount {
        repository: usize,
        content: usize,
        from: Option<usize>,
    },
    ReadBlob {
        repository: usize,
        content: usize,
        algorithm: Algorithm,
        range: Option<(u16, u16)>,
    },
    DeleteBlob {
        repository: usize,
        content: usize,
        algorithm: Algorithm,
    },
    PutManifest {
        repository: usize,
        manifest: Index,
        by: By,
    },
    ReadTag {
        repository: usize,
        tag: usize,
    },
    ReadManifest {
        repository: usize,
        manifest: Index,
        algorithm: Algorithm,
    },
    DeleteTag {
        repository: usize,
        tag: usize,
    },
    DeleteManifest {
        repository: usize,
        manifest: Index,
        algorithm: Algorithm,
    },
    ListTags {
        repository: usize,
        limit: Option<usize>,
        last: Option<usize>,
    },
    ListRepositories {
        limit: Option<usize>,
        last: Option<usize>,
    },
    ListReferrers {
        repository: usize,
        subject: Index,
        artifact_type: Option<usize>,
    },
    /// Kills the program and starts it again.
    Restart,
}

/// How a blob is sent.
#[derive(Clone, Debug)]
pub enum Way {
    /// One POST.
    Post,
    /// POST, then PUT with everything.
    Put,
    /// POST, one PATCH without a range, PUT.
    Stream,
    /// POST, PATCH for each chunk, PUT.
    Chunks {
        /// Where the content is cut.
        cuts: Vec<Index>,
        /// Whether the last chunk comes with the PUT.
        last_in_put: bool,
        /// Whether a chunk out of order is tried before each.
        stumbles: bool,
        /// Whether the POST names the algorithm.
        hinted: bool,
    },
}

/// What a manifest is pushed by.
#[derive(Clone, Debug)]
pub enum By {
    Tag(usize),
    Digest(Algorithm, Vec<usize>),
    WrongDigest,
}

/// A manifest to be made; a reference to another manifest is to an earlier one.
#[derive(Clone, Debug)]
pub struct Manifest {
    docker: bool,
    parts: Parts,
    subject: Option<Index>,
    artifact_type: Option<usize>,
    annotation: Option<u8>,
}

#[derive(Clone, Debug)]
enum Parts {
    Image {
        config: usize,
        layers: Vec<usize>,
        foreign: bool,
    },
    Index {
        children: Vec<Index>,
    },
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![9 => Just(Algorithm::Sha256), 1 => Just(Algorithm::Sha512)]
}

fn way() -> impl Strategy<Value = Way> {
    let chunks = (
        vec(any::<Index>(), 0..4),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    prop_oneof![
        2 => Just(Way::Post),
        1 => Just(Way::Put),
        1 => Just(Way::Stream),
        2 => chunks.prop_map(|(cuts, last_in_put, stumbles, hinted)| Way::Chunks {
            cuts,
            last_in_put,
            stumbles,
            hinted,
        }),
    ]
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![
        6 => (0..TAGS.len()).prop_map(By::Tag),
        4 => (algorithm(), vec(0..TAGS.len(), 0..4))
            .prop_map(|(algorithm, tags)| By::Digest(algorithm, tags)),
        1 => Just(By::WrongDigest),
    ]
}

pub fn manifest() -> impl Strategy<Value = Manifest> {
    let content = || 0..CONTENT_BYTES.len();
    let image = (content(), vec(content(), 0..3), prop::bool::weighted(0.2));
    let parts = prop_oneof![
        3 => image.prop_map(|(config, layers, foreign)| Parts::Image { config, layers, foreign }),
        2 => vec(any::<Index>(), 0..3).prop_map(|children| Parts::Index { children }),
    ];
    let subject = option::weighted(0.6, any::<Index>());
    let artifact_type = option::weighted(0.3, 0..ARTIFACT_TYPES.len());
    let annotation = option::weighted(0.3, any::<u8>());
    (any::<bool>(), parts, subject, artifact_type, annotation).prop_map(
        |(docker, parts, subject, artifact_type, annotation)| Manifest {
            docker,
            parts,
            subject,
            artifact_type,
            annotation,
        },
    )
}

pub fn operation() -> impl Strategy<Value = Operation> {
    let repository = || 0..REPOSITORIES.len();
    let content = || 0..CONTENT_BYTES.len();
    let tag = || 0..TAGS.len();
    let limit = || option::of(0..6usize);
    prop_oneof![
        12 => (repository(), content(), algorithm(), way(), prop::bool::weighted(0.1)).prop_map(
            |(repository, content, algorithm, way, spoiled)| Operation::PushBlob {
                repository, content, algorithm, way, spoiled,
            }
        ),
        4 => (repository(), content(), option::of(repository()))
            .prop_map(|(repository, content, from)| Operation::Mount { repository, content, from }),
        3 => (repository(), content(), algorithm(), option::of(any::<(u16, u16)>())).prop_map(
            |(repository, content, algorithm, range)| Operation::ReadBlob {
                repository, content, algorithm, range,
            }
        ),
        3 => (repository(), content(), algorithm()).prop_map(
            |(repository, content, algorithm)| Operation::DeleteBlob {
                repository, content, algorithm,
            }
        ),
        14 => (repository(), any::<Index>(), by())
            .prop_map(|(repository, manifest, by)| Operation::PutManifest {
                repository, manifest, by,
            }),
        3 => (repository(), tag())
            .prop_map(|(repository, tag)| Operation::ReadTag { repository, tag }),
        3 => (repository(), any::<Index>(), algorithm()).prop_map(
            |(repository, manifest, algorithm)| Operation::ReadManifest {
                repository, manifest, algorithm,
            }
        ),
        3 => (repository(), tag())
            .prop_map(|(repository, tag)| Operation::DeleteTag { repository, tag }),
        3 => (repository(), any::<Index>(), algorithm()).prop_map(
            |(repository, manifest, algorithm)| Operation::DeleteManifest {
                repository, manifest, algorithm,
            }
        ),
        2 => (repository(), limit(), option::of(tag()))
            .prop_map(|(repository, limit, last)| Operation::ListTags { repository, limit, last }),
        2 => (limit(), option::of(repository()))
            .prop_map(|(limit, last)| Operation::ListRepositories { limit, last }),
        3 => (repository(), any::<Index>(), option::of(0..ARTIFACT_TYPES.len())).prop_map(
            |(repository, subject, artifact_type)| Operation::ListReferrers {
                repository, subject, artifact_type,
            }
        ),
        1 => Just(Operation::Restart),
    ]
}

/// Blobs that are there before the sequence, most of them: a manifest needs several at once, and
/// pushes of one blob at a time seldom bring them together.
pub fn prelude() -> impl Strategy<Value = Vec<Operation>> {
    let count = REPOSITORIES.len() * CONTENT_BYTES.len();
    vec(prop::bool::weighted(0.75), count).prop_map(|chosen| {
        let places = (0..chosen.len()).filter(|place| chosen[*place]);
        places
            .map(|place| Operation::PushBlob {
                repository: place % REPOSITORIES.len(),
                content: place / REPOSITORIES.len(),
                algorithm: Algorithm::Sha256,
                way: Way::Post,
                spoiled: false,
            })
            .collect()
    })
}

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
