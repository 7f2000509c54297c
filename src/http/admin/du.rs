//! `/du`: what takes up room. The answer is a line of JSON for each share.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::{AdminApi, answer_in_pieces};
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::registry::du::{Scope, Share};

pub(super) async fn get(State(api): State<AdminApi>, RawQuery(query): RawQuery) -> Response {
    let scope = match scope(query.as_deref()) {
        Ok(scope) => scope,
        Err(error) => return error.into_response(),
    };
    // What is not there is said before the answer begins.
    if let Err(error) = api.registry.du_exists(&scope) {
        return ApiError::from(error).into_response();
    }
    answer_in_pieces("application/x-ndjson", move |pieces| {
        let mut tell = |share: Share| {
            let Ok(mut line) = serde_json::to_vec(&share) else {
                return false;
            };
            line.push(b'\n');
            pieces.send(line).is_ok()
        };
        api.registry.du(&scope, &mut tell)?;
        Ok(())
    })
}

fn scope(query: Option<&str>) -> Result<Scope, ApiError> {
    let query = Query::parse(query)?;
    match query.one("of")? {
        None => Ok(Scope::Store),
        Some(of) => of.parse().map_err(ApiError::bad_request),
    }
}
