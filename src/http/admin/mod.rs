//! What an operator's commands ask of the running server, by a socket in the data directory.
//!
//! * `socket`: the listener, and who may connect
//! * `answers`: long answers, made on a thread of their own in bounded memory
//! * `verify`: checking the store; `registry`: whatever the registry can be asked; `retention`, `du`:
//!   what is asked of it in many lines
//! * [`client`]: the other end, for the commands
//!
//! The routes are ours alone: a command speaks to a server of its own version, and says so
//! where it does not.

mod answers;
pub mod client;
mod du;
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
use axum::routing::get;
use bytes::Bytes;

use crate::ghostbay::LocalStorageEngine;
use crate::registry::Registry;
use crate::registry::check::VerifyOptions;

use super::error::ApiError;

pub use answers::{Pieces, answer_in_pieces};
pub use registry::REGISTRY_ROUTE;
pub use socket::{AdminSocket, SocketError};

/// What the routes work on. Cheap to clone.
#[derive(Clone)]
pub struct AdminApi {
    /// The store.
    pub storage: Arc<LocalStorageEngine>,
    /// The registry on it, the one that clients ask.
    pub registry: Registry,
    /// Whether the server takes no writes.
    pub read_only: bool,
    /// How the registry on it is checked, but for what a command asks for.
    pub verify: VerifyOptions,
}

/// Every route that an operator's command may ask.
pub fn router(api: AdminApi) -> Router {
    Router::new()
        .route(BACKUP_ROUTE, get(backup))
        .route(DU_ROUTE, get(du::get))
        .route(RETENTION_ROUTE, get(retention::get).post(retention::post))
        .route("/status", get(status))
        .route("/verify", get(verify::get).post(verify::post))
        .route(REGISTRY_ROUTE, axum::routing::post(registry::post))
        .with_state(api)
}

/// Where a backup of the index is to be had.
pub const BACKUP_ROUTE: &str = "/backup";

/// Where it is told what takes up room; `of=` is a repository, or one with a tag.
pub const DU_ROUTE: &str = "/du";

/// Where the rules of retention are gone by, or what they would do is told.
pub const RETENTION_ROUTE: &str = "/retention";

/// Whoever takes a backup and takes nothing for so long has it broken off.
const READER_STALLS_MAX: Duration = Duration::from_secs(30);

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
    let json = |status| serde_json::to_vec(&status).map_err(anyhow::Error::from);
    match api
        .storage
        .status()
        .map_err(anyhow::Error::from)
        .and_then(json)
    {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => ApiError::internal(error).into_response(),
    }
}
