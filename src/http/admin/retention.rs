//! `/retention`: what the rules keep and delete; by POST it is done. The answer is a line of JSON for
//! each tag and each manifest without one, as it is judged.

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;

use super::audit::{Deed, Operator};
use super::{AdminApi, answer_in_pieces};
use crate::http::error::ApiError;
use crate::registry::retention::{Mode, Verdict};

pub(super) async fn get(State(api): State<AdminApi>) -> Response {
    retain(api, Mode::Plan)
}

pub(super) async fn post(
    State(api): State<AdminApi>,
    Extension(operator): Extension<Operator>,
) -> Response {
    let deed = Deed::of_store("store", "retention");
    if api.read_only {
        let refused = ApiError::read_only("GET").into_response();
        let told = api.did(operator, Some(deed), &refused);
        told.await;
        return refused;
    }
    api.begins(operator, deed).await;
    retain(api, Mode::Act)
}

fn retain(api: AdminApi, mode: Mode) -> Response {
    answer_in_pieces("application/x-ndjson", move |pieces| {
        // Who goes away stops it at the next judgement.
        let stop = CancellationToken::new();
        let mut tell = |verdict: Verdict| {
            let Ok(mut line) = serde_json::to_vec(&verdict) else {
                return false;
            };
            line.push(b'\n');
            pieces.send(line).is_ok()
        };
        api.registry.retain(mode, &stop, &mut tell)?;
        Ok(())
    })
}
