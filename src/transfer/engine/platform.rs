//! Of an index the one image for a platform (image-spec, `image-index.md`).

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::{Engine, Run};
use crate::digest::Digest;
use crate::oci::Reference;
use crate::transfer::end::Found;
use crate::transfer::error::TransferError;

/// Indexes within indexes are looked into so often.
const DEPTH_MAX: usize = 4;

/// What an image runs on: `linux/arm64` or `linux/arm/v7`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// A text is no platform.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0:?} is no platform: write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as linux/arm64"
)]
pub struct PlatformError(String);

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: Digest,
    platform: Option<Of>,
}

#[derive(Deserialize)]
struct Of {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    fn fits(&self, of: &Of) -> bool {
        // Whoever asks for no variant takes any.
        let variant = self.variant.is_none() || self.variant == of.variant;
        self.os == of.os && self.architecture == of.architecture && variant
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<_> = text.split('/').map(str::to_owned).collect();
        let (os, architecture, variant) = match <[String; 3]>::try_from(parts) {
            Ok([os, architecture, variant]) => (os, architecture, Some(variant)),
            Err(parts) => match <[String; 2]>::try_from(parts) {
                Ok([os, architecture]) => (os, architecture, None),
                Err(_) => return Err(PlatformError(text.to_owned())),
            },
        };
        if os.is_empty() || architecture.is_empty() || variant.as_deref() == Some("") {
            return Err(PlatformError(text.to_owned()));
        }
        Ok(Platform {
            os,
            architecture,
            variant,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl Engine {
    /// The image for a platform: of an index its entry, and what is no index as it is.
    pub(super) async fn for_platform(
        &self,
        run: &Run,
        mut found: Found,
        platform: &Platform,
    ) -> Result<Found, TransferError> {
        for _ in 0..DEPTH_MAX {
            if !found.is_index() {
                return Ok(found);
            }
            let index: Index = serde_json::from_slice(&found.bytes).map_err(|error| {
                let digest = &found.digest;
                TransferError::Unusable(format!("index {digest} cannot be read: {error}"))
            })?;
            let fitting = index.manifests.iter().find(|entry| {
                let of = entry.platform.as_ref();
                of.is_some_and(|of| platform.fits(of))
            });
            let Some(entry) = fitting else {
                return Err(TransferError::Unusable(format!(
                    "index {} has no image for {platform}",
                    found.digest
                )));
            };
            found = self.find(run, &Reference::Digest(entry.digest)).await?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_has_two_parts_or_three() {
        for text in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in ["", "linux", "linux/", "/amd64", "a/b/", "a/b/c/d"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_variant_is_any_variant() {
        let of = Of {
            os: "linux".into(),
            architecture: "arm".into(),
            variant: Some("v7".into()),
        };
        for (text, fits) in [
            ("linux/arm", true),
            ("linux/arm/v7", true),
            ("linux/arm/v6", false),
            ("linux/arm64", false),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().fits(&of), fits, "{text}");
        }
    }
}
