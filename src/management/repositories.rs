//! Repositories, and what each holds.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::http::error::ApiError;
use crate::oci::RepositoryName;
use crate::registry::Page;
use crate::registry::browse::RepositorySummary;

/// Repositories on a page.
pub const PAGE_REPOSITORIES: usize = 100;

/// Some repositories.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Repositories {
    /// In the order of their names' bytes.
    pub repositories: Vec<Repository>,
    /// Where the next ones are to be had: `after` of the next request. Absent behind the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A repository.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Repository {
    /// Its name.
    #[schema(example = "team/app")]
    pub name: String,
    /// When its first content came, in milliseconds since 1970.
    pub created_ms: u64,
    /// Bytes of its blobs and manifests. A blob that several repositories hold counts in each.
    pub bytes: u64,
    /// Blobs.
    pub blobs: u64,
    /// Manifests.
    pub manifests: u64,
    /// Tags.
    pub tags: u64,
}

impl From<RepositorySummary> for Repository {
    fn from(summary: RepositorySummary) -> Self {
        Repository {
            name: summary.name.to_string(),
            created_ms: summary.created_ms,
            bytes: summary.usage.bytes,
            blobs: summary.usage.blobs,
            manifests: summary.usage.manifests,
            tags: summary.usage.tags,
        }
    }
}

impl Management {
    /// The repositories behind `after` whose names hold `search` and that the caller may see; `limit` of
    /// them, which is held to 1 to 1,000.
    pub fn repositories(
        &self,
        caller: &Caller,
        search: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Repositories, ApiError> {
        self.check_listing(caller)?;
        let page = Page {
            limit: limit.clamp(1, 1_000),
            last: after.map(str::to_owned),
        };
        let may_see = |name: &RepositoryName| caller.may_see(name);
        let (summaries, more) = self
            .api
            .registry
            .repository_summaries(page, search, may_see)?;
        let next = summaries
            .last()
            .filter(|_| more)
            .map(|it| it.name.to_string());
        Ok(Repositories {
            repositories: summaries.into_iter().map(Repository::from).collect(),
            next,
        })
    }

    /// Refuses whoever the catalogue is nothing to.
    pub(super) fn check_listing(&self, caller: &Caller) -> Result<(), ApiError> {
        let decision = caller.identity.decide_listing();
        match decision.allowed {
            true => Ok(()),
            false if caller.identity.is_anonymous() => {
                Err(crate::auth::AuthError::Unauthenticated.into())
            }
            false => Err(ApiError::denied(
                &caller.identity,
                "list repositories",
                &decision.reason,
            )),
        }
    }
}
