//! Quotas: how much a repository may hold.
//!
//! What is known before an upload begins is looked at then; what is not is counted while it comes.
//! Neither decides: the transaction that would make a blob, manifest or tag visible looks again, at
//! counters that it changes itself, so that no two pushes at once can go over a quota together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;

use super::tables::{BLOB_LINKS, ContentKey};
use super::{RegistryError, usage};
use crate::ghostbay::catalog::Rows;
use crate::ghostbay::engine::ByteStream;
use crate::oci::{Pattern, RepositoryName};

/// A rule on how much repositories may hold, each of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuotaRule {
    /// The repositories.
    pub repositories: Pattern,
    /// Most bytes of blobs and manifests.
    pub bytes: Option<u64>,
    /// Most tags.
    pub tags: Option<u64>,
}

/// All rules; of those that fit a repository the first counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Quotas(pub Vec<QuotaRule>);

impl Quotas {
    /// What the repository may hold.
    pub(super) fn of(&self, repository: &RepositoryName) -> Quota {
        let rule = self
            .0
            .iter()
            .find(|rule| rule.repositories.fits(repository.as_str()));
        Quota {
            bytes: rule.and_then(|rule| rule.bytes),
            tags: rule.and_then(|rule| rule.tags),
        }
    }
}

/// What one repository may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Quota {
    bytes: Option<u64>,
    tags: Option<u64>,
}

impl Quota {
    /// Refuses what would go over the quota. What adds nothing is never refused.
    pub(super) fn admit(
        self,
        rows: &impl Rows,
        repository: &RepositoryName,
        bytes: u64,
        tags: u64,
    ) -> Result<(), RegistryError> {
        if self.bytes.is_none() && self.tags.is_none() {
            return Ok(());
        }
        let used = usage::of(rows, repository)?;
        for (what, used, adding, limit) in [
            ("bytes", used.bytes, bytes, self.bytes),
            ("tags", used.tags, tags, self.tags),
        ] {
            if let Some(limit) = limit
                && adding > 0
                && used.saturating_add(adding) > limit
            {
                return Err(RegistryError::QuotaExceeded {
                    repository: repository.clone(),
                    what,
                    used,
                    adding,
                    limit,
                });
            }
        }
        Ok(())
    }

    /// As [`Quota::admit`] for a blob of `size` bytes, which the repository may hold already.
    pub(super) fn admit_blob(
        self,
        rows: &impl Rows,
        key: &ContentKey,
        size: u64,
    ) -> Result<(), RegistryError> {
        let held = rows.get_sound(&BLOB_LINKS, key)?;
        let adding = size.saturating_sub(held.map_or(0, |held| held.size));
        self.admit(rows, &key.repository, adding, 0)
    }

    /// Counts a body whose length nobody knows, and which adds to `begun` bytes that are there: it
    /// ends in an error where it goes over the quota. The meter tells then.
    pub(super) fn meter<'a>(
        self,
        rows: &impl Rows,
        repository: &RepositoryName,
        begun: u64,
        body: ByteStream<'a>,
    ) -> Result<(ByteStream<'a>, Meter), RegistryError> {
        let Some(limit) = self.bytes else {
            return Ok((body, Meter::idle(repository)));
        };
        let meter = Meter {
            repository: repository.clone(),
            used: usage::of(rows, repository)?.bytes,
            limit,
            seen: Arc::new(AtomicU64::new(begun)),
        };
        let counting = meter.clone();
        let body = body.map(move |piece| {
            let piece = piece?;
            counting
                .seen
                .fetch_add(piece.len() as u64, Ordering::Relaxed);
            counting.check()?;
            Ok(piece)
        });
        Ok((body.boxed(), meter))
    }
}

/// How much of a body has come.
#[derive(Clone)]
pub(super) struct Meter {
    repository: RepositoryName,
    used: u64,
    limit: u64,
    seen: Arc<AtomicU64>,
}

impl Meter {
    /// The meter of a body that needs none.
    pub(super) fn idle(repository: &RepositoryName) -> Self {
        Meter {
            repository: repository.clone(),
            used: 0,
            limit: u64::MAX,
            seen: Arc::default(),
        }
    }

    /// Whether the body has gone over the quota.
    pub(super) fn check(&self) -> Result<(), RegistryError> {
        let adding = self.seen.load(Ordering::Relaxed);
        if self.used.saturating_add(adding) <= self.limit {
            return Ok(());
        }
        Err(RegistryError::QuotaExceeded {
            repository: self.repository.clone(),
            what: "bytes",
            used: self.used,
            adding,
            limit: self.limit,
        })
    }
}
