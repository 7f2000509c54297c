//! How large images are.

use std::collections::BTreeMap;

use super::manifests::Unpacker;
use super::tables::{ContentKey, MANIFEST_BODIES, MANIFESTS};
use super::{Registry, RegistryError};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::oci::{Part, RepositoryName, Role, parts};

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

/// That of a manifest that has none.
const NONE: ContentSize = ContentSize {
    bytes: None,
    is_complete: false,
};

impl Registry {
    /// Bytes of what each of these manifests is made of, itself among it: everything once, over all
    /// platforms of an index, and whether it is here or elsewhere.
    ///
    /// A manifest is read as it was taken: its row has a checksum, and whether it still has its digest is for
    /// a pull and for `drift verify` to say.
    pub fn content_sizes(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> Result<Vec<ContentSize>, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let mut sizes = vec![NONE; digests.len()];
        let Some(unpacker) = Unpacker::new() else {
            return Ok(sizes);
        };
        let mut bodies = Bodies {
            key: match digests.first() {
                Some(digest) => ContentKey::new(repository, digest),
                None => return Ok(sizes),
            },
            rows: &rows,
            unpacker,
        };
        // Rows that follow each other lie in the same pages of the index.
        let mut order: Vec<usize> = (0..digests.len()).collect();
        order.sort_unstable_by_key(|at| digests[*at]);
        let mut before = None;
        for at in order {
            let digest = digests[at];
            sizes[at] = match before {
                Some((same, size)) if same == digest => size,
                _ => content_size(&mut bodies, &digest)?,
            };
            before = Some((digest, sizes[at]));
        }
        Ok(sizes)
    }
}

/// The manifests of a repository.
struct Bodies<'a, R> {
    rows: &'a R,
    /// The key of the one that is read.
    key: ContentKey,
    unpacker: Unpacker,
}

impl<R: Rows> Bodies<'_, R> {
    /// How many bytes a manifest has itself, and what it is made of; `None` if it is not here.
    fn read(&mut self, digest: &Digest) -> Result<Option<(u64, Vec<Part>)>, CatalogError> {
        self.key.digest = *digest;
        let Some(row) = self.rows.get_sound(&MANIFESTS, &self.key)? else {
            return Ok(None);
        };
        let body = self.rows.get_sound(&MANIFEST_BODIES, &self.key)?;
        let bytes = body.and_then(|body| self.unpacker.unpack(body, row.size));
        let bytes = bytes.filter(|bytes| bytes.len() as u64 == row.size);
        Ok(bytes.and_then(|bytes| Some((row.size, parts(&bytes)?))))
    }
}

fn content_size<R: Rows>(
    bodies: &mut Bodies<'_, R>,
    digest: &Digest,
) -> Result<ContentSize, CatalogError> {
    let (mut sizes, mut waiting) = (BTreeMap::<Digest, u64>::new(), vec![*digest]);
    let (mut read, mut is_complete) = (0, true);
    while let Some(digest) = waiting.pop() {
        let Some((size, parts)) = bodies.read(&digest)? else {
            // What an index lists may be missing; the index itself may not.
            match read {
                0 => return Ok(NONE),
                _ => {
                    is_complete = false;
                    continue;
                }
            }
        };
        read += 1;
        if read > MANIFESTS_MAX {
            return Ok(NONE);
        }
        sizes.insert(digest, size);
        for part in parts {
            if sizes.insert(part.digest, part.size).is_none() && part.role == Role::Child {
                waiting.push(part.digest);
            }
        }
    }
    let bytes = sizes
        .values()
        .fold(0_u64, |sum, size| sum.saturating_add(*size));
    Ok(ContentSize {
        bytes: Some(bytes),
        is_complete,
    })
}
