//! What went wrong, in the words of S3: the one place where an error of the store or the registry gets a
//! code.

use std::fmt;

use axum::http::StatusCode;
use s3s::{S3Error, S3ErrorCode, s3_error};

use super::checksums::Outcome;
use crate::ghostbay::StorageError;
use crate::registry::RegistryError;

/// A condition of a request that does not hold in the transaction that decides.
#[derive(Debug)]
pub enum Unmet {
    /// A header's condition, by the header's name.
    Condition(&'static str),
    /// A condition on an object that is not there.
    Missing(String),
    /// What the policy does not allow.
    Denied,
    /// A part other than the last that is too short: its number and bytes.
    TooSmall(u32, u64),
    /// Checksums that do not fit.
    Checksum(String),
    /// Parts that do not have as many bytes as was said: how many they have, and were said to have.
    Size(u64, i64),
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unmet::Condition(header) => write!(f, "the condition of {header} does not hold"),
            Unmet::Missing(key) => write!(f, "there is no object {key:?}"),
            Unmet::Denied => f.write_str("Access Denied"),
            Unmet::TooSmall(number, bytes) => write!(
                f,
                "part {number} has {bytes} bytes: all but the last have 5 MiB at least"
            ),
            Unmet::Checksum(reason) => f.write_str(reason),
            Unmet::Size(found, said) => write!(
                f,
                "the parts have {found} bytes, and x-amz-mp-object-size says {said}"
            ),
        }
    }
}

impl std::error::Error for Unmet {}

impl From<&Unmet> for S3Error {
    fn from(unmet: &Unmet) -> Self {
        let code = match unmet {
            Unmet::Condition(_) => S3ErrorCode::PreconditionFailed,
            Unmet::Missing(_) => S3ErrorCode::NoSuchKey,
            Unmet::Denied => S3ErrorCode::AccessDenied,
            Unmet::TooSmall(..) => S3ErrorCode::EntityTooSmall,
            Unmet::Checksum(_) => S3ErrorCode::InvalidPart,
            Unmet::Size(..) => S3ErrorCode::InvalidRequest,
        };
        S3Error::with_message(code, unmet.to_string())
    }
}

/// There is no such object.
pub fn no_such_key(key: &str) -> S3Error {
    let key: String = key.chars().take(128).collect();
    s3_error!(NoSuchKey, "there is no object {key:?}")
}

/// What the caller may not.
pub fn denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}

/// An error of the store.
pub fn of_engine(error: anyhow::Error) -> S3Error {
    match error.downcast::<StorageError>() {
        Ok(error) => of_storage(error),
        Err(error) => internal(error),
    }
}

/// An error of the store on the way of a body: what was wrong with the body comes first.
pub fn of_body(error: anyhow::Error, outcome: &Outcome) -> S3Error {
    outcome.error().unwrap_or_else(|| of_engine(error))
}

fn of_storage(error: StorageError) -> S3Error {
    let code = match &error {
        StorageError::Unwanted(unmet) => match unmet.downcast_ref::<Unmet>() {
            Some(unmet) => return unmet.into(),
            None => return internal(error.into()),
        },
        StorageError::NoSuchBucket { .. } => S3ErrorCode::NoSuchBucket,
        StorageError::BucketNotEmpty { .. } => S3ErrorCode::BucketNotEmpty,
        StorageError::NoSuchKey { .. } => S3ErrorCode::NoSuchKey,
        StorageError::NoSuchUpload { .. } => S3ErrorCode::NoSuchUpload,
        StorageError::InvalidPart { reason, .. } if reason.starts_with("it is named behind") => {
            S3ErrorCode::InvalidPartOrder
        }
        StorageError::InvalidPart { .. } => S3ErrorCode::InvalidPart,
        StorageError::Changing { .. } => S3ErrorCode::OperationAborted,
        StorageError::Invalid { what: "bucket", .. } => S3ErrorCode::InvalidBucketName,
        StorageError::Invalid { what: "range", .. } => S3ErrorCode::InvalidRange,
        StorageError::Invalid { .. } => S3ErrorCode::InvalidArgument,
        StorageError::DigestMismatch { .. } => S3ErrorCode::BadDigest,
        StorageError::SizeMismatch { .. } | StorageError::BodyBroken { .. } => {
            S3ErrorCode::IncompleteBody
        }
        StorageError::Full { .. } => {
            let mut full = S3Error::with_message(S3ErrorCode::ServiceUnavailable, error.reason());
            full.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
            return full;
        }
        other if other.is_passing() => {
            tracing::error!(error = %other, "an S3 request failed");
            return s3_error!(
                ServiceUnavailable,
                "the store cannot do it at present; try again"
            );
        }
        _ => return internal(error.into()),
    };
    S3Error::with_message(code, error.reason())
}

/// An error of the registry, whose rows the view shows. Whatever is not there is not there.
pub fn of_registry(error: RegistryError, key: &str) -> S3Error {
    match error {
        RegistryError::BlobUnknown { .. }
        | RegistryError::ManifestUnknown { .. }
        | RegistryError::NameUnknown { .. } => no_such_key(key),
        other => internal(other.into()),
    }
}

/// Something that is nobody's fault but ours. The caller is told nothing of it.
pub fn internal(error: anyhow::Error) -> S3Error {
    tracing::error!("an S3 request failed: {error:#}");
    s3_error!(
        InternalError,
        "the request failed inside; the server's log says why"
    )
}

/// An access key that is none, or does not hold any more.
pub fn unknown_key() -> S3Error {
    s3_error!(
        InvalidAccessKeyId,
        "there is no such access key, or it does not hold any more"
    )
}
