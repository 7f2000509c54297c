//! What the registry refuses, and why.

use serde_json::{Value, json};

use super::push::{INDEX_DEPTH_MAX, TAGS_PER_PUSH_MAX, TagMove};
use crate::digest::Digest;
use crate::ghostbay::StorageError;
use crate::ghostbay::catalog::CatalogError;
use crate::oci::{ErrorCode, ManifestError, ManifestType, Reference, RepositoryName, Tag};

/// Digests that a detail lists at most.
const LISTED_MAX: usize = 100;

/// An operation of the registry that was not done. Its text is meant for the client.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The repository holds no such blob, whoever else does.
    #[error("repository {repository} holds no blob {digest}")]
    BlobUnknown {
        /// The repository asked.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// The repository holds no such manifest.
    #[error("repository {repository} holds no manifest {reference}")]
    ManifestUnknown {
        /// The repository asked.
        repository: RepositoryName,
        /// Tag or digest of the manifest.
        reference: Reference,
    },
    /// There is no such repository.
    #[error("there is no repository {repository}")]
    NameUnknown {
        /// The repository.
        repository: RepositoryName,
    },
    /// The repository has no such upload in progress.
    #[error("there is no upload {upload} in progress")]
    UploadUnknown {
        /// The upload's id.
        upload: String,
    },
    /// A chunk that does not begin where the upload stands.
    #[error("the chunk begins at byte {start}, and the upload has {offset} bytes")]
    OutOfOrder {
        /// Bytes that the upload has.
        offset: u64,
        /// Where the chunk begins.
        start: u64,
    },
    /// Content with another digest than it was pushed under.
    #[error("the content has the digest {computed}, not {expected}")]
    DigestMismatch {
        /// The digest that the client gave.
        expected: Digest,
        /// The digest of what came.
        computed: Digest,
    },
    /// A body of another length than was announced.
    #[error("the body has {found} bytes, {expected} were announced")]
    SizeMismatch {
        /// Bytes announced.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// The client's body ended in an error. What came before it is kept where the upload can
    /// go on.
    #[error("the body broke off; {offset} bytes of the upload are kept: {reason}")]
    BodyBroken {
        /// Bytes that the upload has.
        offset: u64,
        /// What the stream said.
        reason: String,
    },
    /// An upload in too many pieces.
    #[error("an upload may come in {0} pieces; begin it again with longer ones")]
    TooManyPieces(usize),
    /// Bytes that are no manifest.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// The same bytes again under another media type: a digest would mean two things.
    #[error("the manifest is already stored as {stored} and cannot be {pushed} as well")]
    MediaTypeFixed {
        /// Type that it was first pushed under.
        stored: String,
        /// Type of this push.
        pushed: ManifestType,
    },
    /// Indexes of indexes beyond [`INDEX_DEPTH_MAX`].
    #[error("indexes may hold indexes {INDEX_DEPTH_MAX} levels deep, this one reaches {0}")]
    IndexTooDeep(u8),
    /// More `tag` parameters than [`TAGS_PER_PUSH_MAX`].
    #[error("one push may set {TAGS_PER_PUSH_MAX} tags, this one has {0}")]
    TooManyTags(usize),
    /// A manifest made of something that its repository does not hold.
    #[error(
        "the manifest refers to what the repository does not hold: {}; push it first",
        listed(missing)
    )]
    ManifestBlobUnknown {
        /// All that is missing.
        missing: Vec<Digest>,
    },
    /// Something that a manifest of the repository is made of cannot be deleted.
    #[error("{digest} is part of manifest {referrer}; delete that first")]
    StillReferenced {
        /// What was to be deleted.
        digest: Digest,
        /// One of the manifests that refer to it.
        referrer: Digest,
    },
    /// A manifest that was deleted and cannot come back.
    #[error(
        "repository {repository} holds nothing of manifest {digest} any more: it was purged, or \
         never there; push it again"
    )]
    Purged {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
    },
    /// Something that is there cannot come back.
    #[error("{what} is there and need not come back")]
    NotDeleted {
        /// What was to come back.
        what: String,
    },
    /// A tag that did not point there before.
    #[error(
        "the history of tag {repository}:{tag} knows no {}: see drift tag history",
        digest.map_or("other manifest to go back to".to_owned(), |digest| digest.to_string())
    )]
    NotInHistory {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// The manifest asked for; `None`: the one before.
        digest: Option<Digest>,
    },
    /// More than one operation may bring back.
    #[error("it lists over {0} manifests: bring them back one by one")]
    TooManyManifests(usize),
    /// More than the repository may hold.
    #[error(
        "repository {repository} holds {used} of the {limit} {what} that its quota allows, and this \
         adds {adding} or more; delete something first"
    )]
    QuotaExceeded {
        /// The repository.
        repository: RepositoryName,
        /// What there would be too many of: bytes or tags.
        what: &'static str,
        /// How many the repository holds.
        used: u64,
        /// How many would come, as far as that is known.
        adding: u64,
        /// How many it may hold.
        limit: u64,
    },
    /// A tag that is there and stays where it is.
    #[error("tag {repository}:{tag} is immutable: it can be neither moved nor deleted")]
    TagImmutable {
        /// Its repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
    },
    /// Whoever pushes may not do that to a tag.
    #[error("this login may not {} tag {repository}:{tag}", match wanted {
        TagMove::Create => "make",
        TagMove::Overwrite => "overwrite",
    })]
    TagMoveDenied {
        /// Its repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// What the push would do to it.
        wanted: TagMove,
    },
    /// Nothing is collected until somebody says so.
    #[error(
        "garbage collection is paused: have it go on by drift gc --resume, or on the page, first"
    )]
    CollectionsPaused,
    /// Deleting is switched off.
    #[error("this registry has deletes switched off")]
    DeletesDisabled,
    /// The server's own fault.
    #[error("the storage failed")]
    Storage(#[source] StorageError),
}

