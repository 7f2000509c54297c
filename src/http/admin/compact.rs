//! `/compact`: which packs are worth rewriting, by GET; rewriting them, by POST. `/compact/pause` and
//! `/compact/resume` have it stand still and go on.

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};

use super::audit::{Deed, Operator};
use super::{AdminApi, answer_in_json};
use crate::http::error::ApiError;

/// Where the plan is to be had, and its execution.
pub const COMPACT_ROUTE: &str = "/compact";
/// By which compaction stands still.
pub const PAUSE_ROUTE: &str = "/compact/pause";
/// By which it goes on.
pub const RESUME_ROUTE: &str = "/compact/resume";

/// Why nothing is rewritten.
pub const PAUSED: &str = "compaction is paused: have it go on by drift compact --resume first";

pub(super) async fn plan(State(api): State<AdminApi>) -> Response {
    let plan = tokio::task::spawn_blocking(move || api.storage.compactor().plan());
    answer_in_json(
        plan.await
            .map_err(anyhow::Error::from)
            .and_then(|plan| Ok(plan?)),
    )
}

/// Goes on, also when whoever asked has gone.
pub(super) async fn run(
    State(api): State<AdminApi>,
    Extension(operator): Extension<Operator>,
) -> Response {
    if api.storage.compactor().state().paused {
        return ApiError::bad_request(PAUSED).into_response();
    }
    api.begins(operator, Deed::of_store("store", "compact"))
        .await;
    let run = tokio::spawn(async move {
        let compacted = api.storage.compact(api.compact_rate).await?;
        // What became empty can go at once.
        let reclaimed = api.storage.reclaim().await?;
        anyhow::Ok((compacted, reclaimed))
    });
    answer_in_json(run.await.map_err(anyhow::Error::from).flatten())
}

pub(super) async fn pause(
    State(api): State<AdminApi>,
    Extension(operator): Extension<Operator>,
) -> Response {
    api.begins(operator, Deed::of_store("store", "compact --pause"))
        .await;
    set_paused(api, true).await
}

pub(super) async fn resume(
    State(api): State<AdminApi>,
    Extension(operator): Extension<Operator>,
) -> Response {
    api.begins(operator, Deed::of_store("store", "compact --resume"))
        .await;
    set_paused(api, false).await
}

async fn set_paused(api: AdminApi, paused: bool) -> Response {
    let set = tokio::task::spawn_blocking(move || {
        let compactor = api.storage.compactor();
        compactor.pause(paused).map(|()| compactor.state())
    });
    answer_in_json(
        set.await
            .map_err(anyhow::Error::from)
            .and_then(|state| Ok(state?)),
    )
}
