//! `oci-layout` and `index.json` (image-spec, `image-layout.md`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::oci::media_type::OCI_INDEX;
use crate::oci::{RepositoryName, Tag};
use crate::transfer::error::TransferError;
use crate::transfer::names::{Called, Naming};

/// The longest `index.json` that is read, in bytes. Each tag of a store is an entry of some 400.
pub const INDEX_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The longest `oci-layout`.
pub const LAYOUT_BYTES_MAX: u64 = 4096;

/// The version of the layout that there is.
const VERSION: &str = "1.0.0";

/// What an entry is called (image-spec, `annotations.md`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What containerd and Docker call it, with the registry.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The repository of an entry, where we wrote the layout.
const REPOSITORY: &str = "vnd.drift.repository";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutFile {
    image_layout_version: String,
}

/// `index.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    /// What is in the layout.
    #[serde(default)]
    pub manifests: Vec<Entry>,
}

/// Something that is in a layout.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The type of the manifest.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length, in bytes.
    pub size: u64,
    /// What it is called.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a layout holds, by repositories: of each manifest whether it has a tag.
pub type Roots = BTreeMap<RepositoryName, BTreeSet<(Option<Tag>, Digest)>>;

/// Holds `oci-layout` to the version that there is.
pub fn check_version(bytes: &[u8]) -> Result<(), TransferError> {
    let file: LayoutFile = serde_json::from_slice(bytes).map_err(|error| {
        TransferError::Unusable(format!("its oci-layout cannot be read: {error}"))
    })?;
    match file.image_layout_version == VERSION {
        true => Ok(()),
        false => Err(TransferError::Unusable(format!(
            "its layout is of version {:?}, and {VERSION} is the one that is known",
            file.image_layout_version
        ))),
    }
}

/// `oci-layout`.
pub fn layout_file() -> Bytes {
    Bytes::from(format!("{{\"imageLayoutVersion\":\"{VERSION}\"}}"))
}

impl Index {
    /// One that holds nothing.
    pub fn new() -> Self {
        Index {
            schema_version: 2,
            media_type: Some(OCI_INDEX.to_owned()),
            manifests: Vec::new(),
        }
    }

    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Result<Self, TransferError> {
        serde_json::from_slice(bytes).map_err(|error| {
            TransferError::Unusable(format!("its index.json cannot be read: {error}"))
        })
    }

    /// As it is written.
    pub fn to_bytes(&self) -> Bytes {
        // Texts and numbers: this cannot fail to serialise.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Adds an entry, in the place of one that was called the same.
    pub fn add(&mut self, entry: Entry) {
        let name = |entry: &Entry| {
            let of = |key| entry.annotations.get(key).cloned();
            (of(REPOSITORY), of(REF_NAME))
        };
        let called = name(&entry);
        self.manifests.retain(|other| match &called {
            (_, Some(_)) => name(other) != called,
            (_, None) => name(other) != called || other.digest != entry.digest,
        });
        self.manifests.push(entry);
    }

    /// What is called what, by the operator's word or else by the entries'.
    pub fn roots(&self, naming: &Naming) -> Result<Roots, TransferError> {
        let mut roots = Roots::new();
        let mut tagged = BTreeSet::new();
        for entry in &self.manifests {
            let called = entry.called();
            let is_tagged = called.reference.is_some() || self.manifests.len() == 1;
            let naming = match is_tagged {
                true => naming.clone(),
                // What refers to the only image is not called like it.
                false => Naming {
                    tag: None,
                    ..naming.clone()
                },
            };
            let (repository, tag) = naming.of(&called)?;
            if is_tagged {
                tagged.insert(entry.digest);
            }
            roots
                .entry(repository)
                .or_default()
                .insert((tag, entry.digest));
        }
        if naming.tag.is_some() && tagged.len() > 1 {
            return Err(TransferError::Unusable(format!(
                "it holds {} images, and --tag names one",
                tagged.len()
            )));
        }
        Ok(roots)
    }
}

impl Default for Index {
    fn default() -> Self {
        Index::new()
    }
}

impl Entry {
    /// A manifest of a repository, and its tag if it has one. Of several repositories each reference has
    /// its repository in it; of one it is the tag alone, as most tools have it.
    pub fn new(
        repository: &RepositoryName,
        tag: Option<&Tag>,
        has_full_names: bool,
        (media_type, digest, size): (&str, Digest, u64),
    ) -> Self {
        let mut annotations = BTreeMap::from([(REPOSITORY.to_owned(), repository.to_string())]);
        if let Some(tag) = tag {
            let reference = match has_full_names {
                true => format!("{repository}:{tag}"),
                false => tag.to_string(),
            };
            annotations.insert(REF_NAME.to_owned(), reference);
        }
        Entry {
            media_type: media_type.to_owned(),
            digest,
            size,
            annotations,
        }
    }

    /// Says what containerd and Docker call it.
    pub(super) fn call(&mut self, name: &str) {
        let key = CONTAINERD_NAME.to_owned();
        self.annotations.insert(key, name.to_owned());
    }

    fn called(&self) -> Called {
        let of = |key| self.annotations.get(key).cloned();
        let containerd = of(CONTAINERD_NAME);
        match of(REPOSITORY) {
            Some(repository) => Called {
                repository: Some(repository),
                reference: of(REF_NAME),
            },
            // With the repository in it it says more.
            None => Called {
                repository: None,
                reference: containerd.or_else(|| of(REF_NAME)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn entry(name: Option<&str>, content: &[u8]) -> Entry {
        let digest = Digest::of(Algorithm::Sha256, content);
        let named = name.map(|name| (REF_NAME.to_owned(), name.to_owned()));
        Entry {
            media_type: OCI_INDEX.to_owned(),
            digest,
            size: 1,
            annotations: named.into_iter().collect(),
        }
    }

    #[test]
    fn an_entry_takes_the_place_of_one_that_is_called_the_same() {
        let mut index = Index::new();
        for (name, content) in [
            (Some("v1"), b"a"),
            (Some("v1"), b"b"),
            (None, b"c"),
            (None, b"d"),
            (None, b"c"),
        ] {
            index.add(entry(name, content));
        }
        let digests: Vec<_> = index.manifests.iter().map(|entry| entry.digest).collect();
        let expected = [b"b", b"d", b"c"].map(|it| Digest::of(Algorithm::Sha256, it));
        assert_eq!(digests, expected);
    }

    #[test]
    fn a_tag_of_the_operator_is_for_one_image() {
        let naming = Naming {
            repository: Some("a".parse().unwrap()),
            tag: Some("v2".parse().unwrap()),
        };
        let mut index = Index::new();
        index.add(entry(Some("v1"), b"a"));
        index.add(entry(None, b"b"));
        let roots = index.roots(&naming).unwrap();
        let tags: Vec<_> = roots[&"a".parse().unwrap()]
            .iter()
            .map(|it| it.0.clone())
            .collect();
        assert_eq!(tags, [None, Some("v2".parse().unwrap())]);
        index.add(entry(Some("v3"), b"c"));
        assert!(index.roots(&naming).is_err());
    }
}
