//! What people and their tools ask of a registry beyond pushing and pulling, by accounts and rights that
//! are those of the registry API.
//!
//! * `caller`: who asks, and what they may; `sessions`: logins of the page
//! * [`repositories`], [`tags`], [`manifests`], [`files`], [`comparison`], [`search`], [`overview`], [`growth`],
//!   [`history`], `health`: what is answered, as types that the page shows and [`routes`] gives as JSON
//! * [`access`]: accounts, policy; [`tokens`]: tokens and keys; [`operations`]: what runs beside the requests
//! * [`changes`]: what can be done; `audit`: what is written down of it
//! * [`routes`]: `/api/v1`, and the OpenAPI document that describes it
//!
//! The page and the API call the same functions, so that neither shows what the other refuses. The commands go by
//! the API.

pub mod access;
mod audit;
pub mod caller;
pub mod changes;
pub mod comparison;
pub mod files;
pub mod growth;
mod health;
pub mod history;
pub mod manifests;
pub mod operations;
pub mod overview;
pub mod repositories;
pub mod routes;
pub mod search;
pub mod sessions;
pub mod tags;
pub mod tokens;

use std::sync::Arc;

use crate::auth::Authority;
use crate::ghostbay::LocalStorageEngine;
use crate::http::Api;

pub use caller::Caller;
pub use routes::router;
pub use sessions::Sessions;

impl Management {
    /// A management of what the registry API serves.
    pub fn new(api: Api, storage: Arc<LocalStorageEngine>, authority: Arc<Authority>) -> Self {
        Management {
            explorer: Arc::new(files::Explorer::new(api.metrics.clone())),
            api,
            storage,
            authority,
            sessions: Arc::default(),
            tag_lists: Arc::default(),
            store_seen: Arc::default(),
            top_seen: Arc::default(),
            sizes: Arc::default(),
        }
    }
}

/// What is worked on. Cheap to clone.
#[derive(Clone)]
pub struct Management {
    /// What the registry API works on: the rules, who may do what, and what is counted and written down.
    pub api: Api,
    /// The store below it.
    pub storage: Arc<LocalStorageEngine>,
    /// The accounts and the policy of the store.
    pub authority: Arc<Authority>,
    /// Who has logged in to the page.
    pub sessions: Arc<Sessions>,
    /// The lists of tags that somebody looks at.
    pub tag_lists: Arc<tags::TagLists>,
    /// What the store held a moment ago.
    pub store_seen: Arc<overview::StoreSeen>,
    /// What was pulled from most, as it was a moment ago.
    pub top_seen: Arc<overview::TopSeen>,
    /// How large manifests with all that they are made of are.
    pub sizes: Arc<tags::Sizes>,
    /// Looks into layers.
    pub explorer: Arc<files::Explorer>,
}
