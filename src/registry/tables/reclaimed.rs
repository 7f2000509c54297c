//! The tables of what was deleted and of what may go: tombstones, the tags' history, the queue.

use serde::{Deserialize, Serialize};

use super::ManifestRow;
use crate::digest::Digest;
use crate::ghostbay::catalog::{Key, KeyReader, KeyWriter, Table, Value};
use crate::oci::{RepositoryName, Tag};

use super::ContentKey;

/// Blobs of repositories that no manifest was made of when their row was written. Each link has
/// its row here from when it comes until the collector finds a manifest that points at it, and
/// again from when the last such manifest is purged.
pub const UNREFERENCED: Table<MomentKey, ()> = Table::new(0x29, "unreferenced");
/// Tombstones: manifests that were deleted and can come back. Body and edges stay in their own
/// tables until the tombstone is purged; the edges say that they are a deleted manifest's.
pub const DELETED_MANIFESTS: Table<ContentKey, DeletedManifestRow> =
    Table::new(0x2a, "deleted_manifests");
/// The tombstones by age.
pub const DELETED_BY_TIME: Table<MomentKey, ()> = Table::new(0x2b, "deleted_by_time");
/// Where each tag pointed, newest first.
pub const TAG_HISTORY: Table<TagMomentKey, TagMomentRow> = Table::new(0x2c, "tag_history");

/// Content of a repository at a moment, so that the oldest comes first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MomentKey {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub content: ContentKey,
}

impl MomentKey {
    /// The key of `content` at that moment.
    pub fn new(at_ms: u64, content: &ContentKey) -> Self {
        MomentKey {
            at_ms,
            content: content.clone(),
        }
    }
}

impl Key for MomentKey {
    const LAYOUT: &'static str = "at_ms u64, repository, digest";

    fn encode(&self, out: &mut KeyWriter) {
        out.u64(self.at_ms);
        self.content.encode(out);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(MomentKey {
            at_ms: input.u64()?,
            content: Key::decode(input)?,
        })
    }
}

/// A manifest that was deleted.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct DeletedManifestRow {
    /// Its row.
    pub manifest: ManifestRow,
    /// When it was deleted, in milliseconds since 1970.
    pub deleted_ms: u64,
    /// By whom, where that is known.
    pub by: Option<String>,
    /// The tags that went with it.
    pub tags: Vec<Tag>,
}

impl Value for DeletedManifestRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "media_type text, artifact_type option(text), size u64, \
                                  subject option(algorithm u8, raw bytes), depth u8, \
                                  pushed_ms u64, deleted_ms u64, by option(text), tags [text]";
}

/// A change of a tag. Numbers grow by one with each change; the key holds them from above, so
/// that the newest change is the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagMomentKey {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// The change's number.
    pub number: u32,
}

impl Key for TagMomentKey {
    const LAYOUT: &'static str = "repository, tag, 2^32 - 1 - number u32";

    fn encode(&self, out: &mut KeyWriter) {
        self.repository.encode(out);
        out.text(self.tag.as_str()).u32(u32::MAX - self.number);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(TagMomentKey {
            repository: Key::decode(input)?,
            tag: input.text()?.parse().ok()?,
            number: u32::MAX - input.u32()?,
        })
    }
}

/// What happened to a tag.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TagMomentRow {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The manifest that it points at from then on, or pointed at until then.
    pub digest: Digest,
    /// What happened.
    pub change: TagChange,
    /// By whom, where that is known.
    pub by: Option<String>,
}

impl Value for TagMomentRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "at_ms u64, digest (algorithm u8, raw bytes), variant (0: found, \
                                  1: pushed, 2: deleted, 3: deleted with its manifest, \
                                  4: rolled back, 5: undeleted), by option(text)";
}

/// How a tag came to point where it does, or not to.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum TagChange {
    /// It was there before there was a history.
    Found,
    /// A push pointed it there.
    Pushed,
    /// It was deleted, and its manifest stayed.
    Deleted,
    /// It went with its manifest.
    DeletedWithManifest,
    /// A rollback pointed it there.
    RolledBack,
    /// It came back, by itself or with its manifest.
    Undeleted,
}

impl TagChange {
    /// Whether the tag is gone behind it.
    pub fn is_delete(self) -> bool {
        matches!(self, TagChange::Deleted | TagChange::DeletedWithManifest)
    }
}
