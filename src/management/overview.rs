//! What there is at a glance.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::audit::{Event, Query};
use crate::auth::Action;
use crate::http::error::ApiError;
use crate::oci::RepositoryName;
use crate::registry::recent::RecentPush;

/// Pushes that are shown.
const RECENT_MAX: usize = 10;

/// Events that are looked through for them.
const EVENTS_MAX: u64 = 500;

/// How old the store's figures may be.
const STORE_FRESH: Duration = Duration::from_secs(5);

/// Repositories that are shown of those that were pulled from most.
const TOP_MAX: usize = 10;

/// Repositories that are looked through for them, of which the caller may not see all.
const TOP_LOOKED_MAX: usize = 1_000;

/// How old the counts of pulls may be. They are written down once a minute.
const TOP_FRESH: Duration = Duration::from_secs(30);

/// What was pulled from most, and when that was looked at.
pub type TopSeen = Mutex<Option<(Instant, Arc<[(RepositoryName, u64)]>)>>;

/// The store's figures, and when they were looked at.
pub type StoreSeen = Mutex<Option<(Instant, Store)>>;

/// What there is at a glance.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Overview {
    /// The program's version.
    pub version: String,
    /// Who asks: `user:alice`; absent where login is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Whether they administer the server.
    pub admin: bool,
    /// Whether the registry takes no writes at present.
    pub read_only: bool,
    /// What the store holds; for those alone who administer the server or may read its figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// What is wrong with the store, if anything is; for those alone who may read its figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<String>>,
    /// The latest pushes of tags that the caller may see, newest first, as far as the audit log tells;
    /// without such a log those since the start.
    pub recent: Vec<Recent>,
    /// The repositories that were pulled from most in the last 30 days, of those that the caller may see:
    /// ten, of the first thousand.
    pub top: Vec<Pulled>,
}

/// How often a repository was pulled from.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Pulled {
    /// The repository.
    pub repository: String,
    /// Manifests that were answered, in the last 30 days; the last minute may be missing.
    pub pulls: u64,
}

/// What the store holds, in bytes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Store {
    /// Packs.
    pub packs: u64,
    /// What their files take on the disk.
    pub allocated: u64,
    /// What of it is alive.
    pub live: u64,
    /// What was freed and waits until no backup needs it.
    pub freed: u64,
    /// What the repositories hold together, if each had its own copy of everything.
    pub logical: u64,
    /// What is left on the disk for this user; absent where the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free: Option<u64>,
    /// How large the disk is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_total: Option<u64>,
}

/// A push of a tag.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Recent {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// By whom; absent where login is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
}

impl From<RecentPush> for Recent {
    fn from(push: RecentPush) -> Self {
        Recent {
            at_ms: push.at_ms,
            repository: push.repository.to_string(),
            tag: push.tag.to_string(),
            who: push.by,
        }
    }
}

impl Management {
    /// What there is at a glance, of what the caller may see.
    pub async fn overview(&self, caller: &Caller) -> Result<Overview, ApiError> {
        self.check_listing(caller)?;
        let identity = &caller.identity;
        if let Some(log) = &self.api.audit {
            // Whoever has just pushed wants to see it.
            log.flush().await;
        }
        let sees_store = self.require_figures(caller).is_ok();
        let (management, asking) = (self.clone(), caller.clone());
        let read = move || {
            let store = sees_store.then(|| management.store()).transpose()?;
            let top = management.top(&asking)?;
            Ok::<_, ApiError>((store, management.recent(&asking)?, top))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (store, recent, top) = read.map_err(ApiError::internal)??;
        let problems = match sees_store {
            true => Some(self.problems().await),
            false => None,
        };
        Ok(Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            who: identity.actor(),
            admin: caller.is_admin(),
            read_only: self.api.read_only,
            store,
            problems,
            recent,
            top,
        })
    }

    /// What the store holds, as it was within the last seconds: every pack's file and every
    /// repository's counters are looked at for it.
    pub(super) fn store(&self) -> Result<Store, ApiError> {
        let mut seen = self
            .store_seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((at, store)) = &*seen
            && at.elapsed() < STORE_FRESH
        {
            return Ok(store.clone());
        }
        let store = self.look_at_store()?;
        *seen = Some((Instant::now(), store.clone()));
        Ok(store)
    }

    /// Refuses whoever may not read the store's figures.
    pub(super) fn require_figures(&self, caller: &Caller) -> Result<(), ApiError> {
        if caller.is_admin() {
            return Ok(());
        }
        let decision = caller.identity.decide_metrics();
        caller
            .permit(decision, "read the store's figures")
            .map(drop)
    }

    /// The repositories that were pulled from most, of those that the caller may see.
    fn top(&self, caller: &Caller) -> Result<Vec<Pulled>, ApiError> {
        let mut seen = self.top_seen.lock().unwrap_or_else(PoisonError::into_inner);
        let top = match &*seen {
            Some((at, top)) if at.elapsed() < TOP_FRESH => top.clone(),
            _ => {
                let top: Arc<[_]> = self.api.registry.top_pulls(TOP_LOOKED_MAX)?.into();
                *seen = Some((Instant::now(), top.clone()));
                top
            }
        };
        drop(seen);
        let visible = top.iter().filter(|(name, _)| caller.may_see(name));
        let pulled = visible.take(TOP_MAX).map(|(name, pulls)| Pulled {
            repository: name.to_string(),
            pulls: *pulls,
        });
        Ok(pulled.collect())
    }

    fn look_at_store(&self) -> Result<Store, ApiError> {
        let status = self.storage.recent_status().map_err(ApiError::internal)?;
        Ok(Store {
            packs: status.space.packs,
            allocated: status.space.allocated,
            live: status.space.live,
            freed: status.space.freed,
            logical: self.api.registry.logical_bytes()?,
            disk_free: status.disk.map(|disk| disk.free),
            disk_total: status.disk.map(|disk| disk.total),
        })
    }

    fn recent(&self, caller: &Caller) -> Result<Vec<Recent>, ApiError> {
        let Some(log) = &self.api.audit else {
            let pushes = self.api.registry.recent_pushes().into_iter();
            let pushes = pushes.filter(|push| caller.may_see(&push.repository));
            let recent = pushes.take(RECENT_MAX).map(Recent::from);
            return Ok(recent.collect());
        };
        let query = Query {
            newest: EVENTS_MAX,
            ..Query::default()
        };
        let mut recent = Vec::new();
        let mut tell = |event: Event| {
            recent.extend(pushed(event).filter(|(name, _)| caller.may_see(name)));
            true
        };
        log.read(&query, &mut tell).map_err(ApiError::internal)?;
        let newest = recent.into_iter().rev().take(RECENT_MAX);
        Ok(newest.map(|(_, recent)| recent).collect())
    }
}

/// The push of a tag that an event tells of.
fn pushed(event: Event) -> Option<(RepositoryName, Recent)> {
    let is_push =
        event.action == Action::PushNew.as_str() || event.action == Action::Overwrite.as_str();
    let is_done = event.status.is_none_or(|status| status < 300);
    let repository = event.repository?;
    let name = repository.parse().ok().filter(|_| is_push && is_done)?;
    let recent = Recent {
        at_ms: event.at_ms,
        repository,
        tag: event.reference?,
        who: Some(event.who),
    };
    Some((name, recent))
}
