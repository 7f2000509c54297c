//! `/retention`: what the rules keep and delete; by POST it is done. The answer is a line of JSON for
//! each tag and each manifest without one, as it is judged.

use axum::extract::{Extension, State};
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use super::audit::{Deed, Operator};
use super::{AdminApi, answer_in_lines};
use crate::registry::retention::{Mode, Verdict};

pub(super) async fn get(State(api): State<AdminApi>) -> Response {
    retain(api, Mode::Plan)
}

pub(super) async fn post(
    State(api): State<AdminApi>,
    Extension(operator): Extension<Operator>,
) -> Response {
    let deed = Deed::of_store("store", "retention");
    match api.begins_unless_read_only(operator, deed).await {
        Ok(()) => retain(api, Mode::Act),
        Err(refused) => refused,
    }
}

fn retain(api: AdminApi, mode: Mode) -> Response {
    answer_in_lines(move |tell: &mut dyn FnMut(Verdict) -> bool| {
        // Who goes away stops it at the next judgement.
        let stop = CancellationToken::new();
        api.registry.retain(mode, &stop, tell)?;
        Ok(())
    })
}
