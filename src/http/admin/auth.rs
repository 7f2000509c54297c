//! `POST /auth`: what an operator asks about accounts and policy, and the answer, both as JSON.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::audit::{Deed, Operator, carry_out};
use super::{AdminApi, answer_in_json};
use crate::auth::AuthorityError;
use crate::auth::command::{self, Command};
use crate::http::error::ApiError;
use crate::oci::ErrorCode;

/// Where it is asked.
pub const AUTH_ROUTE: &str = "/auth";

pub(super) async fn post(
    State(api): State<AdminApi>,
    Extension(operator): Extension<Operator>,
    asked: Bytes,
) -> Result<Response, ApiError> {
    // What is not understood is not repeated: it may hold a hash.
    let asked: Command = serde_json::from_slice(&asked)
        .map_err(|_| ApiError::bad_request("this server knows no such command"))?;
    let deed = Deed::of_auth(&asked);
    let authority = api.authority.clone();
    let work = async move {
        match command::run(&authority, asked).await {
            Ok(answer) => answer_in_json(Ok(answer)),
            Err(error) => ApiError::from(error).into_response(),
        }
    };
    Ok(carry_out(api, operator, deed, work).await)
}

impl From<AuthorityError> for ApiError {
    fn from(error: AuthorityError) -> Self {
        let status = match &error {
            AuthorityError::Unknown { .. } => StatusCode::NOT_FOUND,
            AuthorityError::Taken { .. } => StatusCode::CONFLICT,
            AuthorityError::Invalid(_) => StatusCode::BAD_REQUEST,
            AuthorityError::Catalog(_)
            | AuthorityError::File { .. }
            | AuthorityError::Threads(_)
            | AuthorityError::NoRandomness(_) => return ApiError::internal(error),
        };
        ApiError::new(status, ErrorCode::Unsupported, error.to_string())
    }
}
