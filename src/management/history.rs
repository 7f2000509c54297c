//! Where tags pointed, and why something is kept.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::auth::Action;
use crate::http::error::ApiError;
use crate::oci::{Reference, RepositoryName, Tag};
use crate::registry::history::{Presence, TagMoment};
use crate::registry::tables::TagChange;
use crate::registry::why;

/// A change of a tag.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Moment {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    #[schema(value_type = String, example = "pushed")]
    pub change: TagChange,
    /// The manifest that it points at from then on, or pointed at until then.
    pub digest: String,
    /// By whom, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What has become of the manifest: `live`, `deleted` (it can come back) or `purged`.
    #[schema(value_type = String, example = "live")]
    pub manifest: Presence,
}

impl From<TagMoment> for Moment {
    fn from(moment: TagMoment) -> Self {
        Moment {
            at_ms: moment.at_ms,
            change: moment.change,
            digest: moment.digest.to_string(),
            by: moment.by,
            manifest: moment.manifest,
        }
    }
}

/// Why something is kept, or when it goes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// What was asked about.
    pub digest: String,
    /// As what the repository has it: `manifest`, `deleted-manifest` or `blob`.
    #[schema(value_type = String, example = "manifest")]
    pub kind: why::Kind,
    /// What keeps it; of each kind, the first 100.
    pub keepers: Vec<Keeper>,
    /// When it goes if nothing changes, in milliseconds since 1970; absent if it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goes_ms: Option<u64>,
}

/// What keeps something.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Keeper {
    /// A tag points at it.
    Tag {
        /// The tag.
        tag: String,
    },
    /// A manifest is made of it, or an index lists it.
    Manifest {
        /// The manifest.
        digest: String,
    },
    /// A manifest that was deleted is made of it.
    DeletedManifest {
        /// The manifest.
        digest: String,
        /// When that is purged, in milliseconds since 1970.
        purged_ms: u64,
    },
    /// It is a manifest, and nobody deleted it.
    Itself,
    /// A client was told that it is there.
    Lease,
}

impl From<why::Keeper> for Keeper {
    fn from(keeper: why::Keeper) -> Self {
        match keeper {
            why::Keeper::Tag(tag) => Keeper::Tag {
                tag: tag.to_string(),
            },
            why::Keeper::Manifest(digest) => Keeper::Manifest {
                digest: digest.to_string(),
            },
            why::Keeper::DeletedManifest(digest, purged_ms) => Keeper::DeletedManifest {
                digest: digest.to_string(),
                purged_ms,
            },
            why::Keeper::Itself => Keeper::Itself,
            why::Keeper::Lease => Keeper::Lease,
        }
    }
}

impl Management {
    /// The changes of a tag, newest first.
    pub fn history(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Vec<Moment>, ApiError> {
        caller.require(Action::Pull, repository)?;
        let history = self.api.registry.tag_history(repository, tag)?;
        Ok(history.into_iter().map(Moment::from).collect())
    }

    /// Why a manifest or a blob is kept, or when it goes. For those who administer the repository: what
    /// clients of other repositories were told keeps a blob as well.
    pub fn why(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Why, ApiError> {
        caller.require(Action::Admin, repository)?;
        let why = self.api.registry.why(repository, reference)?;
        Ok(Why {
            digest: why.digest.to_string(),
            kind: why.kind,
            keepers: why.keepers.into_iter().map(Keeper::from).collect(),
            goes_ms: why.goes_ms,
        })
    }
}
