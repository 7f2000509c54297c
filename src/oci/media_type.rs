//! Media types that mean something to a registry (image-spec, `media-types.md`).

use std::fmt;
use std::str::FromStr;

/// OCI image manifest; artifacts are image manifests too.
pub const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker image manifest, version 2 schema 2.
pub const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What Docker's schema 1, signed or not, begins with.
const DOCKER_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";
/// What OCI layers that need not be distributed begin with.
const OCI_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.";
/// What Docker's foreign layers begin with.
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.";

/// The kinds of manifest that the registry keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ManifestType {
    /// [`OCI_IMAGE`].
    OciImage,
    /// [`OCI_INDEX`].
    OciIndex,
    /// [`DOCKER_IMAGE`].
    DockerImage,
    /// [`DOCKER_LIST`].
    DockerList,
}

impl ManifestType {
    /// All of them.
    pub const ALL: [ManifestType; 4] = [
        ManifestType::OciImage,
        ManifestType::OciIndex,
        ManifestType::DockerImage,
        ManifestType::DockerList,
    ];

    /// The media type.
    pub fn as_str(self) -> &'static str {
        match self {
            ManifestType::OciImage => OCI_IMAGE,
            ManifestType::OciIndex => OCI_INDEX,
            ManifestType::DockerImage => DOCKER_IMAGE,
            ManifestType::DockerList => DOCKER_LIST,
        }
    }

    /// Whether it lists manifests rather than layers.
    pub fn is_index(self) -> bool {
        matches!(self, ManifestType::OciIndex | ManifestType::DockerList)
    }
}

impl fmt::Display for ManifestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a media type is not that of a manifest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MediaTypeError {
    /// Docker's first format.
    #[error(
        "Docker image manifests of schema 1 are not supported: push the image again as schema 2 \
         or OCI, with Docker 1.10 or newer"
    )]
    DockerSchema1,
    /// Anything else.
    #[error(
        "{0:?} is not the media type of a manifest: expected {OCI_IMAGE}, {OCI_INDEX}, \
         {DOCKER_IMAGE} or {DOCKER_LIST}"
    )]
    NoManifest(String),
}

impl FromStr for ManifestType {
    type Err = MediaTypeError;

    /// Media types compare without regard to case (RFC 2045 section 5.1).
    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        ManifestType::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                if starts_with(text, DOCKER_SCHEMA_1) {
                    MediaTypeError::DockerSchema1
                } else {
                    MediaTypeError::NoManifest(super::excerpt(text))
                }
            })
    }
}

/// The value of a `Content-Type` header without its parameters, which a registry is to ignore
/// (distribution-spec, "Pushing Manifests").
pub fn essence(content_type: &str) -> &str {
    let end = content_type.find(';').unwrap_or(content_type.len());
    content_type[..end].trim()
}

/// Whether a layer of this type need not be in the registry (image-spec, `layer.md`,
/// "Non-Distributable Layers").
pub fn is_foreign(media_type: &str) -> bool {
    starts_with(media_type, OCI_FOREIGN) || starts_with(media_type, DOCKER_FOREIGN)
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_type_is_printed_as_it_is_parsed() {
        for known in ManifestType::ALL {
            assert_eq!(known.to_string().parse(), Ok(known));
            assert_eq!(known.as_str().to_uppercase().parse(), Ok(known));
        }
    }

    #[test]
    fn schema_1_is_refused_by_name() {
        for suffix in ["json", "prettyjws"] {
            let text = format!("application/vnd.docker.distribution.manifest.v1+{suffix}");
            assert_eq!(
                text.parse::<ManifestType>(),
                Err(MediaTypeError::DockerSchema1)
            );
        }
        for text in [
            "",
            "application/json",
            "application/vnd.oci.image.config.v1+json",
            "é",
        ] {
            assert!(matches!(
                text.parse::<ManifestType>(),
                Err(MediaTypeError::NoManifest(_))
            ));
        }
    }

    #[test]
    fn parameters_are_ignored() {
        assert_eq!(essence("a/b; charset=utf-8"), "a/b");
        assert_eq!(essence(" a/b "), "a/b");
        assert_eq!(essence(";"), "");
    }

    #[test]
    fn foreign_layers_are_known_by_their_type() {
        assert!(is_foreign(
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        ));
        assert!(is_foreign(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        ));
        assert!(!is_foreign("application/vnd.oci.image.layer.v1.tar+gzip"));
        assert!(!is_foreign("é"));
    }
}
