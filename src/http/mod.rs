//! The registry over HTTP.
//!
//! * [`router`] says what each path names, `dispatch` who answers it, `v2` how
//! * `token` makes tokens of logins; `challenge` and `origin` say where to ask for them
//! * `limits` counts the requests of a client
//! * `audit` gathers what the audit log is told of a request
//! * [`metrics`] counts what happens; `/metrics` shows it
//! * `middleware` gives each request its id and its line in the log; `trace` its span
//! * [`error`] is the only place where an error gets a status
//! * [`exchange`] is the API from the side of who asks
//! * [`outbound`] asks hosts elsewhere
//! * [`admin`] is what an operator's commands ask, by a socket in the data directory
//! * [`transport`] is the listener and what a client may do to it

pub mod admin;
mod audit;
pub mod body;
mod challenge;
mod dispatch;
pub mod error;
pub mod exchange;
mod health;
mod limits;
pub mod metrics;
mod middleware;
mod origin;
pub mod outbound;
pub mod query;
pub mod router;
mod token;
mod trace;
pub mod transport;
mod v2;

use std::sync::Arc;

use futures::future::BoxFuture;
use ipnet::IpNet;

use crate::audit::AuditLog;
use crate::auth::AuthService;
use crate::registry::Registry;

pub use dispatch::{embeddable, operated, standalone};
pub use limits::{Limits, RequestLimits};
pub use metrics::Metrics;
pub use middleware::{RequestId, Surface, observed};
pub use origin::OriginOptions;

/// Asks the store whether it can serve.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// What the handlers work on. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The rules.
    pub registry: Registry,
    /// Who may do what.
    pub auth: Arc<AuthService>,
    /// Whether the store can serve.
    pub ready: Readiness,
    /// By which name clients reach it.
    pub origin: Arc<OriginOptions>,
    /// How many requests a client may send.
    pub limits: Arc<Limits>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who may read the figures without a login.
    pub metrics_from: Arc<[IpNet]>,
    /// Where it is written down who did what; `None`: nowhere.
    pub audit: Option<AuditLog>,
    /// Whether writes are refused.
    pub read_only: bool,
}
