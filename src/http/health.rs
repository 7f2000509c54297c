//! The two probes: is the process alive, and can it serve.

use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;
use crate::ghostbay::StorageError;

/// `/healthz`: whoever reads this is talking to a running process.
pub fn alive() -> Response {
    "ok\n".into_response()
}

/// `/readyz`: asks the catalogue and the disk, as a push or a pull would.
pub async fn ready(api: &Api) -> Result<Response, ApiError> {
    match (api.ready)().await {
        Ok(()) => Ok("ready\n".into_response()),
        Err(error) => {
            let reason = error.downcast_ref::<StorageError>();
            let reason = reason.map_or_else(|| "its log says why".to_owned(), StorageError::reason);
            let message = format!("the store cannot serve at present: {reason}");
            Err(ApiError::unavailable(message, error))
        }
    }
}
