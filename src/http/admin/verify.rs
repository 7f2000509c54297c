//! `/verify`: checks the store while it serves. With `full=true` every byte of it; by POST what can
//! be repaired is. The answer is a line of JSON for each report, as it comes.

use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::{AdminApi, Deed, Operator, answer_in_lines};
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
    match api.begins_unless_read_only(operator, deed).await {
        Ok(()) => check(api, query.as_deref(), Repairs::All),
        Err(refused) => refused,
    }
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
    answer_in_lines(move |tell: &mut dyn FnMut(Report) -> bool| {
        verify(store, &options, tell)?;
        Ok(())
    })
}
