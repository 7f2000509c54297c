//! Manifests: OCI image and index, Docker schema 2 image and list (image-spec, `manifest.md`
//! and `image-index.md`). Artifacts are images or indexes with an `artifactType`.
//!
//! A parsed manifest says what the registry must know of it. It is never written back: the
//! bytes that were pushed are kept and served, so fields that nothing here knows survive.
//!
//! The limits may be raised later but not lowered: a delete parses manifests again that were
//! accepted under them.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::descriptor::{
    Descriptor, DescriptorError, RawDescriptor, TypeNameError, check_type_name,
};
use super::json::{self, JsonError};
use super::media_type::{self, ManifestType, MediaTypeError};

pub use super::json::{NESTING_MAX, VALUES_MAX};

/// Largest manifest, in bytes: what the specification asks a registry to take at least.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most entries in `layers` or `manifests`.
pub const DESCRIPTORS_MAX: usize = 10_000;

/// A manifest that keeps every rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    kind: ManifestType,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
    annotations: BTreeMap<String, String>,
    content: Content,
}

/// What a manifest is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// An image or an artifact.
    Image {
        /// The configuration.
        config: Descriptor,
        /// The layers, at most [`DESCRIPTORS_MAX`].
        layers: Vec<Descriptor>,
    },
    /// A list of manifests.
    Index {
        /// The children, at most [`DESCRIPTORS_MAX`].
        manifests: Vec<Descriptor>,
    },
}

/// What a manifest refers to something as.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// An image's configuration: a blob.
    Config,
    /// An image's layer: a blob.
    Layer,
    /// An entry of an index: a manifest, or a blob where the entry's type says so.
    Child,
}

/// Why bytes are not a manifest that the registry takes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than [`MANIFEST_BYTES_MAX`].
    #[error("a manifest has at most {MANIFEST_BYTES_MAX} bytes, this one has {0}")]
    TooLarge(usize),
    /// Not JSON, or JSON that no two parsers need read alike.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A field of the wrong JSON type.
    #[error("the manifest's fields do not have the expected types: {0}")]
    Fields(String),
    /// No media type, in header or document.
    #[error("the manifest's media type is missing: give it as Content-Type or as mediaType")]
    NoMediaType,
    /// Not the media type of a manifest.
    #[error(transparent)]
    MediaType(#[from] MediaTypeError),
    /// Header and document disagree.
    #[error("the manifest's mediaType {document:?} differs from the Content-Type {header:?}")]
    MediaTypeMismatch {
        /// `mediaType` in the document.
        document: String,
        /// The `Content-Type` header, without parameters.
        header: String,
    },
    /// Another schema version than 2.
    #[error("the manifest's schemaVersion must be 2")]
    SchemaVersion,
    /// A field that the manifest's type does not have, but that another type has.
    #[error("a manifest of type {kind} must not have {field:?}")]
    ForeignField {
        /// The manifest's type.
        kind: ManifestType,
        /// The field.
        field: &'static str,
    },
    /// An image without configuration.
    #[error("an image manifest must have a config")]
    NoConfig,
    /// More descriptors than [`DESCRIPTORS_MAX`].
    #[error("{field:?} has at most {DESCRIPTORS_MAX} entries, this one has {found}")]
    TooManyDescriptors {
        /// `layers` or `manifests`.
        field: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A descriptor that breaks a rule.
    #[error("the descriptor {place} is invalid: {source}")]
    Descriptor {
        /// Where it stands, such as `layers[3]`.
        place: String,
        /// What is wrong with it.
        source: DescriptorError,
    },
    /// An artifact type that cannot be one.
    #[error("the manifest's artifactType {0}")]
    ArtifactType(TypeNameError),
}

/// The document as serde reads it. The outer `Option` tells whether the key is there, the inner
/// one whether its value is not `null`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "present")]
    config: Option<Option<RawDescriptor>>,
    #[serde(default, deserialize_with = "present")]
    layers: Option<Option<Vec<RawDescriptor>>>,
    #[serde(default, deserialize_with = "present")]
    manifests: Option<Option<Vec<RawDescriptor>>>,
    #[serde(default, deserialize_with = "present")]
    fs_layers: Option<IgnoredAny>,
    subject: Option<RawDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Manifest {
    /// Parses what a client pushed under a `Content-Type`.
    ///
    /// Header and `mediaType` must agree where both are there; either alone decides
    /// (distribution-spec, "Pushing Manifests").
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        json::check(bytes)?;
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| ManifestError::Fields(error.to_string()))?;

        let kind = kind_of(&document, content_type)?;
        if document.schema_version != Some(2) {
            return Err(ManifestError::SchemaVersion);
        }
        let artifact_type = document.artifact_type.filter(|text| !text.is_empty());
        if let Some(text) = &artifact_type {
            check_type_name(text).map_err(ManifestError::ArtifactType)?;
        }
        Ok(Manifest {
            kind,
            artifact_type,
            subject: document
                .subject
                .map(|raw| descriptor(raw, || "subject".into()))
                .transpose()?,
            annotations: document.annotations.unwrap_or_default(),
            content: if kind.is_index() {
                Content::Index {
                    manifests: descriptors(document.manifests, "manifests")?,
                }
            } else {
                let config = document.config.flatten().ok_or(ManifestError::NoConfig)?;
                Content::Image {
                    config: descriptor(config, || "config".into())?,
                    layers: descriptors(document.layers, "layers")?,
                }
            },
        })
    }

    /// Which of the kinds it is.
    pub fn kind(&self) -> ManifestType {
        self.kind
    }

    /// The `artifactType`, unless empty.
    pub fn artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref()
    }

    /// The artifact type that the referrers list shows: the manifest's own, else an image's
    /// configuration type (distribution-spec, "Listing Referrers").
    pub fn referrer_artifact_type(&self) -> Option<&str> {
        match &self.content {
            Content::Image { config, .. } => self.artifact_type().or(Some(config.media_type())),
            Content::Index { .. } => self.artifact_type(),
        }
    }

    /// The manifest that this one is about; it need not exist.
    pub fn subject(&self) -> Option<&Descriptor> {
        self.subject.as_ref()
    }

    /// The annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// Configuration and layers, or children.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// All that the manifest is made of, each with its role; the subject is not among them.
    pub fn parts(&self) -> impl Iterator<Item = (Role, &Descriptor)> {
        let (config, role, list) = match &self.content {
            Content::Image { config, layers } => (Some(config), Role::Layer, layers),
            Content::Index { manifests } => (None, Role::Child, manifests),
        };
        config
            .map(|config| (Role::Config, config))
            .into_iter()
            .chain(list.iter().map(move |descriptor| (role, descriptor)))
    }
}

