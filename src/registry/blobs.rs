//! Blobs in repositories: reading, mounting, deleting.

use std::ops::Range;

use super::tables::{
    BLOB_HOLDERS, BLOB_LINKS, BlobLinkRow, ContentKey, EdgeKey, HolderKey, MANIFESTS, REFERENCES,
};
use super::{Registry, RegistryError, repositories, unreferenced, usage};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Rows, Transaction};
use crate::ghostbay::engine::ByteStream;
use crate::ghostbay::objects::{self, ObjectKey, ObjectRow};
use crate::ghostbay::open::OpenObject;
use crate::ghostbay::read::Delivery;
use crate::ghostbay::{blob_key, now_ms};
use crate::oci::{RepositoryName, Role};

/// Holders of a blob that a mount without a source looks at. A caller who may read none of so
/// many uploads the blob instead.
const HOLDERS_TRIED_MAX: usize = 1_000;

/// A blob that the repository holds.
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    object: OpenObject,
}

impl Blob {
    /// The bytes of `range`, which lies within the blob's size.
    pub fn read(&self, range: Range<u64>) -> ByteStream<'static> {
        self.deliver(range, Delivery::Copied)
    }

    /// As [`Blob::read`], in the way that is asked for.
    pub fn deliver(&self, range: Range<u64>, delivery: Delivery) -> ByteStream<'static> {
        self.object.read(range, delivery)
    }
}

impl Registry {
    /// The blob, if this repository holds it. That another one does is no help
    /// (CVE-2024-39897), and a damaged blob is as good as none, so that clients push it again.
    pub fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Blob, RegistryError> {
        let linked = {
            let rows = self.storage.catalog().read()?;
            rows.contains(&BLOB_LINKS, &ContentKey::new(repository, digest))?
        };
        let (bucket, key) = (&self.options.bucket, blob_key(digest));
        let object = match linked {
            true => self.storage.open_object(bucket, &key)?,
            false => None,
        };
        let object = object.ok_or_else(|| unknown(repository, digest))?;
        Ok(Blob {
            digest: *digest,
            size: object.row.size,
            object,
        })
    }

    /// As [`Registry::blob`], for a client that asks only whether the blob is there, and then counts
    /// on it: it is leased for the grace.
    pub async fn head_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Blob, RegistryError> {
        // What is not there takes no room among the leases.
        self.blob(repository, digest)?;
        if !self.gc.leases.try_lease(digest, self.gc.clock_ms()) {
            // The collector is about to take it; that is over in milliseconds.
            let (gc, digest) = (self.gc.clone(), *digest);
            let leased = move || gc.leases.lease(&digest, gc.clock_ms());
            if let Err(panic) = tokio::task::spawn_blocking(leased).await {
                std::panic::resume_unwind(panic.into_panic());
            }
        }
        // Looked at behind the lease: what is there now stays.
        self.blob(repository, digest)
    }

    /// Links a blob of another repository into this one (distribution-spec, "Mounting a blob
    /// from another repository"). `false` means that the client has to upload it, and is all
    /// that a caller learns who may not read the source, or where there is nothing to mount.
    ///
    /// Without `from`, any repository that holds the blob and that the caller may read will do.
    pub async fn mount(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        may_read: impl Fn(&RepositoryName) -> bool + Send + 'static,
    ) -> Result<bool, RegistryError> {
        let source = {
            let rows = self.storage.catalog().read()?;
            let source = match from {
                Some(from) => Some(from.clone()).filter(&may_read),
                None => readable_holder(&rows, digest, &may_read)?,
            };
            // The bytes stay for as long as the source is linked, which the transaction checks.
            match source {
                Some(source) if self.object(&rows, digest)?.is_some() => source,
                _ => return Ok(false),
            }
        };
        let (repository, digest) = (repository.clone(), *digest);
        let quota = self.options.quotas.of(&repository);
        let now = now_ms();
        self.storage
            .catalog()
            .transact(move |transaction| {
                // Asked again: the right may have been taken away meanwhile.
                let held =
                    transaction.get_sound(&BLOB_LINKS, &ContentKey::new(&source, &digest))?;
                match held.filter(|_| may_read(&source)) {
                    None => Ok(false),
                    Some(held) => {
                        let key = ContentKey::new(&repository, &digest);
                        quota.admit_blob(transaction, &key, held.size)?;
                        link(transaction, &repository, &digest, held.size, now)?;
                        Ok(true)
                    }
                }
            })
            .await
    }

