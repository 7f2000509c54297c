//! The two probes: is the process alive, and can it serve.

use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;

/// `/healthz`: whoever reads this is talking to a running process.
pub fn alive() -> Response {
    "ok\n".into_response()
}

/// `/readyz`: asks the catalogue and the disk, as a push or a pull would.
pub async fn ready(api: &Api) -> Result<Response, ApiError> {
    match (api.ready)().await {
        Ok(()) => Ok("ready\n".into_response()),
        Err(error) => Err(ApiError::unavailable(
            "the store cannot serve at present",
            error,
        )),
    }
}