fn kind_of(document: &Document, content_type: Option<&str>) -> Result<ManifestType, ManifestError> {
    let header = content_type
        .map(media_type::essence)
        .filter(|header| !header.is_empty());
    let field = document.media_type.as_deref();
    if let (Some(header), Some(field)) = (header, field)
        && !header.eq_ignore_ascii_case(field)
    {
        return Err(ManifestError::MediaTypeMismatch {
            document: super::excerpt(field),
            header: super::excerpt(header),
        });
    }
    let kind: ManifestType = field
        .or(header)
        .ok_or(ManifestError::NoMediaType)?
        .parse()?;
    let foreign = [
        ("config", document.config.is_some() && kind.is_index()),
        ("layers", document.layers.is_some() && kind.is_index()),
        (
            "manifests",
            document.manifests.is_some() && !kind.is_index(),
        ),
        ("fsLayers", document.fs_layers.is_some()),
    ];
    match foreign.into_iter().find(|(_, is_foreign)| *is_foreign) {
        Some((field, _)) => Err(ManifestError::ForeignField { kind, field }),
        None => Ok(kind),
    }
}

fn descriptors(
    raw: Option<Option<Vec<RawDescriptor>>>,
    field: &'static str,
) -> Result<Vec<Descriptor>, ManifestError> {
    // Go writes an empty list as null.
    let raw = raw.flatten().unwrap_or_default();
    if raw.len() > DESCRIPTORS_MAX {
        return Err(ManifestError::TooManyDescriptors {
            field,
            found: raw.len(),
        });
    }
    raw.into_iter()
        .enumerate()
        .map(|(position, raw)| descriptor(raw, || format!("{field}[{position}]")))
        .collect()
}

fn descriptor(
    raw: RawDescriptor,
    place: impl FnOnce() -> String,
) -> Result<Descriptor, ManifestError> {
    Descriptor::try_from(raw).map_err(|source| ManifestError::Descriptor {
        place: place(),
        source,
    })
}

#[cfg(test)]
mod tests;
