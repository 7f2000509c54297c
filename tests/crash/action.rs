//! What a client can do, chosen so that it can be done again.

use drift::digest::Digest;
use rand::{Rng, RngExt};

use crate::client::Client;
use crate::content::{Content, sha256};
use crate::expected::Repository;

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Tags that are moved about.
const TAGS: u32 = 6;
/// So many manifests stay.
const MANIFESTS_MIN: usize = 3;

/// One request, with all that is in it.
#[derive(Clone, Debug)]
pub enum Action {
    PushBlob(Content),
    BeginUpload(Content),
    /// The next so many bytes, or what is left.
    Append(usize),
    FinishUpload,
    CancelUpload,
    /// Into this repository, from the other.
    Mount(Repository, Digest),
    DeleteBlob(Repository, Digest),
    PushManifest(Repository, String, Vec<u8>),
    DeleteTag(Repository, String),
    DeleteManifest(Repository, Digest),
}

/// What kind of request; what is in it is chosen of what there is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A blob that is gathered in memory.
    PushSmall,
    /// A blob that is written as it comes.
    PushLarge,
    PushAny,
    /// Begins, goes on with, or finishes the upload, whichever comes next.
    Upload,
    /// As `Upload`, but whatever is left goes in one request.
    UploadRest,
    CancelUpload,
    Mount,
    DeleteBlob,
    PushManifest(Repository),
    /// Moves the tag that was pushed last.
    MoveTag,
    DeleteTag,
    DeleteManifest,
}

impl Client {
    /// A request of that kind, `None` if there is nothing to do it to.
    pub fn choose(&mut self, kind: Kind) -> Option<Action> {
        match kind {
            Kind::PushSmall => Some(Action::PushBlob(self.content(1..200_000))),
            Kind::PushLarge => Some(Action::PushBlob(self.content(300_000..2_500_000))),
            Kind::PushAny => Some(Action::PushBlob(self.any_content())),
            Kind::Upload | Kind::UploadRest => Some(self.next_of_upload(kind)),
            Kind::CancelUpload => self.expected.upload.as_ref().map(|_| Action::CancelUpload),
            Kind::Mount => self.mount(),
            Kind::DeleteBlob => self.delete_blob(),
            Kind::PushManifest(repository) => {
                let tag = format!("t{}", self.random.random_range(0..TAGS));
                self.push_manifest(repository, tag)
            }
            Kind::MoveTag => {
                let (repository, tag) = self.pushed_last.clone()?;
                self.push_manifest(repository, tag)
            }
            Kind::DeleteTag => {
                let tags: Vec<_> = self.expected.tags.there().map(|(tag, _)| tag).collect();
                let (repository, tag) = tags.get(self.random.random_range(0..tags.len().max(1)))?;
                Some(Action::DeleteTag(*repository, tag.clone()))
            }
            Kind::DeleteManifest => {
                let there: Vec<_> = self
                    .expected
                    .manifests
                    .there()
                    .map(|(key, _)| *key)
                    .collect();
                if there.len() < MANIFESTS_MIN {
                    return None;
                }
                let (repository, digest) = there[self.random.random_range(0..there.len())];
                Some(Action::DeleteManifest(repository, digest))
            }
        }
    }

    /// A request of any kind.
    pub fn choose_any(&mut self) -> Option<Action> {
        let kind = match self.random.random_range(0..20) {
            0..=4 => Kind::PushAny,
            5..=11 => Kind::Upload,
            12 => Kind::PushManifest(Repository::First),
            13 => Kind::PushManifest(Repository::Second),
            14 => Kind::DeleteTag,
            15 => Kind::DeleteManifest,
            16..=17 => Kind::Mount,
            18 => Kind::DeleteBlob,
            // Rarely: an upload that is cancelled is not one that goes on after a kill.
            _ if self.random.random_range(0..3) == 0 => Kind::CancelUpload,
            _ => Kind::MoveTag,
        };
        self.choose(kind)
    }

    fn content(&mut self, lengths: std::ops::Range<usize>) -> Content {
        let length = self.random.random_range(lengths);
        Content::new(self.random.next_u64(), length)
    }

    fn any_content(&mut self) -> Content {
        // Below and above what is gathered in memory, and across windows.
        match self.random.random_range(0..4) {
            0 => self.content(1..2000),
            1 => self.content(2000..300_000),
            2 => self.content(250_000..270_000),
            _ => self.content(300_000..2_500_000),
        }
    }

