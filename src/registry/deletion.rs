//! Deleting a repository whole, and bringing it back.
//!
//! Its manifests become tombstones of one moment, batch by batch, so that no push waits for all of
//! them; its row notes that moment when none is left, and is out of sight from then on. Who pushes
//! meanwhile keeps what was pushed, and the repository. Blobs follow as they always do: by the
//! queue, when nothing refers to them any more.

use super::quotas::Quota;
use super::tables::{
    BLOB_LINKS, ContentKey, DELETED_MANIFESTS, MANIFESTS, REFERENCES, REPOSITORIES, TAG_HISTORY,
    TagKey,
};
use super::tombstones::{self, Edges};
use super::{Deed, Registry, RegistryError, blobs, repositories, tags};
use crate::ghostbay::catalog::{CatalogError, Key, KeyWriter, Rows, Table, Transaction, Value};
use crate::oci::RepositoryName;

/// Rows that one transaction takes out, edges of manifests counted.
pub(super) const BATCH_ROWS_MAX: usize = 128;

/// What came back with a repository.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Undeleted {
    /// Manifests that are there again.
    pub back: u64,
    /// Manifests that cannot come back; the log says why.
    pub lost: u64,
}

impl Registry {
    /// Deletes all manifests and tags of a repository, and the repository. How many manifests.
    pub async fn delete_repository(
        &self,
        repository: &RepositoryName,
    ) -> Result<u64, RegistryError> {
        self.check_delete()?;
        self.check_exists(repository)?;
        let immutable = &self.options.immutable;
        immutable.release_repository(&self.storage.catalog().read()?, repository)?;
        let deed = self.deed();
        let count = self.entomb_all(repository, &deed).await?;
        let (repository, now) = (repository.clone(), deed.at_ms);
        self.storage
            .catalog()
            .transact(move |transaction| {
                let row = transaction.get_sound(&REPOSITORIES, &repository)?;
                let is_pushed_to = !repositories::holds_none(transaction, &MANIFESTS, &repository)?;
                if let Some(mut row) = row
                    && !is_pushed_to
                {
                    row.deleted_ms = Some(now);
                    transaction.put(&REPOSITORIES, &repository, &row)?;
                }
                Ok::<_, RegistryError>(repositories::leave(transaction, &repository)?)
            })
            .await?;
        Ok(count)
    }

    /// As [`Registry::delete_repository`], for good: what was deleted before goes as well, and
    /// the repository's blobs and the histories of its tags.
    pub async fn purge_repository(
        &self,
        repository: &RepositoryName,
    ) -> Result<u64, RegistryError> {
        self.check_delete()?;
        let rows = self.storage.catalog().read()?;
        let is_known = rows.contains(&REPOSITORIES, repository)?
            || !repositories::holds_none(&rows, &DELETED_MANIFESTS, repository)?;
        self.options
            .immutable
            .release_repository(&rows, repository)?;
        drop(rows);
        if !is_known {
            return Err(unknown(repository));
        }
        let deed = self.deed();
        self.entomb_all(repository, &deed).await?;
        let mut count = 0;
        let mut after = None;
        while let Some(batch) = self.batch(&DELETED_MANIFESTS, repository, &mut after)? {
            count += batch.len() as u64;
            self.in_one(move |transaction| {
                for (key, edges) in &batch {
                    // One that has come back meanwhile is not dead any more.
                    if tombstones::tombstone(transaction, key)?.is_some() {
                        tombstones::purge(transaction, key, edges)?;
                    }
                }
                Ok(())
            })
            .await?;
        }
        self.unlink_all(repository, deed.at_ms).await?;
        self.forget_histories(repository).await?;
        Ok(count)
    }

    /// Brings a deleted repository back, with all manifests and tags that went with it; none of it
    /// where the quota has no room for all of it.
    pub async fn undelete_repository(
        &self,
        repository: &RepositoryName,
    ) -> Result<Undeleted, RegistryError> {
        let deleted_ms = {
            let rows = self.storage.catalog().read()?;
            let row = rows.get_sound(&REPOSITORIES, repository)?;
            match row.ok_or_else(|| unknown(repository))?.deleted_ms {
                Some(deleted_ms) => deleted_ms,
                None => {
                    return Err(RegistryError::NotDeleted {
                        what: format!("repository {repository}"),
                    });
                }
            }
        };
        self.admit_back(repository, deleted_ms)?;
        let mut undeleted = Undeleted::default();
        let mut after = Some(repositories::prefix(repository));
        while let Some(from) = after.take() {
            let page: Vec<ContentKey> = {
                let rows = self.storage.catalog().read()?;
                let prefix = repositories::prefix(repository);
                rows.scan_sound(&DELETED_MANIFESTS, &prefix, Some(&from))?
                    .filter(|row| {
                        row.as_ref()
                            .map_or(true, |(_, row)| row.deleted_ms == deleted_ms)
                    })
                    .map(|row| row.map(|(key, _)| key))
                    .take(BATCH_ROWS_MAX)
                    .collect::<Result<_, _>>()?
            };
            after = page.last().map(encoded);
            for key in page {
                match self.undelete_manifest(repository, &key.digest).await {
                    // With an index that lists it, it was back already.
                    Ok(_) | Err(RegistryError::NotDeleted { .. }) => undeleted.back += 1,
                    Err(error @ RegistryError::Storage(_)) => return Err(error),
                    Err(error) => {
                        undeleted.lost += 1;
                        tracing::warn!(%repository, digest = %key.digest, "a deleted manifest does not come back: {error}");
                    }
                }
            }
        }
        Ok(undeleted)
    }

