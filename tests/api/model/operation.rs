//! What is done to a registry, and with which contents: few of each, so that they meet.

use drift::digest::Algorithm;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::pool::CONTENTS;

/// Names of which one is the beginning of others.
pub const REPOSITORIES: [&str; 3] = ["a", "a-b", "a/b"];
pub const TAGS: [&str; 3] = ["1.0-rc", "V1", "latest"];
pub const ARTIFACT_TYPES: [&str; 2] = ["application/vnd.example.sbom+json", "example"];

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
    pub docker: bool,
    pub parts: Parts,
    pub subject: Option<Index>,
    pub artifact_type: Option<usize>,
    pub annotation: Option<u8>,
}

#[derive(Clone, Debug)]
pub enum Parts {
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
    let content = || 0..CONTENTS;
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
    let content = || 0..CONTENTS;
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
    let count = REPOSITORIES.len() * CONTENTS;
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
