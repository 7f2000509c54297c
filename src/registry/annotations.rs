//! Finding manifests by what they say of themselves.
//!
//! A push writes a row for each annotation, under the beginning of its value; a purge takes the rows out. A
//! manifest that was deleted and can come back keeps them, and is passed over.

use super::manifests::body_of;
use super::tables::{
    ANNOTATIONS, AnnotationKey, AnnotationRow, ContentKey, MANIFEST_BODIES, MANIFESTS,
};
use super::{Registry, RegistryError, tombstones};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, KeyWriter, Rows, Transaction};
use crate::oci::{Manifest, RepositoryName};

/// Annotations of a manifest that it is found by, the first in the order of their names: what a push
/// writes is bounded.
pub const ANNOTATIONS_MAX: usize = 32;

/// Bytes of a value that it is found by.
const VALUE_BYTES_MAX: usize = 128;

/// The longest name that is kept; an annotation of a longer one is not found.
const NAME_BYTES_MAX: usize = 128;

/// An annotation that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundAnnotation {
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest.
    pub digest: Digest,
    /// The annotation's name.
    pub name: String,
    /// The beginning of its value.
    pub value: String,
}

/// The rows that a manifest is found by.
pub(super) fn rows_of(
    key: &ContentKey,
    manifest: &Manifest,
) -> Vec<(AnnotationKey, AnnotationRow)> {
    let annotations = manifest.annotations().iter();
    annotations
        .filter(|(name, value)| name.len() <= NAME_BYTES_MAX && !value.is_empty())
        .take(ANNOTATIONS_MAX)
        .map(|(name, value)| {
            let value = beginning(value);
            let lower = beginning(&value.to_lowercase()).to_owned();
            let key = AnnotationKey::new(lower, name.clone(), &key.repository, &key.digest);
            let row = AnnotationRow {
                value: value.to_owned(),
            };
            (key, row)
        })
        .collect()
}

/// As much of a value as is kept.
fn beginning(value: &str) -> &str {
    &value[..value.floor_char_boundary(VALUE_BYTES_MAX)]
}

/// Takes out the rows of a manifest that is purged, whose body is still there. Those of a body that is
/// damaged stay, find nothing, and are for a check to remove.
pub(super) fn leave(
    transaction: &mut Transaction<'_>,
    key: &ContentKey,
) -> Result<(), CatalogError> {
    let Some(tombstone) = tombstones::tombstone(transaction, key)? else {
        return Ok(());
    };
    let size = tombstone.manifest.size;
    let body = transaction.get_sound(&MANIFEST_BODIES, key)?;
    let Some(bytes) = body.and_then(|body| body_of(&key.digest, body, size)) else {
        return Ok(());
    };
    // Most manifests have none, and need not be understood for that.
    if !contains(&bytes, b"\"annotations\"") {
        return Ok(());
    }
    let media_type = &tombstone.manifest.media_type;
    if let Ok(manifest) = Manifest::parse(&bytes, Some(media_type)) {
        for (annotation, _) in rows_of(key, &manifest) {
            transaction.delete(&ANNOTATIONS, &annotation)?;
        }
    }
    Ok(())
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Which annotations are looked for.
struct Wanted {
    /// The whole name, if it was said.
    name: Option<String>,
    /// What the value begins with, in lower case.
    value: String,
}

impl Wanted {
    /// `NAME=BEGINNING`, or the beginning of any value, of at least two bytes.
    fn of(text: &str) -> Option<Self> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (Some(name.to_owned()), value),
            None => (None, text),
        };
        let value = beginning(&value.to_lowercase()).to_owned();
        let is_one = name.as_deref().is_some_and(|name| !name.is_empty()) || value.len() >= 2;
        is_one.then_some(Wanted { name, value })
    }
}

impl Registry {
    /// Manifests that say `text` of themselves: in an annotation whose value begins with it, in capitals or
    /// not, or, as `NAME=BEGINNING`, in that annotation. The first `most`, of repositories that the caller
    /// may see, and whether the search ended early: `goes_on` is asked before each row.
    pub fn find_annotations(
        &self,
        text: &str,
        most: usize,
        may_see: impl Fn(&RepositoryName) -> bool,
        goes_on: impl Fn() -> bool,
    ) -> Result<(Vec<FoundAnnotation>, bool), RegistryError> {
        let mut found = Vec::new();
        let Some(wanted) = Wanted::of(text) else {
            return Ok((found, false));
        };
        let rows = self.storage.catalog().read()?;
        let mut prefix = KeyWriter::new();
        prefix.part_of_any_text(wanted.value.as_bytes());
        for row in rows.scan_sound(&ANNOTATIONS, prefix.as_bytes(), None)? {
            if found.len() == most {
                break;
            }
            if !goes_on() {
                return Ok((found, true));
            }
            let (key, row) = row?;
            let is_named = wanted.name.as_ref().is_none_or(|name| *name == key.name);
            let manifest = key.manifest;
            if is_named && may_see(&manifest.repository) && rows.contains(&MANIFESTS, &manifest)? {
                found.push(FoundAnnotation {
                    repository: manifest.repository,
                    digest: manifest.digest,
                    name: key.name,
                    value: row.value,
                });
            }
        }
        Ok((found, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_for_is_a_value_or_a_name_and_a_value() {
        let wanted = |text| Wanted::of(text).map(|it| (it.name, it.value));
        assert_eq!(wanted("Redis"), Some((None, "redis".into())));
        assert_eq!(wanted("a.b=X=Y"), Some((Some("a.b".into()), "x=y".into())));
        assert_eq!(wanted("a.b="), Some((Some("a.b".into()), String::new())));
        assert_eq!(wanted("r"), None);
        assert_eq!(wanted("=r"), None);
    }

    #[test]
    fn values_are_cut_between_characters() {
        let long = "é".repeat(100);
        assert_eq!(beginning(&long).len(), VALUE_BYTES_MAX);
        let odd = format!("x{long}");
        assert_eq!(beginning(&odd).len(), VALUE_BYTES_MAX - 1);
    }
}