    /// Takes the blob out of this repository. Others keep it; with the last of them its bytes go.
    /// Refused while a manifest here is made of it; one that was deleted then cannot come back.
    pub async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        self.check_delete()?;
        let (repository, digest) = (repository.clone(), *digest);
        let bucket = self.options.bucket.clone();
        self.storage
            .catalog()
            .transact(move |transaction| {
                let key = ContentKey::new(&repository, &digest);
                if !transaction.contains(&BLOB_LINKS, &key)? {
                    return Err(unknown(&repository, &digest));
                }
                if let Some(referrer) = manifest_made_of(transaction, &key)? {
                    return Err(RegistryError::StillReferenced { digest, referrer });
                }
                unlink(transaction, &bucket, &key)?;
                Ok(repositories::leave(transaction, &repository)?)
            })
            .await
    }

    fn object(
        &self,
        rows: &impl Rows,
        digest: &Digest,
    ) -> Result<Option<ObjectRow>, RegistryError> {
        let key = blob_key(digest);
        Ok(self.storage.object(rows, &self.options.bucket, &key)?)
    }
}

fn unknown(repository: &RepositoryName, digest: &Digest) -> RegistryError {
    RegistryError::BlobUnknown {
        repository: repository.clone(),
        digest: *digest,
    }
}

/// Gives the repository the blob, which has `size` bytes. A blob that is there already counts as
/// pushed now, so that the collector leaves it.
pub(super) fn link(
    transaction: &mut Transaction<'_>,
    repository: &RepositoryName,
    digest: &Digest,
    size: u64,
    now_ms: u64,
) -> Result<(), CatalogError> {
    repositories::enter(transaction, repository, now_ms)?;
    let key = ContentKey::new(repository, digest);
    unreferenced::take_out(transaction, &key)?;
    let row = BlobLinkRow {
        linked_ms: now_ms,
        size,
    };
    usage::put(transaction, &BLOB_LINKS, &key, &row)?;
    transaction.put(&BLOB_HOLDERS, &holder(&key), &())?;
    unreferenced::put_in(transaction, &key)
}

/// Takes the blob from the repository, and its bytes from the store if no other holds it. What a
/// repository is told that it holds, it is linked to, so nobody else can be waiting for them.
/// How many bytes went; `None` if another holds them.
pub(super) fn unlink(
    transaction: &mut Transaction<'_>,
    bucket: &str,
    key: &ContentKey,
) -> Result<Option<u64>, CatalogError> {
    unreferenced::take_out(transaction, key)?;
    usage::take(transaction, &BLOB_LINKS, key)?;
    transaction.delete(&BLOB_HOLDERS, &holder(key))?;
    if is_held(transaction, &key.digest)? {
        return Ok(None);
    }
    let object = ObjectKey::new(bucket, blob_key(&key.digest));
    objects::remove(transaction, &object).map(Some)
}

/// Whether any repository holds the blob.
pub(super) fn is_held(rows: &impl Rows, digest: &Digest) -> Result<bool, CatalogError> {
    // A damaged row is a holder as well.
    let prefix = HolderKey::prefix(digest);
    let first = rows.inspect(&BLOB_HOLDERS, &prefix, None)?.next();
    Ok(first.transpose()?.is_some())
}

/// The link the other way round.
pub(super) fn holder(key: &ContentKey) -> HolderKey {
    HolderKey {
        digest: key.digest,
        repository: key.repository.clone(),
    }
}

fn readable_holder(
    rows: &impl Rows,
    digest: &Digest,
    may_read: impl Fn(&RepositoryName) -> bool,
) -> Result<Option<RepositoryName>, CatalogError> {
    let holders = rows.scan_sound(&BLOB_HOLDERS, &HolderKey::prefix(digest), None)?;
    for holder in holders.take(HOLDERS_TRIED_MAX) {
        let (HolderKey { repository, .. }, ()) = holder?;
        if may_read(&repository) {
            return Ok(Some(repository));
        }
    }
    Ok(None)
}

/// A manifest that needs the blob. An index entry needs it only where no manifest of the same
/// digest is there to be meant.
fn manifest_made_of(rows: &impl Rows, key: &ContentKey) -> Result<Option<Digest>, CatalogError> {
    let is_manifest = rows.contains(&MANIFESTS, key)?;
    let prefix = EdgeKey::prefix(&key.repository, &key.digest);
    for row in rows.inspect(&REFERENCES, &prefix, None)? {
        let row = row?;
        // A damaged row may be of any role; the next push of the manifest writes it again.
        let needs_it = row.row.map_or(true, |reference| {
            let as_blob = reference.has(Role::Config) || reference.has(Role::Layer);
            !reference.is_of_deleted() && (as_blob || (reference.has(Role::Child) && !is_manifest))
        });
        if let Some(edge) = row.key.filter(|_| needs_it) {
            return Ok(Some(edge.source));
        }
    }
    Ok(None)
}
