//! Uploads: GhostBay's sessions, with the repository as their scope and the link as what
//! finishing one commits along with the blob.

use super::quotas::{Meter, Quota};
use super::tables::{BLOB_LINKS, ContentKey};
use super::{Registry, RegistryError, blobs};
use crate::digest::{Algorithm, Digest};
use crate::ghostbay::catalog::{Rows, Transaction};
use crate::ghostbay::now_ms;
use crate::ghostbay::uploads::{self, Append, UploadId, UploadStatus};
use crate::oci::RepositoryName;

/// An upload under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenUpload {
    /// The repository that it goes to.
    pub repository: String,
    /// Who began it; `None` where login is switched off.
    pub by: Option<String>,
    /// Bytes that it held at its last checkpoint.
    pub bytes: u64,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: u64,
    /// When bytes last came.
    pub touched_ms: u64,
}

impl Registry {
    /// The uploads under way that bytes came for last, at most `limit`, the latest first; and how many
    /// there are in all. Reads the row of each; blocks.
    pub fn open_uploads(&self, limit: usize) -> Result<(Vec<OpenUpload>, u64), RegistryError> {
        let (latest, count) = uploads::latest(&self.storage.catalog().read()?, limit)?;
        let open = latest.into_iter().map(|upload| {
            // As `scope` writes it.
            let (repository, by) = match upload.scope.split_once(' ') {
                Some((repository, by)) => (repository.to_owned(), Some(by.to_owned())),
                None => (upload.scope, None),
            };
            OpenUpload {
                repository,
                by,
                bytes: upload.bytes,
                begun_ms: upload.begun_ms,
                touched_ms: upload.touched_ms,
            }
        });
        Ok((open.collect(), count))
    }

