//! The rules of an OCI registry, on GhostBay's catalog and objects.
//!
//! * [`tables`]: what is kept
//! * `blobs`, `uploads`: blobs in repositories, and how they come there
//! * `manifests`, [`push`]: manifests, and the one transaction that a push is
//! * `tags`, `referrers`, `repositories`: what can be listed; [`browse`]: what people look through;
//!   [`annotations`]: finding manifests by what they say of themselves
//! * [`usage`]: what each repository holds; [`quotas`], [`immutable`]: what it may
//! * [`history`]: where tags pointed, and going back there; `tombstones`: deleted manifests, their
//!   return and their end; `deletion`: whole repositories
//! * [`gc`]: taking what nothing refers to; [`leases`]: what clients rely on meanwhile; [`why`]:
//!   what keeps something
//! * [`retention`]: what is kept of what nobody deletes; [`pulls`]: when and how often it was asked for;
//!   [`recent`]: what was pushed lately; [`growth`]: what the store took up when
//! * [`sizes`]: how large images are; [`du`]: what takes up room, and what deleting it frees; [`selection`]: deleting several tags at once
//! * [`check`]: what is damaged, and whom it hits; [`scrub`]: looking for it while serving
//! * [`mod@figures`]: what is counted of the work beside the requests
//! * [`error`]: what is refused
//!
//! Every change is one transaction that validates before it writes. A blob's bytes belong to
//! the store and are there once; a repository holds a link to them, and that link is both its
//! right to serve them and the reason that they are kept.

pub mod annotations;
mod blobs;
pub mod browse;
pub mod check;
mod deletion;
pub mod du;
pub mod error;
pub mod figures;
pub mod gc;
pub mod growth;
pub mod history;
pub mod immutable;
pub mod leases;
mod manifests;
pub mod pulls;
pub mod push;
pub mod quotas;
pub mod recent;
mod referrers;
mod repositories;
pub mod retention;
pub mod scrub;
pub mod selection;
pub mod sizes;
pub mod tables;
mod tags;
mod tombstones;
pub mod undone;
mod unreferenced;
pub mod uploads;
pub mod usage;
pub mod view;
pub mod why;

use std::sync::Arc;

use crate::ghostbay::{LocalStorageEngine, now_ms};

pub use blobs::Blob;
pub use deletion::Undeleted;
pub use error::RegistryError;
pub use figures::Figures;
pub use gc::GcOptions;
pub use immutable::{ImmutableRule, ImmutableTags};
pub use manifests::StoredManifest;
pub use push::{PutManifest, PutManifestOutcome, TagMove};
pub use quotas::{QuotaRule, Quotas};
pub use referrers::Referrers;
pub use retention::{Retention, RetentionRule};

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    storage: Arc<LocalStorageEngine>,
    options: Arc<RegistryOptions>,
    actor: Option<Arc<str>>,
    gc: Arc<gc::Shared>,
    figures: Arc<Figures>,
    pulls: pulls::Pulls,
    recent: recent::Recent,
}

/// When something is done, and by whom.
#[derive(Clone, Debug)]
struct Deed {
    /// In milliseconds since 1970.
    at_ms: u64,
    by: Option<String>,
}

/// How a registry behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistryOptions {
    /// The bucket that holds the blobs.
    pub bucket: String,
    /// What a manifest may refer to that is not there.
    pub missing_references: MissingReferences,
    /// Whether tags, manifests and blobs can be deleted.
    pub delete: bool,
    /// How much each repository may hold.
    pub quotas: Quotas,
    /// Which tags stay where they are.
    pub immutable: ImmutableTags,
    /// When what was deleted or is not referred to goes.
    pub gc: GcOptions,
    /// What is kept of what nobody deletes.
    pub retention: Retention,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        RegistryOptions {
            bucket: "drift-registry".to_owned(),
            missing_references: MissingReferences::default(),
            delete: true,
            quotas: Quotas::default(),
            immutable: ImmutableTags::default(),
            gc: GcOptions::default(),
            retention: Retention::default(),
        }
    }
}

/// What a manifest may refer to that its repository does not hold. Foreign layers and subjects
/// may always be missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissingReferences {
    /// Nothing.
    #[default]
    Refuse,
    /// Entries of an index.
    AllowChildren,
    /// Anything.
    Allow,
}

/// Which part of a list is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Most names in the answer; with 0 the answer is empty and final (distribution-spec,
    /// "Listing Tags").
    pub limit: usize,
    /// Names up to and with this one are left out; it need not exist, nor be a name.
    pub last: Option<String>,
}

/// A part of a list, in the order of the names' bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// The names.
    pub names: Vec<String>,
    /// Whether the list goes on behind them.
    pub more: bool,
}

impl Listing {
    /// The first `limit` of `names`. One more is read, to know whether there is more.
    fn collect<E>(limit: usize, names: impl Iterator<Item = Result<String, E>>) -> Result<Self, E> {
        let mut listing = Listing::default();
        if limit == 0 {
            return Ok(listing);
        }
        for name in names {
            if listing.names.len() == limit {
                listing.more = true;
                break;
            }
            listing.names.push(name?);
        }
        Ok(listing)
    }
}

impl Registry {
    /// A registry on a store.
    pub fn new(storage: Arc<LocalStorageEngine>, options: RegistryOptions) -> Self {
        Registry {
            storage,
            options: Arc::new(options),
            actor: None,
            gc: Arc::new(gc::Shared::new()),
            figures: Arc::default(),
            pulls: pulls::Pulls::default(),
            recent: recent::Recent::default(),
        }
    }

    /// The same registry, whose histories name `actor` for what is done through it, and where it
    /// goes on with its own uploads alone.
    pub fn acting_as(&self, actor: &str) -> Self {
        Registry {
            actor: Some(actor.into()),
            ..self.clone()
        }
    }

    /// The same registry, with deletes whether they are switched off or not.
    pub fn with_deletes(&self) -> Self {
        let options = RegistryOptions {
            delete: true,
            ..(*self.options).clone()
        };
        Registry {
            options: Arc::new(options),
            ..self.clone()
        }
    }

    /// The store that it lies in.
    pub fn store(&self) -> &Arc<LocalStorageEngine> {
        &self.storage
    }

    /// What is counted of the work beside the requests.
    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// What is done now.
    fn deed(&self) -> Deed {
        Deed {
            at_ms: now_ms(),
            by: self.actor.as_deref().map(str::to_owned),
        }
    }

    /// Refuses a delete where deletes are switched off (CVE-2026-41888: for all three kinds).
    fn check_delete(&self) -> Result<(), RegistryError> {
        match self.options.delete {
            true => Ok(()),
            false => Err(RegistryError::DeletesDisabled),
        }
    }
}

#[cfg(test)]
mod tests;
