//! `/v2/_catalog`: the repositories. No part of the specification any more, but what clients
//! and the registries before this one know.

use axum::response::Response;
use serde::Serialize;

use crate::auth::Identity;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::registry::Registry;

use super::{json, page};

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: &'a [String],
}

/// A part of the repositories that the caller may see, in the order of their bytes.
pub fn get(
    registry: &Registry,
    caller: Option<Identity>,
    query: &Query,
) -> Result<Response, ApiError> {
    let page = page::parse(query)?;
    let limit = page.limit;
    let listing = registry.repositories(page, |name| {
        caller.as_ref().is_some_and(|caller| caller.may_see(name))
    })?;
    let repositories = &listing.names;
    let response = json("application/json", &Catalog { repositories })?;
    Ok(match repositories.last() {
        Some(last) if listing.more => page::link(response, "/v2/_catalog", limit, last),
        _ => response,
    })
}