    /// Begins an upload. The algorithm is a hint: another one at the end means hashing again. Refused
    /// where the repository's quota has no room for a single byte.
    pub async fn start_upload(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<UploadStatus, RegistryError> {
        let quota = self.options.quotas.of(repository);
        if quota != Quota::default() {
            quota.admit(&self.storage.catalog().read()?, repository, 1, 0)?;
        }
        let uploads = self.storage.uploads();
        Ok(uploads.begin(&self.scope(repository), algorithm).await?)
    }

    /// Whose an upload is: the repository's, and of whoever began it. Those of others do not exist
    /// (CVE-2026-32589). No name of a repository holds a space.
    fn scope(&self, repository: &RepositoryName) -> String {
        match &self.actor {
            None => repository.to_string(),
            Some(actor) => format!("{repository} {actor}"),
        }
    }

    /// How far an upload is.
    pub fn upload_status(
        &self,
        repository: &RepositoryName,
        upload: &UploadId,
    ) -> Result<UploadStatus, RegistryError> {
        Ok(self
            .storage
            .uploads()
            .status(&self.scope(repository), upload)?)
    }

    /// Takes in a chunk. One that does not begin where the upload stands is
    /// [`RegistryError::OutOfOrder`]; what came of one that breaks off is kept. An upload that goes
    /// over the repository's quota is dropped.
    pub async fn append(
        &self,
        repository: &RepositoryName,
        upload: &UploadId,
        chunk: Append<'_>,
    ) -> Result<UploadStatus, RegistryError> {
        let uploads = self.storage.uploads();
        let (chunk, meter) = match self.measure(repository, Some(upload), None, chunk) {
            Ok(measured) => measured,
            Err(error) => return Err(self.drop_refused(repository, upload, error).await),
        };
        let appended = uploads.append(&self.scope(repository), upload, chunk).await;
        match meter.check() {
            Ok(()) => Ok(appended?),
            Err(error) => Err(self.drop_refused(repository, upload, error).await),
        }
    }

    /// Ends an upload, perhaps with its last chunk: the blob and its link appear in one
    /// transaction. A repeat after success succeeds again for an hour. An upload that goes over the
    /// repository's quota is dropped.
    pub async fn finish_upload(
        &self,
        repository: &RepositoryName,
        upload: &UploadId,
        digest: &Digest,
        last: Option<Append<'_>>,
    ) -> Result<(), RegistryError> {
        let uploads = self.storage.uploads();
        let (scope, bucket) = (self.scope(repository), self.options.bucket.as_str());
        let measured = last
            .map(|last| self.measure(repository, Some(upload), Some(digest), last))
            .transpose();
        let (last, meter) = match measured {
            Ok(measured) => measured.unzip(),
            Err(error) => return Err(self.drop_refused(repository, upload, error).await),
        };
        let record = self.record(repository, digest);
        let finished = uploads
            .finish(&scope, upload, digest, bucket, last, record)
            .await;
        match meter.map_or(Ok(()), |meter| meter.check()).and(finished) {
            Err(error) => Err(self.drop_refused(repository, upload, error).await),
            Ok(()) => Ok(()),
        }
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
        let (body, meter) = self.measure(repository, None, Some(digest), body)?;
        let record = self.record(repository, digest);
        let uploads = self.storage.uploads();
        let put = uploads
            .put(digest, &self.options.bucket, body, record)
            .await;
        meter.check().and(put)
    }

    /// Drops an upload.
    pub async fn cancel_upload(
        &self,
        repository: &RepositoryName,
        upload: &UploadId,
    ) -> Result<(), RegistryError> {
        let uploads = self.storage.uploads();
        Ok(uploads.cancel(&self.scope(repository), upload).await?)
    }

    /// Holds a body against the repository's quota: as a whole if its length is known, and else while
    /// it comes. A blob that the repository holds already may be as long as it is.
    fn measure<'a>(
        &self,
        repository: &RepositoryName,
        upload: Option<&UploadId>,
        digest: Option<&Digest>,
        body: Append<'a>,
    ) -> Result<(Append<'a>, Meter), RegistryError> {
        let quota = self.options.quotas.of(repository);
        if quota == Quota::default() {
            return Ok((body, Meter::idle(repository)));
        }
        let rows = self.storage.catalog().read()?;
        if let Some(digest) = digest
            && rows.contains(&BLOB_LINKS, &ContentKey::new(repository, digest))?
        {
            return Ok((body, Meter::idle(repository)));
        }
        // An upload that is unknown is answered for by whoever takes the body in.
        let status = upload.and_then(|upload| self.upload_status(repository, upload).ok());
        let begun = status.map_or(0, |status| status.offset);
        match body.length {
            Some(length) => {
                let whole = begun.saturating_add(length);
                quota.admit(&rows, repository, whole, 0)?;
                Ok((body, Meter::idle(repository)))
            }
            None => {
                let (stream, meter) = quota.meter(&rows, repository, begun, body.body)?;
                let body = Append {
                    body: stream,
                    ..body
                };
                Ok((body, meter))
            }
        }
    }

    /// Drops an upload that the quota refuses, so that it holds no room. Gives the refusal back.
    async fn drop_refused(
        &self,
        repository: &RepositoryName,
        upload: &UploadId,
        error: RegistryError,
    ) -> RegistryError {
        if matches!(error, RegistryError::QuotaExceeded { .. })
            && let Err(error) = self.cancel_upload(repository, upload).await
        {
            tracing::warn!(%upload, "an upload beyond its quota could not be dropped: {error}");
        }
        error
    }

    /// What the transaction that makes a blob visible does for the repository.
    fn record(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> impl Fn(&mut Transaction<'_>, u64) -> Result<(), RegistryError> + Send + 'static {
        let key = ContentKey::new(repository, digest);
        let quota = self.options.quotas.of(repository);
        let now = now_ms();
        move |transaction, size| {
            quota.admit_blob(transaction, &key, size)?;
            Ok(blobs::link(
                transaction,
                &key.repository,
                &key.digest,
                size,
                now,
            )?)
        }
    }
}
