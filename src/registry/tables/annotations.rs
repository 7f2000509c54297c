//! The table that annotations are found by.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ghostbay::catalog::{Key, KeyReader, KeyWriter, Table, Value};
use crate::oci::RepositoryName;

use super::ContentKey;

/// What manifests say of themselves, by the beginning of it. A row stays while its manifest is a
/// tombstone, so whoever finds one looks for the manifest.
pub const ANNOTATIONS: Table<AnnotationKey, AnnotationRow> = Table::new(0x30, "annotations");

/// An annotation of a manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnotationKey {
    /// The beginning of its value, in lower case.
    pub value: String,
    /// Its name.
    pub name: String,
    /// The manifest.
    pub manifest: ContentKey,
}

impl Key for AnnotationKey {
    const LAYOUT: &'static str = "value any text, name any text, repository, digest";

    fn encode(&self, out: &mut KeyWriter) {
        out.any_text(&self.value).any_text(&self.name);
        self.manifest.encode(out);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        Some(AnnotationKey {
            value: input.any_text()?,
            name: input.any_text()?,
            manifest: Key::decode(input)?,
        })
    }
}

impl AnnotationKey {
    /// The key of an annotation of `digest` in `repository`.
    pub fn new(value: String, name: String, repository: &RepositoryName, digest: &Digest) -> Self {
        AnnotationKey {
            value,
            name,
            manifest: ContentKey::new(repository, digest),
        }
    }
}

/// What an annotation says.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AnnotationRow {
    /// The beginning of its value, as it was pushed.
    pub value: String,
}

impl Value for AnnotationRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "value text";
}
