//! Tokens, access keys, and the keys that tokens are signed with.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;

use super::{Errors, answer, order};
use crate::management::access::{ByName, Secret};
use crate::management::tokens::{AccessKey, CreateAccessKey, CreateToken, KeyId, Token};
use crate::management::{Caller, Management};

/// The tokens, by name. For administrators.
#[utoipa::path(get, path = "/tokens", operation_id = "tokens", responses(
    (status = 200, body = Vec<Token>),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn tokens(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        management.tokens(&caller).await
    })
    .await
}

/// Makes a token, which is shown this once.
#[utoipa::path(post, path = "/tokens", operation_id = "createToken", request_body = CreateToken, responses(
    (status = 200, body = Secret),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn create_token(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.create_token(&caller, asked).await
    })
    .await
}

/// Takes a token out.
#[utoipa::path(post, path = "/tokens/revoke", operation_id = "revokeToken", request_body = ByName, responses(
    (status = 200, description = "Done"),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn revoke_token(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.revoke_token(&caller, asked).await
    })
    .await
}

/// Makes an access key for the S3 endpoint, whose secret is shown this once.
#[utoipa::path(post, path = "/tokens/access-key", operation_id = "createAccessKey", request_body = CreateAccessKey, responses(
    (status = 200, body = AccessKey),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn create_access_key(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.create_access_key(&caller, asked).await
    })
    .await
}

/// Makes a new key to sign tokens with. Those that an older one signed hold until they expire.
#[utoipa::path(post, path = "/keys/rotate", operation_id = "rotateKey", responses(
    (status = 200, body = KeyId),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn rotate_key(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        management.rotate_key(&caller).await
    })
    .await
}
