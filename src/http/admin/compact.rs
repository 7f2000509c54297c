//! `/compact`: which packs are worth rewriting, by GET; rewriting them, by POST. `/compact/pause` and
//! `/compact/resume` have it stand still and go on.

use axum::extract::State;
use axum::response::Response;

use super::{AdminApi, answer_in_json};

/// Where the plan is to be had, and its execution.
pub const COMPACT_ROUTE: &str = "/compact";
/// By which compaction stands still.
pub const PAUSE_ROUTE: &str = "/compact/pause";
/// By which it goes on.
pub const RESUME_ROUTE: &str = "/compact/resume";

pub(super) async fn plan(State(api): State<AdminApi>) -> Response {
    let plan = tokio::task::spawn_blocking(move || api.storage.compactor().plan());
    answer_in_json(
        plan.await
            .map_err(anyhow::Error::from)
            .and_then(|plan| Ok(plan?)),
    )
}

/// Goes on, also when whoever asked has gone.
pub(super) async fn run(State(api): State<AdminApi>) -> Response {
    let run = tokio::spawn(async move {
        let compacted = api.storage.compact(api.compact_rate).await?;
        // What became empty can go at once.
        let reclaimed = api.storage.reclaim().await?;
        anyhow::Ok((compacted, reclaimed))
    });
    answer_in_json(run.await.map_err(anyhow::Error::from).flatten())
}

pub(super) async fn pause(State(api): State<AdminApi>) -> Response {
    api.storage.compactor().pause(true);
    answer_in_json(Ok(api.storage.compactor().state()))
}

pub(super) async fn resume(State(api): State<AdminApi>) -> Response {
    api.storage.compactor().pause(false);
    answer_in_json(Ok(api.storage.compactor().state()))
}