    /// Refuses a return for which the repository's quota has no room. Each manifest is held against
    /// it again when its turn comes.
    fn admit_back(
        &self,
        repository: &RepositoryName,
        deleted_ms: u64,
    ) -> Result<(), RegistryError> {
        let quota = self.options.quotas.of(repository);
        if quota == Quota::default() {
            return Ok(());
        }
        let rows = self.storage.catalog().read()?;
        let (mut bytes, mut tags) = (0_u64, 0);
        for row in rows.scan_sound(&DELETED_MANIFESTS, &repositories::prefix(repository), None)? {
            let (_, tombstone) = row?;
            if tombstone.deleted_ms != deleted_ms {
                continue;
            }
            bytes = bytes.saturating_add(tombstone.manifest.size);
            for tag in &tombstone.tags {
                tags += u64::from(tags::is_free(&rows, &TagKey::new(repository, tag))?);
            }
        }
        quota.admit(&rows, repository, bytes, tags)
    }

    fn check_exists(&self, repository: &RepositoryName) -> Result<(), RegistryError> {
        match repositories::exists(&self.storage.catalog().read()?, repository)? {
            true => Ok(()),
            false => Err(unknown(repository)),
        }
    }

    /// Makes tombstones of all manifests that are there; how many.
    async fn entomb_all(
        &self,
        repository: &RepositoryName,
        deed: &Deed,
    ) -> Result<u64, RegistryError> {
        let mut count = 0;
        let mut after = None;
        while let Some(batch) = self.batch(&MANIFESTS, repository, &mut after)? {
            count += batch.len() as u64;
            let deed = deed.clone();
            self.in_one(move |transaction| {
                for (key, edges) in &batch {
                    tombstones::entomb(transaction, key, edges, &deed)?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(count)
    }

    /// The next manifests of a table that one transaction takes out, with their edges. `None`
    /// behind the last.
    fn batch<V: Value>(
        &self,
        table: &Table<ContentKey, V>,
        repository: &RepositoryName,
        after: &mut Option<Vec<u8>>,
    ) -> Result<Option<Vec<(ContentKey, Edges)>>, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let (mut batch, mut weight) = (Vec::new(), 0);
        let prefix = repositories::prefix(repository);
        for row in rows.inspect(table, &prefix, after.as_deref())? {
            let Some(key) = row?.key else {
                continue;
            };
            let edges = tombstones::edges_of(&rows, &key)?;
            weight += 1 + edges.len();
            *after = Some(encoded(&key));
            batch.push((key, edges));
            if weight >= BATCH_ROWS_MAX {
                break;
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Takes all blobs out that came before `now_ms` and that no manifest points at: the deletion
    /// is meant for them as well.
    async fn unlink_all(
        &self,
        repository: &RepositoryName,
        now_ms: u64,
    ) -> Result<(), RegistryError> {
        loop {
            let page: Vec<ContentKey> = {
                let rows = self.storage.catalog().read()?;
                let links = rows.inspect(&BLOB_LINKS, &repositories::prefix(repository), None)?;
                let keys = links.filter_map(|row| row.map(|row| row.key).transpose());
                let free = keys.filter_map(|key| {
                    key.and_then(|key| Ok(is_free(&rows, &key, now_ms)?.then_some(key)))
                        .transpose()
                });
                free.take(BATCH_ROWS_MAX).collect::<Result<_, _>>()?
            };
            if page.is_empty() {
                return Ok(());
            }
            let bucket = self.options.bucket.clone();
            self.in_one(move |transaction| {
                for key in &page {
                    if is_free(transaction, key, now_ms)? {
                        blobs::unlink(transaction, &bucket, key)?;
                    }
                    repositories::leave(transaction, &key.repository)?;
                }
                Ok(())
            })
            .await?;
        }
    }

    /// Forgets what tags did, unless the repository lives on.
    async fn forget_histories(&self, repository: &RepositoryName) -> Result<(), RegistryError> {
        loop {
            let page: Vec<_> = {
                let rows = self.storage.catalog().read()?;
                if rows.contains(&REPOSITORIES, repository)? {
                    return Ok(());
                }
                let prefix = repositories::prefix(repository);
                rows.inspect(&TAG_HISTORY, &prefix, None)?
                    .filter_map(|row| row.map(|row| row.key).transpose())
                    .take(BATCH_ROWS_MAX)
                    .collect::<Result<_, _>>()?
            };
            if page.is_empty() {
                return Ok(());
            }
            self.in_one(move |transaction| {
                for key in &page {
                    transaction.delete(&TAG_HISTORY, key)?;
                }
                Ok(())
            })
            .await?;
        }
    }

    async fn in_one(
        &self,
        work: impl Fn(&mut Transaction<'_>) -> Result<(), CatalogError> + Send + 'static,
    ) -> Result<(), RegistryError> {
        Ok(self.storage.catalog().transact(work).await?)
    }
}

fn unknown(repository: &RepositoryName) -> RegistryError {
    RegistryError::NameUnknown {
        repository: repository.clone(),
    }
}

fn encoded(key: &ContentKey) -> Vec<u8> {
    let mut out = KeyWriter::new();
    key.encode(&mut out);
    out.into_bytes()
}

/// Whether no manifest points at a blob that was linked at that time or before.
fn is_free(rows: &impl Rows, key: &ContentKey, now_ms: u64) -> Result<bool, CatalogError> {
    let link = rows.get_sound(&BLOB_LINKS, key)?;
    Ok(link.is_none_or(|link| link.linked_ms <= now_ms) && !has_edge(rows, key)?)
}

/// Whether a manifest, live or deleted, points at it.
pub(super) fn has_edge(rows: &impl Rows, key: &ContentKey) -> Result<bool, CatalogError> {
    let first = rows.inspect(&REFERENCES, &encoded(key), None)?.next();
    Ok(first.transpose()?.is_some())
}
