//! The files of layers and images.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use super::{Errors, answer, missing, number, required, respond};
use crate::digest::Digest;
use crate::http::body::SizedBody;
use crate::http::error::ApiError;
use crate::http::query::{Query, encode};
use crate::management::files::{FileQuery, Files, OpenedFile, PAGE_FILES};
use crate::management::{Caller, Management};

/// The files in a directory of an image, or of one of its layers.
#[utoipa::path(get, path = "/files", operation_id = "files", params(
    ("repository" = String, Query, description = "The repository"),
    ("reference" = String, Query, description = "A tag or a digest"),
    ("layer" = Option<String>, Query, description = "The digest of a layer; all of them, one upon the other, without it"),
    ("path" = Option<String>, Query, description = "The directory; the root without it"),
    ("after" = Option<String>, Query, description = "Those behind this name alone: `next` of the last answer"),
    ("limit" = Option<u32>, Query, description = "How many; 1 to 1,000, 500 without it"),
), responses(
    (status = 200, body = Files),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn files(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let query = Query::parse(request.uri.query())?;
        let named = |name| Ok::<_, ApiError>(query.one(name)?.unwrap_or_default().to_owned());
        let directory = FileQuery::Directory {
            path: named("path")?,
            after: named("after")?,
        };
        find(&management, &request, &query, &directory).await
    })
    .await
}

/// The files of an image, or of one of its layers, whose names hold a text.
#[utoipa::path(get, path = "/files/search", operation_id = "searchFiles", params(
    ("repository" = String, Query, description = "The repository"),
    ("reference" = String, Query, description = "A tag or a digest"),
    ("layer" = Option<String>, Query, description = "The digest of a layer; all of them, one upon the other, without it"),
    ("q" = String, Query, description = "A part of a name; of a path if it has a slash"),
    ("limit" = Option<u32>, Query, description = "How many; 1 to 1,000, 500 without it"),
), responses(
    (status = 200, body = Files),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn search_files(State(management): State<Management>, request: Parts) -> Response {
    answer(async {
        let query = Query::parse(request.uri.query())?;
        let text = query.one("q")?.ok_or_else(|| missing("q"))?.to_owned();
        find(&management, &request, &query, &FileQuery::Search(text)).await
    })
    .await
}

async fn find(
    management: &Management,
    request: &Parts,
    query: &Query,
    wanted: &FileQuery,
) -> Result<Files, ApiError> {
    let caller = Caller::of(management, request).await?;
    let (repository, reference) = (
        required(query, "repository")?,
        required(query, "reference")?,
    );
    let (layer, limit) = (layer(query)?, number(query, "limit", PAGE_FILES)?);
    let files = management.files(
        &caller,
        &repository,
        &reference,
        layer.as_ref(),
        wanted,
        limit,
    );
    files.await
}

/// The content of a file of an image, or of one of its layers.
#[utoipa::path(get, path = "/files/content", operation_id = "fileContent", params(
    ("repository" = String, Query, description = "The repository"),
    ("reference" = String, Query, description = "A tag or a digest"),
    ("layer" = Option<String>, Query, description = "The digest of a layer; all of them, one upon the other, without it"),
    ("path" = String, Query, description = "The file"),
), responses(
    (status = 200, content_type = "application/octet-stream", body = String, description = "Its bytes"),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn content(State(management): State<Management>, request: Parts) -> Response {
    let opened = async {
        let caller = Caller::of(&management, &request).await?;
        let query = Query::parse(request.uri.query())?;
        let (repository, reference) = (
            required(&query, "repository")?,
            required(&query, "reference")?,
        );
        let path = query.one("path")?.ok_or_else(|| missing("path"))?;
        let layer = layer(&query)?;
        management
            .open_file(&caller, &repository, &reference, layer.as_ref(), path)
            .await
    };
    match opened.await {
        Ok(opened) => attachment(opened),
        Err(error) => respond(async { Err(error) }).await,
    }
}

/// The layer that a query names.
pub fn layer(query: &Query) -> Result<Option<Digest>, ApiError> {
    match query.one("layer")? {
        None | Some("") => Ok(None),
        Some(text) => Ok(Some(text.parse::<Digest>()?)),
    }
}

/// A file as an answer that no browser shows: it is whatever somebody put into a layer.
pub fn attachment(opened: OpenedFile) -> Response {
    let OpenedFile { file, content } = opened;
    let mut response = Response::new(Body::new(SizedBody::new(content, file.bytes)));
    let headers = response.headers_mut();
    // RFC 6266, 4.3; the other form of the name is for nobody but old browsers, which name it as they like.
    let disposition = format!("attachment; filename*=UTF-8''{}", encode(&file.name));
    let disposition = HeaderValue::try_from(disposition);
    let plain = HeaderValue::from_static("attachment");
    headers.insert(CONTENT_DISPOSITION, disposition.unwrap_or(plain));
    headers.insert(CONTENT_LENGTH, file.bytes.into());
    for (name, value) in [
        (CONTENT_TYPE, "application/octet-stream"),
        (CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
