//! `POST /registry`: what an operator asks of the registry, and the answer, both as JSON.

use axum::extract::{Extension, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::http::error::ApiError;
use crate::registry::command::{self, Command};

use super::AdminApi;
use super::audit::{Deed, Operator, carry_out};

/// Where it is asked.
pub const REGISTRY_ROUTE: &str = "/registry";

pub(super) async fn post(
    State(api): State<AdminApi>,
    Extension(operator): Extension<Operator>,
    asked: Bytes,
) -> Result<Response, ApiError> {
    let asked: Command = serde_json::from_slice(&asked)
        .map_err(|error| ApiError::bad_request(format!("this server knows no such: {error}")))?;
    let deed = Deed::of_registry(&asked);
    let answering = api.clone();
    let work = async move {
        match answer(&answering, asked).await {
            Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
            Err(error) => error.into_response(),
        }
    };
    Ok(carry_out(api, operator, deed, work).await)
}

async fn answer(api: &AdminApi, asked: Command) -> Result<Vec<u8>, ApiError> {
    if api.read_only && asked.changes() {
        return Err(ApiError::read_only("GET"));
    }
    let answer = command::run(&api.registry, asked).await?;
    serde_json::to_vec(&answer).map_err(ApiError::internal)
}
