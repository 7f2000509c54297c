//! What can go wrong in the catalog.

use std::io;
use std::sync::Arc;

/// An error of the catalog. It is cheap to clone: one failed commit answers a whole batch.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    /// The index file could not be read or written.
    #[error(
        "the index failed: {0}; see that its disk is healthy and has room: it is opened again by itself"
    )]
    Index(#[source] Arc<redb::Error>),
    /// The index's file holds what redb cannot have written.
    #[error(
        "the index is damaged: {0}; stop the server and make it again of the change log with drift rebuild"
    )]
    Damaged(String),
    /// A row holds bytes that its table cannot have written.
    #[error(
        "a row of table {table} is damaged: {reason}; drift verify names what it hits, and drift rebuild makes the index again of the change log"
    )]
    Corrupt {
        /// The table's name.
        table: &'static str,
        /// What is wrong with the bytes.
        reason: String,
    },
    /// The index was written by a newer Drift.
    #[error(
        "the index has schema version {found}, this drift knows up to {known}: start a newer drift, or restore a backup made before the upgrade"
    )]
    NewerSchema {
        /// The version that the index names.
        found: u32,
        /// The newest version that this build knows.
        known: u32,
    },
    /// The index was written by an older Drift, and only a start brings it to this one's schema.
    #[error(
        "the index has schema version {found}, this drift checks version {known}: start it once, which migrates the index"
    )]
    OtherSchema {
        /// The version that the index names.
        found: u32,
        /// The version that this build writes.
        known: u32,
    },
    /// Bytes that had to be durable before the commit could not be made so.
    #[error("data could not be made durable: {0}")]
    Body(#[source] Arc<io::Error>),
    /// The change log could not be opened.
    #[error("the change log failed: {0}")]
    Log(#[source] Arc<io::Error>),
    /// The operation panicked; nothing of it was kept.
    #[error("an operation on the index failed by a mistake of the program; the log names it")]
    Panicked,
    /// The store is shutting down.
    #[error("the catalog is closed")]
    Closed,
}

impl CatalogError {
    /// Whether a later attempt may succeed: the disk failed, not what lies on it.
    pub fn is_passing(&self) -> bool {
        match self {
            CatalogError::Index(error) => {
                matches!(**error, redb::Error::Io(_) | redb::Error::PreviousIo)
            }
            CatalogError::Body(_) | CatalogError::Log(_) | CatalogError::Closed => true,
            CatalogError::Damaged(_)
            | CatalogError::Corrupt { .. }
            | CatalogError::NewerSchema { .. }
            | CatalogError::OtherSchema { .. }
            | CatalogError::Panicked => false,
        }
    }

    pub(super) fn index(error: impl Into<redb::Error>) -> Self {
        let error = error.into();
        match &error {
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. } => CatalogError::Damaged(error.to_string()),
            // A page that names a place behind the file's end.
            redb::Error::Io(io)
                if matches!(
                    io.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                CatalogError::Damaged(error.to_string())
            }
            _ => CatalogError::Index(Arc::new(error)),
        }
    }
}
