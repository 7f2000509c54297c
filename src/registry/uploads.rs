//! Uploads: GhostBay's sessions, with the repository as their scope and the link as what
//! finishing one commits along with the blob.

use super::{Registry, RegistryError, blobs};
use crate::digest::{Algorithm, Digest};
use crate::ghostbay::catalog::Transaction;
use crate::ghostbay::now_ms;
use crate::ghostbay::uploads::{Append, UploadId, UploadStatus};
use crate::oci::RepositoryName;

impl Registry {
    /// Begins an upload. The algorithm is a hint: another one at the end means hashing again.
    pub async fn start_upload(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<UploadStatus, RegistryError> {
        let uploads = self.storage.uploads();
        Ok(uploads.begin(repository.as_str(), algorithm).await?)
    }

    /// How far an upload is. Those of other repositories do not exist here (CVE-2026-32589).
    pub fn upload_status(
        &self,
        repository: &RepositoryName,
        upload: &UploadId,
    ) -> Result<UploadStatus, RegistryError> {
        Ok(self.storage.uploads().status(repository.as_str(), upload)?)
    }

    /// Takes in a chunk. One that does not begin where the upload stands is
    /// [`RegistryError::OutOfOrder`]; what came of one that breaks off is kept.
    pub async fn append(
        &self,
        repository: &RepositoryName,
        upload: &UploadId,
        chunk: Append<'_>,
    ) -> Result<UploadStatus, RegistryError> {
        let uploads = self.storage.uploads();
        Ok(uploads.append(repository.as_str(), upload, chunk).await?)
    }

    /// Ends an upload, perhaps with its last chunk: the blob and its link appear in one
    /// transaction. A repeat after success succeeds again for an hour.
    pub async fn finish_upload(
        &self,
        repository: &RepositoryName,
        upload: &UploadId,
        digest: &Digest,
        last: Option<Append<'_>>,
    ) -> Result<(), RegistryError> {
        let uploads = self.storage.uploads();
        let (scope, bucket) = (repository.as_str(), self.options.bucket.as_str());
        let record = record(repository, digest);
        uploads
            .finish(scope, upload, digest, bucket, last, record)
            .await
    }

    /// Takes in a whole blob in one request.
    pub async fn push_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        body: Append<'_>,
    ) -> Result<(), RegistryError> {
        if let Some(start) = body.start.filter(|&start| start != 0) {
            return Err(RegistryError::OutOfOrder { offset: 0, start });
        }
        let record = record(repository, digest);
        let uploads = self.storage.uploads();
        uploads
            .put(digest, &self.options.bucket, body, record)
            .await
    }

    /// Drops an upload.
    pub async fn cancel_upload(
        &self,
        repository: &RepositoryName,
        upload: &UploadId,
    ) -> Result<(), RegistryError> {
        let uploads = self.storage.uploads();
        Ok(uploads.cancel(repository.as_str(), upload).await?)
    }
}

/// What the transaction that makes a blob visible does for the repository.
fn record(
    repository: &RepositoryName,
    digest: &Digest,
) -> impl Fn(&mut Transaction<'_>, u64) -> Result<(), RegistryError> + Send + 'static {
    let (repository, digest) = (repository.clone(), *digest);
    let now = now_ms();
    move |transaction, size| Ok(blobs::link(transaction, &repository, &digest, size, now)?)
}
