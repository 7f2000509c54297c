//! Repositories, tags and manifests.

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;

use super::{Errors, answer, missing, number, required, switch};
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::management::comparison::Comparison;
use crate::management::growth::Growth;
use crate::management::history::{Moment, Why};
use crate::management::manifests::Manifest;
use crate::management::overview::Overview;
use crate::management::repositories::{PAGE_REPOSITORIES, Repositories};
use crate::management::search::SearchResult;
use crate::management::tags::{PAGE_TAGS, Sort, TagQuery, Tags};
use crate::management::{Caller, Management};

/// What there is at a glance.
#[utoipa::path(get, path = "/overview", operation_id = "overview", responses(
    (status = 200, body = Overview),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn overview(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        management.overview(&caller).await
    })
    .await
}

/// What the store took up as time went by, and when its disk will be full if that goes on.
#[utoipa::path(get, path = "/growth", operation_id = "growth", responses(
    (status = 200, body = Growth),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn growth(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        management.growth(&caller).await
    })
    .await
}

/// Repositories, in the order of their names.
#[utoipa::path(get, path = "/repositories", operation_id = "repositories", params(
    ("search" = Option<String>, Query, description = "What their names must hold"),
    ("after" = Option<String>, Query, description = "Those behind this name alone: `next` of the last answer"),
    ("limit" = Option<u32>, Query, description = "How many; 1 to 1,000, 100 without it"),
), responses(
    (status = 200, body = Repositories),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn repositories(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        let query = Query::parse(request.uri.query())?;
        let search = query.one("search")?.unwrap_or_default();
        let limit = number(&query, "limit", PAGE_REPOSITORIES)?;
        management.repositories(&caller, search, query.one("after")?, limit)
    })
    .await
}

/// The tags of a repository, a page at a time.
#[utoipa::path(get, path = "/tags", operation_id = "tags", params(
    ("repository" = String, Query, description = "The repository"),
    ("search" = Option<String>, Query, description = "What their names must hold"),
    ("sort" = Option<Sort>, Query, description = "What they are sorted by; when they were pushed without it"),
    ("reverse" = Option<bool>, Query, description = "Whether the order is turned round: times and versions go from the newest, sizes from the largest, names from A"),
    ("page" = Option<u32>, Query, description = "Which page, from 1"),
    ("limit" = Option<u32>, Query, description = "How many; 1 to 1,000, 50 without it"),
), responses(
    (status = 200, body = Tags),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn tags(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        let query = Query::parse(request.uri.query())?;
        let repository = required(&query, "repository")?;
        management
            .tags(&caller, &repository, tag_query(&query)?)
            .await
    })
    .await
}

/// Reads which tags are asked for.
pub fn tag_query(query: &Query) -> Result<TagQuery, ApiError> {
    let sort = match query.one("sort")? {
        None | Some("") => Sort::default(),
        Some(text) => Sort::parse(text).ok_or_else(|| {
            let names: Vec<_> = Sort::ALL.into_iter().map(Sort::as_str).collect();
            let shown: String = text.chars().take(64).collect();
            ApiError::bad_request(format!("sort = {shown:?}: use {}", names.join(", ")))
        })?,
    };
    let reverse = switch(query, "reverse")?;
    Ok(TagQuery {
        search: query.one("search")?.unwrap_or_default().to_owned(),
        sort,
        reverse,
        page: number(query, "page", 1)?,
        limit: number(query, "limit", PAGE_TAGS)?,
    })
}

/// The changes of a tag, newest first.
#[utoipa::path(get, path = "/tags/history", operation_id = "tagHistory", params(
    ("repository" = String, Query, description = "The repository"),
    ("tag" = String, Query, description = "The tag, which may be deleted"),
), responses(
    (status = 200, body = Vec<Moment>),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn history(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        let query = Query::parse(request.uri.query())?;
        let repository = required(&query, "repository")?;
        management.history(&caller, &repository, &required(&query, "tag")?)
    })
    .await
}

/// Why a manifest or a blob is kept, or when it goes. For administrators of the repository.
#[utoipa::path(get, path = "/why", operation_id = "why", params(
    ("repository" = String, Query, description = "The repository"),
    ("reference" = String, Query, description = "A tag or a digest"),
), responses(
    (status = 200, body = Why),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn why(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        let query = Query::parse(request.uri.query())?;
        let repository = required(&query, "repository")?;
        management.why(&caller, &repository, &required(&query, "reference")?)
    })
    .await
}

/// A manifest, and what lies around it.
#[utoipa::path(get, path = "/manifest", operation_id = "manifest", params(
    ("repository" = String, Query, description = "The repository"),
    ("reference" = String, Query, description = "A tag or a digest"),
), responses(
    (status = 200, body = Manifest),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn manifest(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        let query = Query::parse(request.uri.query())?;
        let repository = required(&query, "repository")?;
        let reference = required(&query, "reference")?;
        let (manifest, _) = management
            .manifest(&caller, &repository, &reference)
            .await?;
        Ok(manifest)
    })
    .await
}

/// What differs between two manifests of a repository.
#[utoipa::path(get, path = "/compare", operation_id = "compare", params(
    ("repository" = String, Query, description = "The repository"),
    ("from" = String, Query, description = "A tag or a digest"),
    ("to" = String, Query, description = "Another"),
    ("files" = Option<bool>, Query, description = "Whether the layers that differ are read for the files that differ"),
), responses(
    (status = 200, body = Comparison),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn compare(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        let query = Query::parse(request.uri.query())?;
        let repository = required(&query, "repository")?;
        let (from, to) = (required(&query, "from")?, required(&query, "to")?);
        let files = switch(&query, "files")?;
        management
            .compare(&caller, &repository, &from, &to, files)
            .await
    })
    .await
}

/// Looks for repositories, tags and manifests.
#[utoipa::path(get, path = "/search", operation_id = "search", params(
    ("q" = String, Query, description = "A part of a repository's name, a tag, `REPOSITORY:BEGINNING` of tags, or the first six or more digits of a digest"),
), responses(
    (status = 200, body = SearchResult),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn search(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let caller = Caller::of(&management, &request).await?;
        let query = Query::parse_form(request.uri.query())?;
        let text = query.one("q")?.ok_or_else(|| missing("q"))?;
        management.search(&caller, text).await
    })
    .await
}
