//! Answers that are a line of JSON for each thing.

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;

use super::{Errors, given, respond, switch};
use crate::audit;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::management::{Caller, Management};
use crate::registry::du::Scope;
use crate::registry::retention::Mode;

/// Events of the audit log, newest last, a line of JSON each. For administrators.
#[utoipa::path(get, path = "/audit/export", operation_id = "exportEvents", params(
    ("since_ms" = Option<u64>, Query, description = "None from before, in milliseconds since 1970"),
    ("who" = Option<String>, Query, description = "By whom: `user:alice`, or `alice`"),
    ("repository" = Option<String>, Query, description = "About repositories of this pattern"),
    ("denied" = Option<bool>, Query, description = "Refusals alone"),
    ("newest" = Option<u64>, Query, description = "So many, the newest; all without it"),
), responses(
    (status = 200, content_type = "application/x-ndjson", body = String, description = "Events as `/audit` has them"),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn events(State(management): State<Management>, request: Parts) -> Response {
    respond(async {
        let caller = Caller::of(&management, &request).await?;
        let query = Query::parse(request.uri.query())?;
        let asked = audit::Query {
            since_ms: given(&query, "since_ms")?,
            who: given(&query, "who")?,
            repository: given(&query, "repository")?,
            denied: switch(&query, "denied")?,
            newest: given(&query, "newest")?.unwrap_or(0),
        };
        management.export_events(&caller, asked).await
    })
    .await
}

/// What takes up room, and what deleting it would free. For administrators.
#[utoipa::path(get, path = "/usage", operation_id = "usage", params(
    ("of" = Option<String>, Query, description = "A repository, or a tag as `REPOSITORY:TAG`; the whole store without it"),
), responses(
    (status = 200, content_type = "application/x-ndjson", body = String, description = "A line of JSON for each: of the store and its repositories, a repository and its tags, or a tag and its blobs. `holder` is `store`, `unheld`, `repository`, `tag` or `blob`, `name` its name; `exclusive_bytes` are those of blobs that nothing else holds, `shared_bytes` those that something else holds as well, `manifest_bytes` those of manifests, and `frees_bytes` what deleting it frees"),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn usage(State(management): State<Management>, request: Parts) -> Response {
    respond(async {
        let caller = Caller::of(&management, &request).await?;
        let scope = match Query::parse(request.uri.query())?.one("of")? {
            None | Some("") => Scope::Store,
            Some(of) => of.parse().map_err(ApiError::bad_request)?,
        };
        management.usage(&caller, scope).await
    })
    .await
}

/// What the rules of retention would delete and keep. For administrators.
#[utoipa::path(get, path = "/retention", operation_id = "planRetention", responses(
    (status = 200, content_type = "application/x-ndjson", body = String, description = "A line of JSON for each tag, and each manifest without one: `repository`, `reference`, `fate` (`keep`, `delete` or `spared`) and `reason`"),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn plan_retention(
    State(management): State<Management>,
    request: Parts,
) -> Response {
    retention(&management, &request, Mode::Plan).await
}

/// Deletes what the rules of retention do not keep. Who goes away stops it.
#[utoipa::path(post, path = "/retention", operation_id = "retain", responses(
    (status = 200, content_type = "application/x-ndjson", body = String, description = "What is done, as the plan has it"),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn retain(State(management): State<Management>, request: Parts) -> Response {
    retention(&management, &request, Mode::Act).await
}

async fn retention(management: &Management, request: &Parts, mode: Mode) -> Response {
    respond(async {
        let caller = Caller::of(management, request).await?;
        management.retain(&caller, mode).await
    })
    .await
}
