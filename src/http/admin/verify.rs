//! `/verify`: checks the store while it serves. With `full=true` every byte of it; by POST what can
//! be repaired is. The answer is a line of JSON for each report, as it comes.

use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::audit::{Deed, Operator};
use super::{AdminApi, answer_in_pieces};
use crate::http::error::ApiError;
use crate::registry::check::{Depth, Repairs, Report, VerifyOptions, verify};

pub(super) async fn get(State(api): State<AdminApi>, RawQuery(query): RawQuery) -> Response {
    check(api, query.as_deref(), Repairs::Nothing)
}

pub(super) async fn post(
    State(api): State<AdminApi>,
    Extension(operator): Extension<Operator>,
    RawQuery(query): RawQuery,
) -> Response {
    let deed = Deed::of_store("store", "verify --repair");
    if api.read_only {
        let refused = ApiError::read_only("GET").into_response();
        let told = api.did(operator, Some(deed), &refused);
        told.await;
        return refused;
    }
    api.begins(operator, deed).await;
    check(api, query.as_deref(), Repairs::All)
}

fn check(api: AdminApi, query: Option<&str>, repairs: Repairs) -> Response {
    let depth = match query {
        None | Some("full=false") => Depth::Quick,
        Some("full=true") => Depth::Full,
        Some(_) => {
            let error = ApiError::bad_request("/verify knows full=true and full=false");
            return error.into_response();
        }
    };
    let options = VerifyOptions {
        depth,
        repairs,
        ..api.verify
    };
    let store = match api.storage.to_check() {
        Ok(store) => store,
        Err(error) => return ApiError::internal(error).into_response(),
    };
    answer_in_pieces("application/x-ndjson", move |pieces| {
        let mut tell = |report: Report| {
            let Ok(mut line) = serde_json::to_vec(&report) else {
                return false;
            };
            line.push(b'\n');
            pieces.send(line).is_ok()
        };
        verify(store, &options, &mut tell)?;
        Ok(())
    })
}
