//! `/v2/<name>/tags/list` (distribution-spec, "Listing Tags").

use axum::response::Response;
use serde::Serialize;

use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::oci::RepositoryName;
use crate::registry::Registry;

use super::{json, page};

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a RepositoryName,
    tags: &'a [String],
}

/// A part of the tags of a repository, in the order of their bytes.
pub fn get(
    registry: &Registry,
    name: &RepositoryName,
    query: &Query,
) -> Result<Response, ApiError> {
    let page = page::parse(query)?;
    let limit = page.limit;
    let listing = registry.tags(name, page)?;
    let tags = &listing.names;
    let response = json("application/json", &TagList { name, tags })?;
    Ok(match tags.last() {
        Some(last) if listing.more => {
            page::link(response, &format!("/v2/{name}/tags/list"), limit, last)
        }
        _ => response,
    })
}
