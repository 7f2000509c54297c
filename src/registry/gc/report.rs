//! What a collection decides, and what it comes to.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::oci::RepositoryName;

/// What becomes of something that was due, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest or blob.
    pub digest: Digest,
    /// What becomes of it.
    pub act: Act,
    /// Why.
    pub reason: String,
    /// Bytes of the blob, where they go.
    pub bytes: u64,
}

/// What becomes of something that was due.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// The deleted manifest goes for good.
    Purge,
    /// The repository loses the blob, and another keeps it.
    Unlink,
    /// The repository loses the blob, and the store its bytes.
    Remove,
    /// The blob stays.
    Keep,
}

impl Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (act, what) = match self.act {
            Act::Purge => ("purge", "manifest"),
            Act::Unlink => ("unlink", "blob"),
            Act::Remove => ("remove", "blob"),
            Act::Keep => ("keep", "blob"),
        };
        write!(f, "{act} {what} {}@{}", self.repository, self.digest)?;
        if self.act == Act::Remove {
            write!(f, " ({} bytes)", self.bytes)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// What a collection came to, or would.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Collected {
    /// Deleted manifests that went for good.
    pub purged: u64,
    /// Blobs that a repository lost and another keeps.
    pub unlinked: u64,
    /// Blobs that went with their bytes.
    pub removed: u64,
    /// Bytes that these had.
    pub bytes: u64,
    /// Blobs that were due and stay.
    pub kept: u64,
    /// So long, in milliseconds, nothing but manifests goes: everything is leased behind a start, or
    /// since more was asked for than there is room to remember.
    pub all_leased_ms: Option<u64>,
    /// Whether it was told to end before all that is due was taken.
    pub stopped: bool,
}

impl Collected {
    /// Takes in what was decided.
    pub(super) fn count(&mut self, item: &Item) {
        match item.act {
            Act::Purge => self.purged += 1,
            Act::Unlink => self.unlinked += 1,
            Act::Remove => {
                self.removed += 1;
                self.bytes += item.bytes;
            }
            Act::Keep => self.kept += 1,
        }
    }

    /// Whether nothing went.
    pub fn is_nothing(&self) -> bool {
        self.purged + self.unlinked + self.removed == 0
    }
}

impl Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} manifests, {} blobs of {} bytes, {} links to blobs that others hold; {} blobs kept",
            self.purged, self.removed, self.bytes, self.unlinked, self.kept
        )?;
        if let Some(left) = self.all_leased_ms {
            let left = left.div_ceil(1000);
            write!(
                f,
                "; no blob goes for another {left} s, since clients may have been told of any"
            )?;
        }
        match self.stopped {
            true => f.write_str("; stopped before its end"),
            false => Ok(()),
        }
    }
}
