//! What runs beside the requests.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;

use super::{Errors, answer, number, order, switch};
use crate::http::query::Query;
use crate::management::operations::{
    Collect, Collection, CompactionProgress, EventQuery, Operations, Pause, Running,
};
use crate::management::{Caller, Management};

/// What runs beside the requests. For administrators.
#[utoipa::path(get, path = "/operations", operation_id = "operations", responses(
    (status = 200, body = Operations),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn operations(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        management.operations(&caller).await
    })
    .await
}

/// What is under way at this moment: uploads, scrub, backups, compaction, collections. For administrators.
#[utoipa::path(get, path = "/operations/running", operation_id = "running", responses(
    (status = 200, body = Running),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn running(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        management.running(&caller).await
    })
    .await
}

/// Has the next pass of the scrub begin at once. 409 where there is none to come.
#[utoipa::path(post, path = "/operations/scrub", operation_id = "scrub", responses(
    (status = 200, body = Running),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn scrub(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        management.scrub(&caller).await
    })
    .await
}

/// Has the next backup of the schedule taken at once. 409 where there is none to come.
#[utoipa::path(post, path = "/operations/backup", operation_id = "backUp", responses(
    (status = 200, body = Running),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn back_up(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        management.back_up(&caller).await
    })
    .await
}

/// Cancels the backup of the schedule that is under way; nothing of it is left. 409 where there is none.
#[utoipa::path(post, path = "/operations/backup/cancel", operation_id = "cancelBackup", responses(
    (status = 200, body = Running),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn cancel_backup(
    State(management): State<Management>,
    request: Parts,
) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        management.cancel_backup(&caller).await
    })
    .await
}

/// Has the scrub stand still, or go on where it was.
#[utoipa::path(post, path = "/operations/scrub/pause", operation_id = "pauseScrub", request_body = Pause, responses(
    (status = 200, body = Pause),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn pause_scrub(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.pause_scrub(&caller, asked).await
    })
    .await
}

/// Has collections stand still, or go on. One that is under way ends behind the transaction that it is at.
#[utoipa::path(post, path = "/operations/collect/pause", operation_id = "pauseCollections", request_body = Pause, responses(
    (status = 200, body = Pause),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn pause_collections(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.pause_collections(&caller, asked).await
    })
    .await
}

/// Collects what nothing refers to and is due, or says what that would come to. 409 while collections stand
/// still.
#[utoipa::path(post, path = "/operations/collect", operation_id = "collect", request_body = Collect, responses(
    (status = 200, body = Collection),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn collect(State(management): State<Management>, request: Request) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.collect(&caller, asked).await
    })
    .await
}

/// Has compaction stand still, or go on.
#[utoipa::path(post, path = "/operations/compaction", operation_id = "pauseCompaction", request_body = Pause, responses(
    (status = 200, body = CompactionProgress),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn pause_compaction(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.pause_compaction(&caller, asked).await
    })
    .await
}

/// Events of the audit log, newest first; none where there is no such log. For administrators.
#[utoipa::path(get, path = "/audit", operation_id = "events", params(
    ("who" = Option<String>, Query, description = "By whom: `user:alice`, or `alice`"),
    ("repository" = Option<String>, Query, description = "About repositories of this pattern"),
    ("denied" = Option<bool>, Query, description = "Refusals alone"),
    ("limit" = Option<u32>, Query, description = "How many; 1 to 1,000, 100 without it"),
), responses(
    (status = 200, body = Vec<Object>),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn events(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        let query = Query::parse(request.uri.query())?;
        let asked = EventQuery {
            who: query.one("who")?.map(str::to_owned),
            repository: query.one("repository")?.map(str::to_owned),
            denied: switch(&query, "denied")?,
            limit: number(&query, "limit", 100)? as u64,
        };
        Ok(management.events(&caller, asked).await?.unwrap_or_default())
    })
    .await
}
