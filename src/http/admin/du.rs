//! `/du`: what takes up room. The answer is a line of JSON for each share.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::{AdminApi, answer_in_lines};
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
    answer_in_lines(move |tell: &mut dyn FnMut(Share) -> bool| {
        api.registry.du(&scope, tell)?;
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
