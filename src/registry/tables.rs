//! The registry's tables: keys, rows and what they mean.
//!
//! A key begins with the repository's name and a NUL where it can, so that all of a repository is
//! one range and no scan over one name meets the rows of a longer one. Times are milliseconds
//! since 1970. `reclaimed` holds the tables of what was deleted and of what may go, `figures` those of how
//! much there was when.

mod annotations;
mod figures;
mod reclaimed;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ghostbay::catalog::{Key, KeyReader, KeyWriter, Table, TableInfo, Value};
use crate::oci::{RepositoryName, Role, Tag};

/// The repositories that hold a blob or a manifest, or whose deletion can be undone; no others
/// have a row.
pub const REPOSITORIES: Table<RepositoryName, RepositoryRow> = Table::new(0x20, "repositories");
/// Which blobs a repository may serve. The link is the permission; the bytes are the store's.
pub const BLOB_LINKS: Table<ContentKey, BlobLinkRow> = Table::new(0x21, "blob_links");
/// The links the other way round, for a mount that names no source.
pub const BLOB_HOLDERS: Table<HolderKey, ()> = Table::new(0x22, "blob_holders");
/// What is known of each manifest without reading it.
pub const MANIFESTS: Table<ContentKey, ManifestRow> = Table::new(0x23, "manifests");
/// The bytes of each manifest, apart from its row: checking that ten thousand children exist
/// must not read ten thousand bodies.
pub const MANIFEST_BODIES: Table<ContentKey, ManifestBodyRow> = Table::new(0x24, "manifest_bodies");
/// Which manifest is made of what: why a delete is refused, and why a blob is kept.
pub const REFERENCES: Table<EdgeKey, ReferenceRow> = Table::new(0x25, "references");
/// Which manifest is about which subject. A subject need not exist, and is not protected.
pub const REFERRERS: Table<EdgeKey, ReferrerRow> = Table::new(0x26, "referrers");
/// Where each tag points.
pub const TAGS: Table<TagKey, TagRow> = Table::new(0x27, "tags");
/// The tags the other way round: a manifest deleted by digest takes them along.
pub const TAGS_BY_DIGEST: Table<TagOfKey, ()> = Table::new(0x28, "tags_by_digest");
/// What each repository holds, counted along with its rows.
pub const USAGE: Table<RepositoryName, UsageRow> = Table::new(0x2d, "usage");
/// When each manifest was last pulled, if it was.
pub const PULLS: Table<ContentKey, PullRow> = Table::new(0x2e, "pulls");
/// Since when pulls are noted, in one row.
pub const PULLS_SINCE: Table<String, PullsSinceRow> = Table::new(0x2f, "pulls_since");

pub use annotations::{ANNOTATIONS, AnnotationKey, AnnotationRow};
pub use figures::{GROWTH, GrowthRow, PULL_DAYS, PullDayKey, PullDayRow};
pub use reclaimed::{
    DELETED_BY_TIME, DELETED_MANIFESTS, DeletedManifestRow, MomentKey, TAG_HISTORY, TagChange,
    TagMomentKey, TagMomentRow, UNREFERENCED,
};

/// All tables of the registry, for the schema page.
pub const TABLES: [TableInfo; 19] = [
    REPOSITORIES.info(),
    BLOB_LINKS.info(),
    BLOB_HOLDERS.info(),
    MANIFESTS.info(),
    MANIFEST_BODIES.info(),
    REFERENCES.info(),
    REFERRERS.info(),
    TAGS.info(),
    TAGS_BY_DIGEST.info(),
    USAGE.info(),
    PULLS.info(),
    PULLS_SINCE.info(),
    UNREFERENCED.info(),
    DELETED_MANIFESTS.info(),
    DELETED_BY_TIME.info(),
    TAG_HISTORY.info(),
    ANNOTATIONS.info(),
    GROWTH.info(),
    PULL_DAYS.info(),
];

impl Key for RepositoryName {
    const LAYOUT: &'static str = "repository";

