//! The vocabulary of the OCI distribution and image specifications: pure, without any I/O.
//!
//! Everything that a client sends is parsed here into types whose fields are private, so that
//! no layer below sees a raw name, tag, digest or manifest.

pub mod descriptor;
pub mod error;
pub mod image;
mod json;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod parts;
pub mod pattern;
pub mod range;
pub mod reference;

pub use descriptor::Descriptor;
pub use error::{ErrorBody, ErrorCode, ErrorEntry};
pub use manifest::{Content, Manifest, ManifestError, Role};
pub use media_type::ManifestType;
pub use name::{NameError, RepositoryName};
pub use parts::{Part, parts};
pub use pattern::{Pattern, PatternError};
pub use range::{ContentRange, ContentRangeError};
pub use reference::{Reference, ReferenceError, Tag, TagError};

/// The beginning of something that a client sent, short enough for an error message.
fn excerpt(text: &str) -> String {
    const EXCERPT_CHARS: usize = 64;
    text.chars().take(EXCERPT_CHARS).collect()
}

/// Serde as a plain string for a type that is parsed with `FromStr`, so that what is read back
/// passes the same check as what a client sends.
macro_rules! serde_as_str {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_as_str;
