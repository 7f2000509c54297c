//! What the registry holds as objects: `blobs/<algorithm>/<hex>` and `manifests/<repository>/<reference>`,
//! read off its tables, for those who may pull it and nobody else.

mod listing;
mod seek;

use super::tables::{BLOB_HOLDERS, BLOB_LINKS, ContentKey, HolderKey, MANIFESTS};
use super::{Blob, Registry, RegistryError, StoredManifest};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::ghostbay::objects::addressed_digest;
use crate::oci::{Reference, RepositoryName};

/// What the keys of manifests begin with.
pub const MANIFESTS_PREFIX: &str = "manifests/";

/// Media type of a blob, of which the registry knows none.
const BLOB_TYPE: &str = crate::ghostbay::objects::OCTET_STREAM;

/// What is known of something that is shown as an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// When it was pushed, or the tag moved, in milliseconds since 1970.
    pub modified_ms: u64,
}

/// Something that is shown as an object, to be read.
pub enum Content {
    /// A blob.
    Blob(Box<Blob>),
    /// A manifest.
    Manifest(StoredManifest),
}

/// What a key names.
enum Place {
    Blob(Digest),
    Manifest(RepositoryName, Reference),
}

impl Place {
    /// `None` if there can be nothing under that key.
    fn of(key: &str) -> Option<Self> {
        if let Some(path) = key.strip_prefix(MANIFESTS_PREFIX) {
            let (repository, reference) = path.rsplit_once('/')?;
            let place = Place::Manifest(repository.parse().ok()?, reference.parse().ok()?);
            return Some(place);
        }
        addressed_digest(key).ok().flatten().map(Place::Blob)
    }
}

impl Registry {
    /// What lies under a key, if the caller may pull it.
    pub fn shown(
        &self,
        key: &str,
        may_pull: impl Fn(&RepositoryName) -> bool,
    ) -> Result<Option<(Shown, Content)>, RegistryError> {
        let rows = self.storage.catalog().read()?;
        match Place::of(key) {
            None => Ok(None),
            Some(Place::Blob(digest)) => {
                let Some(holder) = holder(&rows, &digest, &may_pull)? else {
                    return Ok(None);
                };
                let link = rows.get_sound(&BLOB_LINKS, &ContentKey::new(&holder, &digest))?;
                let blob = self.blob(&holder, &digest)?;
                let shown = Shown {
                    digest,
                    size: blob.size,
                    media_type: BLOB_TYPE.to_owned(),
                    modified_ms: link.map_or(0, |link| link.linked_ms),
                };
                Ok(Some((shown, Content::Blob(Box::new(blob)))))
            }
            Some(Place::Manifest(repository, reference)) => {
                if !may_pull(&repository) {
                    return Ok(None);
                }
                let manifest = self.manifest(&repository, &reference)?;
                let key = ContentKey::new(&repository, &manifest.digest);
                let row = rows.get_sound(&MANIFESTS, &key)?;
                let shown = Shown {
                    digest: manifest.digest,
                    size: manifest.bytes.len() as u64,
                    media_type: manifest.media_type.clone(),
                    modified_ms: row.map_or(0, |row| row.pushed_ms),
                };
                Ok(Some((shown, Content::Manifest(manifest))))
            }
        }
    }

    /// Gives `take` the keys that begin with `prefix` and lie behind `after`, in the order of their bytes, until
    /// it says that it wants no more.
    pub fn each_shown(
        &self,
        prefix: &str,
        after: Option<&[u8]>,
        may_pull: impl Fn(&RepositoryName) -> bool,
        mut take: impl FnMut(String, Shown) -> bool,
    ) -> Result<(), RegistryError> {
        let rows = self.storage.catalog().read()?;
        Ok(listing::each(&rows, prefix, after, &may_pull, &mut take)?)
    }
}

/// A repository that holds the blob and that the caller may pull from.
fn holder(
    rows: &impl Rows,
    digest: &Digest,
    may_pull: impl Fn(&RepositoryName) -> bool,
) -> Result<Option<RepositoryName>, CatalogError> {
    for row in rows.scan(&BLOB_HOLDERS, &HolderKey::prefix(digest), None)? {
        let (key, ()) = row?;
        if may_pull(&key.repository) {
            return Ok(Some(key.repository));
        }
    }
    Ok(None)
}