    fn encode(&self, out: &mut KeyWriter) {
        out.text(self.as_str());
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        input.text()?.parse().ok()
    }
}

/// Something with a digest in a repository: a blob or a manifest.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ContentKey {
    /// The repository.
    pub repository: RepositoryName,
    /// The content's digest.
    pub digest: Digest,
}

impl ContentKey {
    /// The key of `digest` in `repository`.
    pub fn new(repository: &RepositoryName, digest: &Digest) -> Self {
        ContentKey {
            repository: repository.clone(),
            digest: *digest,
        }
    }
}

impl Key for ContentKey {
    const LAYOUT: &'static str = "repository, digest";

    fn encode(&self, out: &mut KeyWriter) {
        self.repository.encode(out);
        out.digest(&self.digest);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(ContentKey {
            repository: Key::decode(input)?,
            digest: input.digest()?,
        })
    }
}

/// A repository that holds a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HolderKey {
    /// The blob.
    pub digest: Digest,
    /// The repository.
    pub repository: RepositoryName,
}

impl HolderKey {
    /// What the keys of all holders of a blob begin with.
    pub fn prefix(digest: &Digest) -> Vec<u8> {
        let mut out = KeyWriter::new();
        out.digest(digest);
        out.into_bytes()
    }
}

impl Key for HolderKey {
    const LAYOUT: &'static str = "digest, repository";

    fn encode(&self, out: &mut KeyWriter) {
        out.digest(&self.digest);
        self.repository.encode(out);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(HolderKey {
            digest: input.digest()?,
            repository: Key::decode(input)?,
        })
    }
}

/// A manifest that points at something in its repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EdgeKey {
    /// The repository of both.
    pub repository: RepositoryName,
    /// What is pointed at.
    pub target: Digest,
    /// The manifest that points.
    pub source: Digest,
}

impl EdgeKey {
    /// What the keys of all that points at `target` begin with.
    pub fn prefix(repository: &RepositoryName, target: &Digest) -> Vec<u8> {
        let mut out = KeyWriter::new();
        repository.encode(&mut out);
        out.digest(target);
        out.into_bytes()
    }
}

impl Key for EdgeKey {
    const LAYOUT: &'static str = "repository, target digest, source digest";

    fn encode(&self, out: &mut KeyWriter) {
        self.repository.encode(out);
        out.digest(&self.target).digest(&self.source);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(EdgeKey {
            repository: Key::decode(input)?,
            target: input.digest()?,
            source: input.digest()?,
        })
    }
}

/// A tag in a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagKey {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
}

impl TagKey {
    /// The key of `tag` in `repository`.
    pub fn new(repository: &RepositoryName, tag: &Tag) -> Self {
        TagKey {
            repository: repository.clone(),
            tag: tag.clone(),
        }
    }
}

impl Key for TagKey {
    const LAYOUT: &'static str = "repository, tag";

    fn encode(&self, out: &mut KeyWriter) {
        self.repository.encode(out);
        out.text(self.tag.as_str());
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(TagKey {
            repository: Key::decode(input)?,
            tag: input.text()?.parse().ok()?,
        })
    }
}

/// A tag that points at a manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagOfKey {
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest.
    pub digest: Digest,
    /// The tag.
    pub tag: Tag,
}

impl Key for TagOfKey {
    const LAYOUT: &'static str = "repository, digest, tag";

    fn encode(&self, out: &mut KeyWriter) {
        self.repository.encode(out);
        out.digest(&self.digest).text(self.tag.as_str());
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(TagOfKey {
            repository: Key::decode(input)?,
            digest: input.digest()?,
            tag: input.text()?.parse().ok()?,
        })
    }
}

/// A repository.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RepositoryRow {
    /// When its first blob or manifest came.
    pub created_ms: u64,
    /// When all of it was deleted. The next push makes it one like any other.
    pub deleted_ms: Option<u64>,
}

impl Value for RepositoryRow {
    const VERSION: u8 = 2;
    const LAYOUT: &'static str = "created_ms u64, deleted_ms option(u64)";
}

