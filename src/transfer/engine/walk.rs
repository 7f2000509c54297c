//! One manifest with all that it is made of.

use std::sync::atomic::Ordering;

use futures::StreamExt;
use futures::future::BoxFuture;

use super::{Engine, Run, locked};
use crate::oci::manifest::Role;
use crate::oci::{Descriptor, Manifest, ManifestError, ManifestType, Reference};
use crate::transfer::content::insist;
use crate::transfer::end::{Found, Place};
use crate::transfer::error::TransferError;

/// Indexes within indexes go so deep and no deeper.
const DEPTH_MAX: usize = 16;

impl Engine {
    /// Brings a manifest over behind its parts, unless it was brought in this run, and notes what refers
    /// to it.
    pub(super) fn with_parts<'a>(
        &'a self,
        run: &'a Run,
        found: &'a Found,
        place: Place<'a>,
        depth: usize,
    ) -> BoxFuture<'a, Result<(), TransferError>> {
        Box::pin(async move {
            let cell = locked(&run.manifests)
                .entry(found.digest)
                .or_default()
                .clone();
            let brought = cell.get_or_init(|| self.bring_parts(run, found, depth));
            brought.await.clone()?;
            // What is wanted for itself is said to the sink also where it was a part before.
            if place == Place::Root && depth == 0 && !self.options.dry_run {
                let put = || self.sink.put_manifest(&run.job.to, found, Place::Root);
                insist(self.options.attempts, put).await?;
            }
            Ok(())
        })
    }

    async fn bring_parts(
        &self,
        run: &Run,
        found: &Found,
        depth: usize,
    ) -> Result<(), TransferError> {
        let unusable = |reason: String| {
            let digest = &found.digest;
            TransferError::Unusable(format!("manifest {digest} cannot be taken: {reason}"))
        };
        if depth > DEPTH_MAX {
            let reason = format!("it lies more than {DEPTH_MAX} indexes deep");
            return Err(unusable(reason));
        }
        let manifest = Manifest::parse(&found.bytes, Some(&found.media_type))
            .map_err(|error: ManifestError| unusable(error.to_string()))?;
        let mut errors = self.bring_blobs(run, &manifest).await;
        for (_, child) in manifest.parts().filter(is_manifest) {
            if let Err(error) = self.bring_child(run, child, depth).await {
                errors.push(error);
            }
        }
        TransferError::all(errors)?;
        let (to, attempts) = (&run.job.to, self.options.attempts);
        let holds = || self.sink.holds_manifest(to, &found.digest);
        if insist(attempts, holds).await? {
            self.counts
                .manifests_present
                .fetch_add(1, Ordering::Relaxed);
        } else {
            if !self.options.dry_run {
                let put = || self.sink.put_manifest(to, found, Place::Part);
                insist(attempts, put).await?;
            }
            self.counts.manifests_copied.fetch_add(1, Ordering::Relaxed);
        }
        if self.options.referrers {
            let ask = || self.source.referrers(&run.job.from, &found.digest);
            let referrers = insist(attempts, ask).await?;
            locked(&run.referrers).extend(referrers);
        }
        Ok(())
    }

    async fn bring_child(
        &self,
        run: &Run,
        child: &Descriptor,
        depth: usize,
    ) -> Result<(), TransferError> {
        let reference = Reference::Digest(child.digest());
        let mut found = self.find(run, &reference).await?;
        // The index knows it better than whoever keeps it.
        found.media_type = child.media_type().to_owned();
        self.with_parts(run, &found, Place::Part, depth + 1).await
    }

    /// Brings the blobs of a manifest; what went wrong with them.
    async fn bring_blobs(&self, run: &Run, manifest: &Manifest) -> Vec<TransferError> {
        let wanted: Vec<_> = manifest
            .parts()
            .filter(|part| !is_manifest(part) && !part.1.is_foreign())
            .map(|(_, part)| (part.digest(), part.size()))
            .collect();
        futures::stream::iter(wanted)
            .map(|(digest, size)| self.blob(run, digest, size))
            .buffer_unordered(self.options.jobs.max(1))
            .filter_map(async |brought| brought.err())
            .collect()
            .await
    }
}

/// Whether a part is a manifest: an entry of an index may be a blob as well, and its type says so.
/// Schema 1 is a manifest that is then refused by its name.
fn is_manifest((role, part): &(Role, &Descriptor)) -> bool {
    let media_type = part.media_type();
    *role == Role::Child
        && (media_type.parse::<ManifestType>().is_ok() || media_type.contains("manifest.v1+"))
}
