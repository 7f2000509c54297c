//! Referrers: which manifests are about which (distribution-spec, "Listing Referrers").

use std::collections::BTreeMap;

use serde::Serialize;

use super::tables::{EdgeKey, REFERRERS, ReferrerRow};
use super::{Registry, RegistryError};
use crate::digest::Digest;
use crate::ghostbay::catalog::{Key, KeyWriter, Rows};
use crate::oci::{Manifest, RepositoryName, media_type};

/// Bytes of descriptors after which a list is cut. Annotations make a descriptor as large as a
/// manifest, so without a limit a few thousand pushes would make an answer of gigabytes; this
/// one keeps each page readable for clients that hold indexes to the limit of a manifest.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024 - 1024;

/// A list of referrers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Referrers {
    /// An OCI index, as JSON.
    pub index_json: Vec<u8>,
    /// Whether an artifact type filter was applied.
    pub filtered: bool,
    /// Where the list goes on if it was cut: what [`Registry::referrers_after`] takes.
    pub next: Option<Digest>,
}

impl Registry {
    /// The manifests whose subject is `digest`: an empty list where nothing is known of it.
    pub fn referrers(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Referrers, RegistryError> {
        self.list_referrers(repository, digest, artifact_type, None)
    }

    /// As [`Registry::referrers`], behind the one that a cut list ended with.
    pub fn referrers_after(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        artifact_type: Option<&str>,
        last: &Digest,
    ) -> Result<Referrers, RegistryError> {
        self.list_referrers(repository, digest, artifact_type, Some(last))
    }

    fn list_referrers(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        artifact_type: Option<&str>,
        last: Option<&Digest>,
    ) -> Result<Referrers, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let after = last.map(|last| {
            let mut key = KeyWriter::new();
            EdgeKey {
                repository: repository.clone(),
                target: *digest,
                source: *last,
            }
            .encode(&mut key);
            key.into_bytes()
        });
        let wanted = artifact_type.filter(|wanted| !wanted.is_empty());

        let mut index_json = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":["#,
            media_type::OCI_INDEX
        )
        .into_bytes();
        let head_bytes = index_json.len();
        let (mut listed, mut next) = (None, None);
        let prefix = EdgeKey::prefix(repository, digest);
        for row in rows.scan_sound(&REFERRERS, &prefix, after.as_deref())? {
            let (EdgeKey { source, .. }, referrer) = row?;
            if wanted.is_some() && wanted != referrer.artifact_type.as_deref() {
                continue;
            }
            let bytes = index_json.len() + referrer.descriptor.len() - head_bytes;
            if listed.is_some() {
                if bytes > PAGE_BYTES_MAX {
                    next = listed;
                    break;
                }
                index_json.push(b',');
            }
            index_json.extend_from_slice(referrer.descriptor.as_bytes());
            listed = Some(source);
        }
        index_json.extend_from_slice(b"]}");
        Ok(Referrers {
            index_json,
            filtered: wanted.is_some(),
            next,
        })
    }
}

/// A descriptor in the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferrerDescriptor<'a> {
    media_type: &'a str,
    digest: &'a Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// The row that puts a manifest into the list of its subject.
pub(super) fn row(manifest: &Manifest, digest: &Digest, size: u64) -> ReferrerRow {
    let artifact_type = manifest.referrer_artifact_type();
    let descriptor = ReferrerDescriptor {
        media_type: manifest.kind().as_str(),
        digest,
        size,
        artifact_type,
        annotations: manifest.annotations(),
    };
    ReferrerRow {
        artifact_type: artifact_type.map(str::to_owned),
        descriptor: serde_json::to_string(&descriptor)
            .expect("strings, numbers and a map of strings are JSON"),
    }
}
