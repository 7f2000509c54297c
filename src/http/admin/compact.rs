//! `POST /compact`: rewriting the packs that are worth it.

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};

use super::{AdminApi, Deed, Operator, answer_in_json};
use crate::http::error::ApiError;

/// Where packs are rewritten.
pub const COMPACT_ROUTE: &str = "/compact";

/// Why nothing is rewritten.
pub const PAUSED: &str = "compaction is paused: have it go on by drift compact --resume first";

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
