//! Accounts and the policy.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;

use super::{Errors, answer, missing, order};
use crate::http::query::Query;
use crate::management::access::{
    Account, ByName, ChangeAccount, NewAccount, NewPassword, NewRule, RuleNumber, Rules, Secret,
    Tested,
};
use crate::management::{Caller, Management};

/// The accounts, by name. For administrators.
#[utoipa::path(get, path = "/accounts", operation_id = "accounts", responses(
    (status = 200, body = Vec<Account>),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn accounts(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        management.accounts(&caller).await
    })
    .await
}

/// Makes an account, with a password that is made up and shown this once if none is given.
#[utoipa::path(post, path = "/accounts", operation_id = "addAccount", request_body = NewAccount, responses(
    (status = 200, body = Secret),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn add_account(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.add_account(&caller, asked).await
    })
    .await
}

/// Switches an account off or on, or puts it into other groups.
#[utoipa::path(post, path = "/accounts/change", operation_id = "changeAccount", request_body = ChangeAccount, responses(
    (status = 200, description = "Done"),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn change_account(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.change_account(&caller, asked).await
    })
    .await
}

/// Gives an account another password.
#[utoipa::path(post, path = "/accounts/password", operation_id = "setPassword", request_body = NewPassword, responses(
    (status = 200, body = Secret),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn set_password(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.set_password(&caller, asked).await
    })
    .await
}

/// Removes an account, with its tokens.
#[utoipa::path(post, path = "/accounts/remove", operation_id = "removeAccount", request_body = ByName, responses(
    (status = 200, description = "Done"),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn remove_account(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.remove_account(&caller, asked).await
    })
    .await
}

/// The rules, in the order in which they are gone by. For administrators.
#[utoipa::path(get, path = "/policy", operation_id = "rules", responses(
    (status = 200, body = Rules),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn rules(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        management.rules(&caller).await
    })
    .await
}

/// Adds a rule.
#[utoipa::path(post, path = "/policy", operation_id = "addRule", request_body = NewRule, responses(
    (status = 200, body = RuleNumber),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn add_rule(State(management): State<Management>, request: Request) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.add_rule(&caller, asked).await
    })
    .await
}

/// Takes a rule out.
#[utoipa::path(post, path = "/policy/remove", operation_id = "removeRule", request_body = RuleNumber, responses(
    (status = 200, description = "Done"),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn remove_rule(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.remove_rule(&caller, asked).await
    })
    .await
}

/// Whether somebody may do something, and which rule decides.
#[utoipa::path(get, path = "/policy/test", operation_id = "testPolicy", params(
    ("who" = String, Query, description = "Who asks, such as `user:alice`"),
    ("action" = String, Query, description = "What they want to do: `pull`, `push-new`, `overwrite`, `delete`, `admin` or `metrics`"),
    ("repository" = String, Query, description = "With which repository, or which object as `s3:BUCKET/KEY`"),
), responses(
    (status = 200, body = Tested),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn test_policy(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        let query = Query::parse(request.uri.query())?;
        let word = |name| query.one(name)?.ok_or_else(|| missing(name));
        let (who, action) = (word("who")?, word("action")?);
        let tested = management.test_policy(&caller, who, action, word("repository")?);
        tested.await
    })
    .await
}
