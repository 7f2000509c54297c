//! Content descriptors (image-spec, `descriptor.md`).

use serde::Deserialize;

use super::media_type;
use crate::digest::Digest;

/// Longest media type or artifact type, in bytes: both halves at RFC 6838's 127, and the slash.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// How a manifest refers to a blob or to another manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
}

/// Why a descriptor is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DescriptorError {
    /// A field that the specification requires is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// The digest is malformed or of an algorithm that the registry does not keep.
    #[error(transparent)]
    Digest(#[from] crate::digest::DigestError),
    /// A negative size; the specification has it a signed 64-bit number.
    #[error("its size is {0}, and a size is not negative")]
    Size(i64),
    /// A media type that cannot be one.
    #[error("its media type {0}")]
    MediaType(#[from] TypeNameError),
}

/// Why a text cannot be a media type or an artifact type.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TypeNameError {
    /// More bytes than [`MEDIA_TYPE_BYTES_MAX`].
    #[error("has {0} bytes, and the limit is {MEDIA_TYPE_BYTES_MAX}")]
    TooLong(usize),
    /// A character that no type holds.
    #[error("holds {0:?}; only printable ASCII characters are allowed")]
    Character(char),
}

/// Holds a type to what headers and pages can carry. RFC 6838 is narrower, but artifacts with
/// parameters or without a slash in their type are in use, and a registry must not refuse types
/// that it does not know.
pub(super) fn check_type_name(text: &str) -> Result<(), TypeNameError> {
    if text.len() > MEDIA_TYPE_BYTES_MAX {
        return Err(TypeNameError::TooLong(text.len()));
    }
    match text.chars().find(|char| !matches!(char, ' '..='~')) {
        Some(character) => Err(TypeNameError::Character(character)),
        None => Ok(()),
    }
}

impl Descriptor {
    /// Type of what is referred to; never empty.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Digest of what is referred to.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Size that the manifest claims, in bytes, below 2^63. Clients hold the content against
    /// it; the registry does not.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether this is a layer that need not be in the registry.
    pub fn is_foreign(&self) -> bool {
        media_type::is_foreign(&self.media_type)
    }
}

/// A descriptor as JSON has it; `null` counts as absent, as Go's encoder means it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawDescriptor {
    media_type: Option<String>,
    digest: Option<String>,
    size: Option<i64>,
}

impl TryFrom<RawDescriptor> for Descriptor {
    type Error = DescriptorError;

    fn try_from(raw: RawDescriptor) -> Result<Self, DescriptorError> {
        let missing = DescriptorError::Missing;
        let media_type = raw
            .media_type
            .filter(|text| !text.is_empty())
            .ok_or(missing("mediaType"))?;
        check_type_name(&media_type)?;
        let digest = raw.digest.ok_or(missing("digest"))?.parse()?;
        let size = raw.size.ok_or(missing("size"))?;
        Ok(Descriptor {
            media_type,
            digest,
            size: u64::try_from(size).map_err(|_| DescriptorError::Size(size))?,
        })
    }
}
