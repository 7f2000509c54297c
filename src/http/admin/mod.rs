//! What an operator's commands ask of the running server, by a socket in the data directory.
//!
//! * `socket`: the listener, and who may connect
//! * `answers`: long answers, made on a thread of their own in bounded memory
//! * `verify`: checking the store; `compact`: rewriting packs; `registry`: whatever the registry can be
//!   asked; `retention`, `du`: what is asked of it in many lines; `auth`: accounts and policy; `audit`:
//!   who did what, and what that log is told of commands
//! * [`client`]: the other end, for the commands; [`exchange`]: the same for the registry's own API,
//!   which the operator is served as well
//!
//! The routes are ours alone: a command speaks to a server of its own version, and says so
//! where it does not.

mod answers;
mod audit;
mod auth;
pub mod client;
mod compact;
mod du;
pub mod exchange;
mod registry;
mod retention;
mod socket;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Serialize;

use crate::audit::AuditLog;
use crate::auth::Authority;
use crate::ghostbay::LocalStorageEngine;
use crate::registry::Registry;
use crate::registry::check::VerifyOptions;

use super::dispatch::operated;
use super::error::ApiError;
use super::{Api, Surface, observed};

pub use self::audit::{AUDIT_ROUTE, Deed, Operator};
pub use self::auth::AUTH_ROUTE;
pub use answers::{Pieces, answer_in_lines, answer_in_pieces};
pub use compact::{COMPACT_ROUTE, PAUSE_ROUTE, PAUSED, RESUME_ROUTE};
pub use registry::REGISTRY_ROUTE;
pub use socket::{AdminSocket, SocketError};

/// What the routes work on. Cheap to clone.
#[derive(Clone)]
pub struct AdminApi {
    /// The store.
    pub storage: Arc<LocalStorageEngine>,
    /// The registry on it, the one that clients ask.
    pub registry: Registry,
    /// The accounts and the policy of the store.
    pub authority: Arc<Authority>,
    /// Where it is written down who did what; `None`: nowhere.
    pub audit: Option<AuditLog>,
    /// Whether the server takes no writes.
    pub read_only: bool,
    /// How the registry on it is checked, but for what a command asks for.
    pub verify: VerifyOptions,
    /// How fast packs are rewritten, in bytes a second; 0: as fast as it goes.
    pub compact_rate: u64,
}

/// Every route that an operator's command may ask: those of the commands, and the registry's own API.
pub fn router(api: AdminApi, registry: Api) -> Router {
    let metrics = registry.metrics.clone();
    let registry = observed(operated(registry), metrics, Surface::Registry);
    Router::new()
        .route(BACKUP_ROUTE, get(backup))
        .route(DU_ROUTE, get(du::get))
        .route(RETENTION_ROUTE, get(retention::get).post(retention::post))
        .route(HOLD_ROUTE, get(hold))
        .route(COMPACT_ROUTE, get(compact::plan).post(compact::run))
        .route(PAUSE_ROUTE, post(compact::pause))
        .route(RESUME_ROUTE, post(compact::resume))
        .route("/status", get(status))
        .route("/verify", get(verify::get).post(verify::post))
        .route(REGISTRY_ROUTE, post(registry::post))
        .route(AUTH_ROUTE, post(auth::post))
        .route(AUDIT_ROUTE, post(audit::post))
        .with_state(api)
        .merge(registry)
}

/// Where a backup of the index is to be had.
pub const BACKUP_ROUTE: &str = "/backup";

/// Where it is told what takes up room; `of=` is a repository, or one with a tag.
pub const DU_ROUTE: &str = "/du";

/// Where the rules of retention are gone by, or what they would do is told.
pub const RETENTION_ROUTE: &str = "/retention";

/// Whoever takes a backup and takes nothing for so long has it broken off.
const READER_STALLS_MAX: Duration = Duration::from_secs(30);

/// By which no byte of the packs is given back for as long as the answer goes on.
pub const HOLD_ROUTE: &str = "/hold";

/// How often who holds the packs is looked after.
const HOLD_INTERVAL: Duration = Duration::from_millis(500);

/// A line at once, when everything is held, and no end before whoever asked goes or the server
/// stops.
async fn hold(State(api): State<AdminApi>) -> Response {
    answer_in_pieces("text/plain", move |pieces| {
        let _hold = api.storage.hold();
        pieces.send("held\n")?;
        while !pieces.is_gone() && !api.storage.is_closed() {
            std::thread::sleep(HOLD_INTERVAL);
        }
        Ok(())
    })
}

/// The index as it stands.
async fn backup(State(api): State<AdminApi>) -> Response {
    answer_in_pieces("application/octet-stream", move |pieces| {
        let mut send = |piece: &[u8]| {
            let piece = Bytes::copy_from_slice(piece);
            pieces
                .send_within(piece, READER_STALLS_MAX)
                .map_err(std::io::Error::other)
        };
        api.storage.back_up(&mut send)?;
        Ok(())
    })
}

async fn status(State(api): State<AdminApi>) -> Response {
    // Every pack's file is looked at.
    let status = tokio::task::spawn_blocking(move || api.storage.status());
    answer_in_json(
        status
            .await
            .map_err(anyhow::Error::from)
            .and_then(|status| Ok(status?)),
    )
}

/// An answer in JSON, or why there is none.
fn answer_in_json(answer: anyhow::Result<impl Serialize>) -> Response {
    match answer.and_then(|answer| Ok(serde_json::to_vec(&answer)?)) {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => ApiError::internal(error).into_response(),
    }
}
