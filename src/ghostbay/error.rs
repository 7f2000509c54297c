//! What GhostBay answers when it cannot do what it was asked.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::catalog::CatalogError;
use super::pack::reader::ReadError;
use crate::digest::Digest;

/// An error of the object store. [`StorageEngine`](super::engine::StorageEngine) carries it
/// inside `anyhow::Error`, from which it can be downcast.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The bucket does not exist.
    #[error("there is no bucket {bucket:?}")]
    NoSuchBucket {
        /// Its name.
        bucket: String,
    },
    /// The bucket still holds objects or uploads.
    #[error("bucket {bucket:?} is not empty")]
    BucketNotEmpty {
        /// Its name.
        bucket: String,
    },
    /// The object that is to be copied does not exist.
    #[error("there is no object {key:?} in bucket {bucket:?}")]
    NoSuchKey {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// No upload of that id, or not under that name.
    #[error("there is no upload {upload}: it was finished, cancelled or never begun")]
    NoSuchUpload {
        /// The id that was given.
        upload: String,
    },
    /// A part that is named in a completion was not uploaded, or with another ETag.
    #[error("part {part_number} of the upload is not the one that was named: {reason}")]
    InvalidPart {
        /// The part's number.
        part_number: i32,
        /// What does not fit.
        reason: String,
    },
    /// A condition that the caller set does not hold.
    #[error("{0}")]
    Unwanted(Arc<dyn std::error::Error + Send + Sync>),
    /// What was to be read whole was replaced each time before its end.
    #[error("{what} {key:?} was replaced while it was read; try again")]
    Changing {
        /// What.
        what: &'static str,
        /// Its key or id.
        key: String,
    },
    /// A bucket name, key or number that cannot be.
    #[error("{what} {value:?} is not valid: {reason}")]
    Invalid {
        /// Which argument.
        what: &'static str,
        /// Its value, cut to a bearable length.
        value: String,
        /// The rule it breaks.
        reason: String,
    },
    /// Bytes that do not begin where the upload stands.
    #[error("the upload stands at byte {offset}, the bytes sent begin at {start}")]
    OutOfOrder {
        /// Bytes that the upload holds.
        offset: u64,
        /// Where the bytes that were sent begin.
        start: u64,
    },
    /// Content that is not what its digest says. Nothing of it is kept.
    #[error("the content has digest {computed}, not {expected}; send it again")]
    DigestMismatch {
        /// The digest that was named.
        expected: Digest,
        /// The digest that the content has.
        computed: Digest,
    },
    /// More or fewer bytes than announced.
    #[error("{expected} bytes were announced, {found} came")]
    SizeMismatch {
        /// Bytes announced.
        expected: u64,
        /// Bytes that came; counting stops behind the announced ones.
        found: u64,
    },
    /// An upload in too many pieces.
    #[error("an upload may come in {most} pieces; begin it again with longer ones")]
    TooManyPieces {
        /// The limit.
        most: usize,
    },
    /// The stream that was to be stored failed before its end.
    #[error("the body broke off; the upload stands at byte {offset}: {reason}")]
    BodyBroken {
        /// Bytes of it that are kept.
        offset: u64,
        /// Why the stream failed.
        reason: String,
    },
    /// Stored bytes could not be read as they were written.
    #[error("stored bytes could not be read: {0}")]
    Read(#[from] ReadError),
    /// Another process holds the data directory.
    #[error(
        "{} is in use by process {holder}: stop that one, or give this one a data directory of its own",
        directory.display()
    )]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// Process id of the holder, as it noted it itself.
        holder: String,
    },
    /// A file of the store could not be used.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is less room than is to be left alone.
    #[error(
        "the disk has {available} bytes left, and [storage] min_free leaves {minimum} alone: delete something, or give it more room"
    )]
    Full {
        /// Bytes that could still be written.
        available: u64,
        /// Bytes that are to be left alone.
        minimum: u64,
    },
    /// Writing to a pack failed.
    #[error("writing to a pack failed: {0}")]
    Write(#[source] Arc<io::Error>),
    /// The index failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl StorageError {
    /// Whether the store could not do it for a cause outside of the request, such as a failing or
    /// full disk, and may be able to later.
    pub fn is_passing(&self) -> bool {
        match self {
            StorageError::Write(_) | StorageError::File { .. } | StorageError::Full { .. } => true,
            StorageError::Catalog(error) => error.is_passing(),
            _ => false,
        }
    }

    /// What is wrong, without the names of files.
    pub fn reason(&self) -> String {
        match self {
            StorageError::File { what, source, .. } => {
                format!("{what} a file of the store: {source}")
            }
            other => other.to_string(),
        }
    }
}

/// At most 128 characters of something that a caller sent, for an error.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(128).collect()
}