    fn next_of_upload(&mut self, kind: Kind) -> Action {
        let left = match &self.expected.upload {
            None => return Action::BeginUpload(self.any_content()),
            Some(upload) => upload.content.length - upload.acknowledged,
        };
        match (left, kind) {
            (0, _) => Action::FinishUpload,
            (_, Kind::UploadRest) => Action::Append(left),
            _ => Action::Append(self.random.random_range(1..=left.min(900_000))),
        }
    }

    fn mount(&mut self) -> Option<Action> {
        let blobs = &self.expected.blobs;
        let candidates: Vec<_> = blobs
            .there()
            .map(|((source, digest), _)| (source.other(), *digest))
            .filter(|key| blobs.possible(key) == [None])
            .collect();
        let (repository, digest) =
            candidates.get(self.random.random_range(0..candidates.len().max(1)))?;
        Some(Action::Mount(*repository, *digest))
    }

    fn delete_blob(&mut self) -> Option<Action> {
        let candidates: Vec<_> = self
            .expected
            .blobs
            .there()
            .map(|(key, _)| *key)
            .filter(|(repository, digest)| !self.expected.is_named(*repository, digest))
            .collect();
        let (repository, digest) =
            candidates.get(self.random.random_range(0..candidates.len().max(1)))?;
        Some(Action::DeleteBlob(*repository, *digest))
    }

    fn push_manifest(&mut self, repository: Repository, tag: String) -> Option<Action> {
        let blobs: Vec<_> = self
            .expected
            .blobs
            .there()
            .filter(|((of, _), _)| *of == repository)
            .map(|((_, digest), content)| (*digest, content.length))
            .collect();
        let (config, layer) = blobs.first().zip(blobs.last())?;
        let descriptor = |media_type: &str, (digest, size): &(Digest, usize)| {
            serde_json::json!({
                "mediaType": format!("application/vnd.oci.image.{media_type}"),
                "digest": digest,
                "size": size,
            })
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor("config.v1+json", config),
            "layers": [descriptor("layer.v1.tar", layer)],
            "annotations": { "nonce": self.random.next_u64().to_string() },
        });
        let bytes = serde_json::to_vec(&manifest).unwrap();
        Some(Action::PushManifest(repository, tag, bytes))
    }
}

impl Action {
    /// Notes in what the request, now on its way, may change.
    pub fn doubt(&self, client: &mut Client) {
        use crate::expected::Ending;
        let expected = &mut client.expected;
        match self {
            Action::PushBlob(content) => {
                let key = (Repository::First, sha256(&content.bytes()));
                expected.blobs.doubt(key, Some(*content));
            }
            Action::BeginUpload(_) | Action::Append(_) => {}
            Action::FinishUpload => {
                let Some(upload) = &mut expected.upload else {
                    return;
                };
                upload.ending = Some(Ending::Finish);
                let key = (Repository::First, sha256(&upload.content.bytes()));
                expected.blobs.doubt(key, Some(upload.content));
            }
            Action::CancelUpload => {
                if let Some(upload) = &mut expected.upload {
                    upload.ending = Some(Ending::Cancel);
                }
            }
            Action::Mount(repository, digest) => {
                let source = expected.blobs.possible(&(repository.other(), *digest));
                let content = source[0];
                expected.blobs.doubt((*repository, *digest), content);
            }
            Action::DeleteBlob(repository, digest) => {
                expected.blobs.doubt((*repository, *digest), None);
            }
            Action::PushManifest(repository, tag, bytes) => {
                let digest = sha256(bytes);
                expected
                    .tags
                    .doubt((*repository, tag.clone()), Some(digest));
                let key = (*repository, digest);
                expected.manifests.doubt(key, Some(bytes.clone()));
            }
            Action::DeleteTag(repository, tag) => {
                expected.tags.doubt((*repository, tag.clone()), None);
            }
            Action::DeleteManifest(repository, digest) => {
                expected.manifests.doubt((*repository, *digest), None);
                for tag in tags_of(client, *repository, digest) {
                    client.expected.tags.doubt((*repository, tag), None);
                }
            }
        }
    }
}

/// The tags that point, or may point, at a manifest.
pub fn tags_of(client: &Client, repository: Repository, digest: &Digest) -> Vec<String> {
    client
        .expected
        .tags
        .all()
        .filter(|((of, _), states)| *of == repository && states.contains(&Some(*digest)))
        .map(|((_, tag), _)| tag.clone())
        .collect()
}
