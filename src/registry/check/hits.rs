//! Whom a damage hits: up from a blob or a manifest to the tags that reach it.

use std::collections::BTreeSet;

use super::report::{HITS_MAX, Hit};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, KeyWriter, Rows};
use crate::oci::RepositoryName;
use crate::registry::tables::{BLOB_HOLDERS, EdgeKey, HolderKey, REFERENCES, TAGS_BY_DIGEST};

/// The repositories that hold a blob, with what is made of it there.
pub fn of_blob(rows: &impl Rows, digest: &Digest) -> Result<Vec<Hit>, CatalogError> {
    let mut hits = Vec::new();
    for holder in rows
        .scan_sound(&BLOB_HOLDERS, &HolderKey::prefix(digest), None)?
        .take(HITS_MAX)
    {
        let (HolderKey { repository, .. }, ()) = holder?;
        hits.push(of_content(rows, &repository, digest, false)?);
    }
    Ok(hits)
}

/// A repository, with the tags and manifests that are made of `digest` there, itself among them if
/// it is a manifest.
pub fn of_content(
    rows: &impl Rows,
    repository: &RepositoryName,
    digest: &Digest,
    is_manifest: bool,
) -> Result<Hit, CatalogError> {
    let mut hit = Hit::repository(repository.as_str());
    let mut seen = BTreeSet::new();
    let mut above = vec![*digest];
    while let Some(digest_now) = above.pop() {
        if !seen.insert(digest_now) || seen.len() > 10 * HITS_MAX {
            continue;
        }
        if is_manifest || digest_now != *digest {
            if hit.manifests.len() < HITS_MAX {
                hit.manifests.push(digest_now.to_string());
            }
            let mut prefix = KeyWriter::new();
            prefix.text(repository.as_str()).digest(&digest_now);
            for row in rows.scan_sound(&TAGS_BY_DIGEST, prefix.as_bytes(), None)? {
                let (key, ()) = row?;
                if hit.tags.len() == HITS_MAX {
                    break;
                }
                hit.tags.push(key.tag.to_string());
            }
        }
        let prefix = EdgeKey::prefix(repository, &digest_now);
        for edge in rows.inspect(&REFERENCES, &prefix, None)?.take(HITS_MAX) {
            if let Some(edge) = edge?.key {
                above.push(edge.source);
            }
        }
    }
    hit.tags.sort();
    Ok(hit)
}
