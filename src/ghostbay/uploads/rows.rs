//! Uploads as rows: those under way, and those that were finished not long ago.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::{Algorithm, Digest};
use crate::ghostbay::catalog::{CatalogError, Key, KeyReader, KeyWriter, Table, Value};
use crate::ghostbay::error::{StorageError, excerpt};
use crate::ghostbay::pack::Extent;

/// Uploads that are under way.
pub const UPLOADS: Table<UploadId, UploadRow> = Table::new(0x06, "uploads");

/// Uploads that were finished within [`FINISHED_KEPT_MS`].
pub const FINISHED: Table<UploadId, FinishedRow> = Table::new(0x07, "finished_uploads");

/// The same by the time of their end, for forgetting them.
pub const FINISHED_BY_TIME: Table<FinishedKey, ()> = Table::new(0x08, "finished_uploads_by_time");

/// How long a finished upload is remembered, so that a closing request whose answer was lost
/// can be repeated: an hour, in milliseconds.
pub const FINISHED_KEPT_MS: u64 = 60 * 60 * 1000;

/// Identity of an upload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(Uuid);

impl UploadId {
    /// A new identity; it cannot be guessed.
    pub fn random() -> Self {
        UploadId(Uuid::new_v4())
    }

    /// The identity's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The identity of these bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(UploadId)
    }
}

impl FromStr for UploadId {
    type Err = StorageError;

    /// An id that was never given out is like one that has gone.
    fn from_str(text: &str) -> Result<Self, StorageError> {
        Uuid::try_parse(text)
            .ok()
            .map(UploadId)
            // Only the spelling that we give out.
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| StorageError::NoSuchUpload {
                upload: excerpt(text),
            })
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Key for UploadId {
    const LAYOUT: &'static str = "upload 16 bytes";

    fn encode(&self, out: &mut KeyWriter) {
        out.raw(self.as_bytes());
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        UploadId::from_slice(input.raw())
    }
}

/// An upload under way.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct UploadRow {
    /// Whose it is; nobody else finds it.
    pub scope: String,
    /// Bytes that it holds.
    pub offset: u64,
    /// Where they lie.
    pub extents: Vec<Extent>,
    /// Running hash over them, as [`Hasher::save`](crate::digest::Hasher::save) gives it.
    pub hash: Vec<u8>,
    /// Code of the running hash's algorithm.
    pub algorithm: u8,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: u64,
    /// When bytes last came.
    pub touched_ms: u64,
}

impl Value for UploadRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "scope text, offset u64, extents [pack u64, offset u64, length u64], hash bytes, algorithm u8, begun_ms u64, touched_ms u64";
}

/// An upload that was finished.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FinishedRow {
    /// Whose it was.
    pub scope: String,
    /// What it became.
    pub digest: Digest,
    /// When, in milliseconds since 1970.
    pub finished_ms: u64,
}

impl Value for FinishedRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "scope text, digest (algorithm u8, raw bytes), finished_ms u64";
}

/// A finished upload by its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FinishedKey {
    /// When, in milliseconds since 1970.
    pub finished_ms: u64,
    /// Which.
    pub id: UploadId,
}

impl Key for FinishedKey {
    const LAYOUT: &'static str = "finished_ms u64, upload 16 bytes";

    fn encode(&self, out: &mut KeyWriter) {
        out.u64(self.finished_ms).raw(self.id.as_bytes());
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(FinishedKey {
            finished_ms: input.u64()?,
            id: UploadId::from_slice(input.raw())?,
        })
    }
}

impl UploadRow {
    pub(super) fn algorithm(&self) -> Result<Algorithm, StorageError> {
        Algorithm::from_code(self.algorithm).ok_or_else(|| {
            StorageError::Catalog(CatalogError::Corrupt {
                table: UPLOADS.info().name,
                reason: format!("hash algorithm {}", self.algorithm),
            })
        })
    }
}
