//! What an operator's commands ask of the running server, by a socket in the data directory.
//!
//! * `socket`: the listener, and who may connect
//! * `operator`: who they are; `deed`: what the audit log is told of what somebody does
//! * `answers`: long answers, made on a thread of their own in bounded memory
//! * `verify`: checking the store; `compact`: rewriting packs; here: backups, and which server it is
//! * [`client`]: the other end, for these; [`exchange`]: the same for the registry's own API and `/api/v1`,
//!   which the operator is served as well
//!
//! The routes here are ours alone, for what is about this machine's files: a command speaks to a server of
//! its own version, and says so where it does not. All else goes by `/api/v1`.

mod answers;
pub mod client;
mod compact;
mod deed;
pub mod exchange;
mod operator;
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
use crate::ghostbay::LocalStorageEngine;
use crate::registry::check::VerifyOptions;

use super::error::ApiError;

pub use answers::{Pieces, answer_in_lines, answer_in_pieces};
pub use compact::{COMPACT_ROUTE, PAUSED};
pub use deed::Deed;
pub use operator::Operator;
pub use socket::{AdminSocket, SocketError};

/// What the routes work on. Cheap to clone.
#[derive(Clone)]
pub struct AdminApi {
    /// The store.
    pub storage: Arc<LocalStorageEngine>,
    /// Where it is written down who did what; `None`: nowhere.
    pub audit: Option<AuditLog>,
    /// Whether the server takes no writes.
    pub read_only: bool,
    /// How the registry on it is checked, but for what a command asks for.
    pub verify: VerifyOptions,
    /// How fast packs are rewritten, in bytes a second; 0: as fast as it goes.
    pub compact_rate: u64,
}

/// What commands alone ask.
pub fn router(api: AdminApi) -> Router {
    Router::new()
        .route(BACKUP_ROUTE, get(backup))
        .route(HOLD_ROUTE, get(hold))
        .route(COMPACT_ROUTE, post(compact::run))
        .route("/status", get(status))
        .route("/verify", get(verify::get).post(verify::post))
        .with_state(api)
}

/// Where a backup of the index is to be had.
pub const BACKUP_ROUTE: &str = "/backup";

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
