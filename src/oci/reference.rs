//! Tags, and what stands behind `/manifests/`: a tag or a digest (distribution-spec, "Pulling
//! manifests").

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::error::ErrorCode;
use super::{excerpt, serde_as_str};
use crate::digest::{Digest, DigestError};

/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 128;

/// A tag: a letter, digit or underscore, then letters, digits, `.`, `_` and `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

/// Why a text is no tag.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TagError {
    /// No byte at all.
    #[error("a tag has at least one character")]
    Empty,
    /// More bytes than [`TAG_BYTES_MAX`].
    #[error("a tag has at most {TAG_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// A character outside of the grammar.
    #[error(
        "{0:?} is no tag: a tag is made of letters, digits, '_', '.' and '-', and begins with \
         neither '.' nor '-'"
    )]
    Character(String),
}

impl Tag {
    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if text.len() > TAG_BYTES_MAX {
            return Err(TagError::TooLong(text.len()));
        }
        let (first, rest) = text.as_bytes().split_first().ok_or(TagError::Empty)?;
        let rest_is_good = rest
            .iter()
            .all(|&byte| is_word(byte) || byte == b'.' || byte == b'-');
        if !is_word(*first) || !rest_is_good {
            return Err(TagError::Character(excerpt(text)));
        }
        Ok(Tag(text.into()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

serde_as_str!(Tag);

/// How a request names a manifest.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize,
)]
pub enum Reference {
    /// By a tag.
    Tag(Tag),
    /// By the manifest's digest.
    Digest(Digest),
}

/// Why a text is neither a tag nor a digest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReferenceError {
    /// A text without a colon that is no tag.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// A text with a colon, which no tag holds, that is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl ReferenceError {
    /// The code of the specification. It has none for tags; a manifest cannot be kept under a
    /// name that is no tag, so that is an invalid manifest.
    pub fn code(&self) -> ErrorCode {
        match self {
            ReferenceError::Tag(_) => ErrorCode::ManifestInvalid,
            ReferenceError::Digest(_) => ErrorCode::DigestInvalid,
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') {
            Ok(Reference::Digest(text.parse()?))
        } else {
            Ok(Reference::Tag(text.parse()?))
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn tags_of_the_grammar_are_taken() {
        let longest = "a".repeat(TAG_BYTES_MAX);
        for tag in ["latest", "1", "_", "V1.2-rc_3", "__--..", longest.as_str()] {
            assert_eq!(tag.parse::<Tag>().unwrap().as_str(), tag);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let too_long = "a".repeat(TAG_BYTES_MAX + 1);
        for tag in [
            "",
            ".",
            "..",
            "-a",
            ".a",
            "a/b",
            "a b",
            "a\\b",
            "a%00",
            "a\0",
            "é",
            "a+b",
            "a\n",
            too_long.as_str(),
        ] {
            assert!(tag.parse::<Tag>().is_err(), "{tag:?} was taken");
        }
    }

    #[test]
    fn a_colon_tells_a_digest_from_a_tag() {
        let digest = Digest::of(Algorithm::Sha512, b"abc");
        assert_eq!(digest.to_string().parse(), Ok(Reference::Digest(digest)));
        let tag: Reference = "sha256-abc".parse().unwrap();
        assert_eq!(tag.to_string(), "sha256-abc");
        for (text, code) in [
            ("sha256:abc", ErrorCode::DigestInvalid),
            (
                "md5:d41d8cd98f00b204e9800998ecf8427e",
                ErrorCode::DigestInvalid,
            ),
            ("sha256:../x", ErrorCode::DigestInvalid),
            (":", ErrorCode::DigestInvalid),
            ("../x", ErrorCode::ManifestInvalid),
            ("", ErrorCode::ManifestInvalid),
        ] {
            assert_eq!(
                text.parse::<Reference>().unwrap_err().code(),
                code,
                "{text:?}"
            );
        }
    }
}
