//! What there is at a glance.

use std::sync::{Mutex, PoisonError};
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
    /// The latest pushes of tags that the caller may see, newest first, as far as the audit log tells;
    /// without such a log those since the start.
    pub recent: Vec<Recent>,
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
        let sees_store = caller.is_admin() || identity.decide_metrics().allowed;
        let (management, asking) = (self.clone(), caller.clone());
        let read = move || {
            let store = sees_store.then(|| management.store()).transpose()?;
            Ok::<_, ApiError>((store, management.recent(&asking)?))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (store, recent) = read.map_err(ApiError::internal)??;
        Ok(Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            who: identity.actor(),
            admin: caller.is_admin(),
            read_only: self.api.read_only,
            store,
            recent,
        })
    }

    /// What the store holds, as it was within the last seconds: every pack's file and every
    /// repository's counters are looked at for it.
    fn store(&self) -> Result<Store, ApiError> {
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

    fn look_at_store(&self) -> Result<Store, ApiError> {
        let status = self.storage.status().map_err(ApiError::internal)?;
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
