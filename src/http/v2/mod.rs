//! The endpoints of the distribution specification, one file for each thing that they serve.

pub mod base;
pub mod blobs;
pub mod catalog;
mod condition;
pub mod manifests;
mod page;
pub mod referrers;
pub mod tags;
pub mod uploads;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::digest::Digest;
use crate::oci::RepositoryName;

use super::error::ApiError;
use super::middleware::CONTENT_DIGEST;

/// An answer without a body.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 200 with JSON.
fn json(content_type: &'static str, body: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(body).map_err(ApiError::internal)?;
    Ok(with(
        Response::new(Body::from(body)),
        CONTENT_TYPE,
        content_type,
    ))
}

/// 201 for a blob, at its place.
fn blob_created(name: &RepositoryName, digest: &Digest) -> Response {
    let response = with(
        empty(StatusCode::CREATED),
        LOCATION,
        format!("/v2/{name}/blobs/{digest}"),
    );
    with(response, CONTENT_DIGEST, digest.to_string())
}

/// The answer with a header. Values come from types whose grammar a header can hold; one that
/// it cannot is left out.
fn with<V>(mut response: Response, name: HeaderName, value: V) -> Response
where
    HeaderValue: TryFrom<V>,
{
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().append(name, value);
    }
    response
}