/// A blob in a repository.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct BlobLinkRow {
    /// When it was last pushed or mounted.
    pub linked_ms: u64,
    /// Bytes of the blob.
    pub size: u64,
}

impl Value for BlobLinkRow {
    const VERSION: u8 = 2;
    const LAYOUT: &'static str = "linked_ms u64, size u64";
}

/// A manifest in a repository.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ManifestRow {
    /// Its media type; it never changes for a digest.
    pub media_type: String,
    /// What the referrers list shows as its artifact type.
    pub artifact_type: Option<String>,
    /// Bytes of the manifest itself.
    pub size: u64,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
    /// How many indexes deep it reaches: 0 for an image.
    pub depth: u8,
    /// When it was last pushed.
    pub pushed_ms: u64,
}

impl Value for ManifestRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "media_type text, artifact_type option(text), size u64, \
                                  subject option(algorithm u8, raw bytes), depth u8, pushed_ms u64";
}

/// A manifest's bytes.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ManifestBodyRow {
    /// Whether they are compressed with zstd.
    pub compressed: bool,
    /// The bytes.
    pub bytes: Bytes,
}

impl Value for ManifestBodyRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "compressed bool, bytes";
}

/// That a manifest is made of something, and in which roles.
#[derive(Serialize, Deserialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ReferenceRow {
    /// One bit a role: 1 config, 2 layer, 4 child. One blob may be both config and layer.
    /// And 8: the manifest was deleted, and can come back.
    roles: u8,
}

/// The bit of a manifest that was deleted.
const DELETED: u8 = 8;

impl ReferenceRow {
    /// Adds a role.
    pub fn add(&mut self, role: Role) {
        self.roles |= Self::bit(role);
    }

    /// Whether the target is there in this role.
    pub fn has(self, role: Role) -> bool {
        self.roles & Self::bit(role) != 0
    }

    /// The same edge, of a manifest that was deleted.
    pub fn of_deleted(self) -> Self {
        ReferenceRow {
            roles: self.roles | DELETED,
        }
    }

    /// Whether the manifest was deleted. The target is then kept for it, but may be deleted.
    pub fn is_of_deleted(self) -> bool {
        self.roles & DELETED != 0
    }

    fn bit(role: Role) -> u8 {
        match role {
            Role::Config => 1,
            Role::Layer => 2,
            Role::Child => 4,
        }
    }
}

impl Value for ReferenceRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "roles u8 (1 config, 2 layer, 4 child, 8 of a deleted manifest)";
}

/// A manifest in the referrers list of its subject.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ReferrerRow {
    /// What an artifact type filter compares with.
    pub artifact_type: Option<String>,
    /// The descriptor as the list shows it, annotations included, in JSON.
    pub descriptor: String,
}

impl Value for ReferrerRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "artifact_type option(text), descriptor text";
}

/// A tag.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TagRow {
    /// The manifest that it points at.
    pub digest: Digest,
    /// When it was last pushed.
    pub tagged_ms: u64,
}

impl Value for TagRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "digest (algorithm u8, raw bytes), tagged_ms u64";
}

/// What a repository holds.
#[derive(Serialize, Deserialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UsageRow {
    /// Bytes of its blobs and manifests. A blob counts in each repository that holds it.
    pub bytes: u64,
    /// Blobs.
    pub blobs: u64,
    /// Manifests.
    pub manifests: u64,
    /// Tags.
    pub tags: u64,
}

impl Value for UsageRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "bytes u64, blobs u64, manifests u64, tags u64";
}

/// A manifest that was pulled.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PullRow {
    /// When it was last.
    pub pulled_ms: u64,
}

impl Value for PullRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "pulled_ms u64";
}

/// That pulls are noted.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PullsSinceRow {
    /// Since when.
    pub since_ms: u64,
}

impl Value for PullsSinceRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "since_ms u64";
}

#[cfg(test)]
mod tests;
