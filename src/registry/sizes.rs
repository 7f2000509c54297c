//! How large images are.

use std::collections::BTreeMap;

use super::manifests::body_of;
use super::tables::{ContentKey, MANIFEST_BODIES, MANIFESTS};
use super::{Registry, RegistryError};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::oci::{Manifest, RepositoryName, Role};

/// Manifests that are read for one size at most: an index, and what it lists.
const MANIFESTS_MAX: usize = 1_000;

/// How large a manifest with all that it is made of is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentSize {
    /// In bytes; `None` for a manifest that is not here, or lists more than 1,000 others.
    pub bytes: Option<u64>,
    /// Whether all manifests that it lists are here: then the size is that of the digest, everywhere and
    /// for ever.
    pub is_complete: bool,
}

impl Registry {
    /// Bytes of what each of these manifests is made of, itself among it: everything once, over all
    /// platforms of an index, and whether it is here or elsewhere.
    pub fn content_sizes(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> Result<Vec<ContentSize>, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let size = |digest: &Digest| Ok(content_size(&rows, repository, digest)?);
        digests.iter().map(size).collect()
    }
}

fn content_size(
    rows: &impl Rows,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<ContentSize, CatalogError> {
    let (mut parts, mut waiting) = (BTreeMap::<Digest, u64>::new(), vec![*digest]);
    let (mut read, mut is_complete) = (0, true);
    let none = ContentSize {
        bytes: None,
        is_complete: false,
    };
    while let Some(digest) = waiting.pop() {
        let key = ContentKey::new(repository, &digest);
        let row = rows.get_sound(&MANIFESTS, &key)?;
        let body = rows.get_sound(&MANIFEST_BODIES, &key)?;
        let found = row.zip(body).and_then(|(row, body)| {
            let bytes = body_of(&digest, body, row.size)?;
            let manifest = Manifest::parse(&bytes, Some(&row.media_type)).ok()?;
            Some((row.size, manifest))
        });
        let Some((size, manifest)) = found else {
            // What an index lists may be missing; the index itself may not.
            match read {
                0 => return Ok(none),
                _ => {
                    is_complete = false;
                    continue;
                }
            }
        };
        read += 1;
        if read > MANIFESTS_MAX {
            return Ok(none);
        }
        parts.insert(digest, size);
        for (role, part) in manifest.parts() {
            if parts.insert(part.digest(), part.size()).is_none() && role == Role::Child {
                waiting.push(part.digest());
            }
        }
    }
    let bytes = parts
        .values()
        .fold(0_u64, |sum, size| sum.saturating_add(*size));
    Ok(ContentSize {
        bytes: Some(bytes),
        is_complete,
    })
}