/// The first of `digests`, and how many more there are.
fn listed(digests: &[Digest]) -> String {
    match digests {
        [] => String::new(),
        [only] => only.to_string(),
        [first, more @ ..] => format!("{first} and {} more", more.len()),
    }
}

impl RegistryError {
    /// The code of the specification.
    pub fn code(&self) -> ErrorCode {
        match self {
            RegistryError::BlobUnknown { .. } => ErrorCode::BlobUnknown,
            RegistryError::ManifestUnknown { .. } => ErrorCode::ManifestUnknown,
            RegistryError::NameUnknown { .. } => ErrorCode::NameUnknown,
            RegistryError::UploadUnknown { .. } => ErrorCode::BlobUploadUnknown,
            RegistryError::OutOfOrder { .. }
            | RegistryError::BodyBroken { .. }
            | RegistryError::TooManyPieces(_) => ErrorCode::BlobUploadInvalid,
            RegistryError::DigestMismatch { .. } => ErrorCode::DigestInvalid,
            RegistryError::SizeMismatch { .. } => ErrorCode::SizeInvalid,
            RegistryError::ManifestInvalid(_)
            | RegistryError::MediaTypeFixed { .. }
            | RegistryError::IndexTooDeep(_)
            | RegistryError::TooManyTags(_) => ErrorCode::ManifestInvalid,
            RegistryError::Purged { .. } | RegistryError::NotInHistory { .. } => {
                ErrorCode::ManifestUnknown
            }
            RegistryError::NotDeleted { .. }
            | RegistryError::TooManyManifests(_)
            | RegistryError::CollectionsPaused => ErrorCode::Unsupported,
            RegistryError::ManifestBlobUnknown { .. } => ErrorCode::ManifestBlobUnknown,
            RegistryError::QuotaExceeded { .. }
            | RegistryError::TagImmutable { .. }
            | RegistryError::TagMoveDenied { .. } => ErrorCode::Denied,
            RegistryError::StillReferenced { .. } | RegistryError::DeletesDisabled => {
                ErrorCode::Unsupported
            }
            RegistryError::Storage(_) => ErrorCode::Unknown,
        }
    }

    /// What a program would want to know of it.
    pub fn detail(&self) -> Option<Value> {
        Some(match self {
            RegistryError::BlobUnknown { digest, .. } => json!({ "digest": digest }),
            RegistryError::ManifestUnknown { reference, .. } => {
                json!({ "reference": reference.to_string() })
            }
            RegistryError::NameUnknown { repository } => json!({ "name": repository }),
            RegistryError::UploadUnknown { upload } => json!({ "upload": upload }),
            RegistryError::OutOfOrder { offset, start } => {
                json!({ "offset": offset, "start": start })
            }
            RegistryError::BodyBroken { offset, .. } => json!({ "offset": offset }),
            RegistryError::DigestMismatch { expected, computed } => {
                json!({ "expected": expected, "computed": computed })
            }
            RegistryError::SizeMismatch { expected, found } => {
                json!({ "expected": expected, "found": found })
            }
            RegistryError::ManifestBlobUnknown { missing } => {
                json!({ "digests": &missing[..missing.len().min(LISTED_MAX)] })
            }
            RegistryError::StillReferenced { digest, referrer } => {
                json!({ "digest": digest, "referrer": referrer })
            }
            RegistryError::QuotaExceeded {
                what,
                used,
                adding,
                limit,
                ..
            } => json!({ "quota": what, "used": used, "adding": adding, "limit": limit }),
            RegistryError::TagImmutable { tag, .. } | RegistryError::TagMoveDenied { tag, .. } => {
                json!({ "tag": tag.as_str() })
            }
            _ => return None,
        })
    }
}

impl From<StorageError> for RegistryError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NoSuchUpload { upload } => RegistryError::UploadUnknown { upload },
            StorageError::OutOfOrder { offset, start } => {
                RegistryError::OutOfOrder { offset, start }
            }
            StorageError::DigestMismatch { expected, computed } => {
                RegistryError::DigestMismatch { expected, computed }
            }
            StorageError::SizeMismatch { expected, found } => {
                RegistryError::SizeMismatch { expected, found }
            }
            StorageError::TooManyPieces { most } => RegistryError::TooManyPieces(most),
            StorageError::BodyBroken { offset, reason } => {
                RegistryError::BodyBroken { offset, reason }
            }
            other => RegistryError::Storage(other),
        }
    }
}

impl From<CatalogError> for RegistryError {
    fn from(error: CatalogError) -> Self {
        RegistryError::Storage(error.into())
    }
}
