//! `/v2/<name>/blobs/<digest>` (distribution-spec, "Pulling blobs", "Deleting Blobs").

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::digest::Digest;
use crate::ghostbay::read::Delivery;
use crate::http::body::SizedBody;
use crate::http::error::ApiError;
use crate::http::middleware::CONTENT_DIGEST;
use crate::oci::RepositoryName;
use crate::registry::Registry;

use super::{condition, empty, with};

/// GET and HEAD: the blob, or the range of it that is asked for.
pub async fn get(
    registry: &Registry,
    name: &RepositoryName,
    digest: &Digest,
    request: Request,
) -> Result<Response, ApiError> {
    let blob = match *request.method() {
        Method::HEAD => registry.head_blob(name, digest).await?,
        _ => registry.blob(name, digest)?,
    };
    let etag = condition::etag(&blob.digest);
    let describe = |response| {
        let response = with(response, CONTENT_DIGEST, blob.digest.to_string());
        let response = with(response, ETAG, etag.as_str());
        with(response, ACCEPT_RANGES, "bytes")
    };
    if condition::is_known(request.headers(), &etag) {
        return Ok(describe(empty(StatusCode::NOT_MODIFIED)));
    }
    // RFC 9110, 14.2: a range has a meaning for GET alone.
    let asked = match *request.method() {
        Method::GET => condition::range(request.headers(), &etag),
        _ => None,
    };
    let (status, range) = match asked {
        None => (StatusCode::OK, 0..blob.size),
        Some(asked) => match asked.resolve(blob.size) {
            Some(range) => (StatusCode::PARTIAL_CONTENT, range),
            None => {
                let error = ApiError::range_not_satisfiable(blob.size);
                return Ok(describe(error.into_response()));
            }
        },
    };
    let length = range.end - range.start;
    let mut response = describe(empty(status));
    if status == StatusCode::PARTIAL_CONTENT {
        let (first, last) = (range.start, range.end - 1);
        let value = format!("bytes {first}-{last}/{}", blob.size);
        response = with(response, CONTENT_RANGE, value);
    }
    // A blob is whatever somebody pushed. A browser must neither guess its type nor show it.
    response = with(response, CONTENT_TYPE, "application/octet-stream");
    response = with(response, CONTENT_DISPOSITION, "attachment");
    response = with(response, CONTENT_LENGTH, length);
    if request.method() == Method::GET {
        // Whoever serves the connection says whether it knows places of files.
        let delivery = request.extensions().get::<Delivery>();
        let bytes = blob.deliver(range, delivery.copied().unwrap_or_default());
        *response.body_mut() = Body::new(SizedBody::new(bytes, length));
    }
    Ok(response)
}

/// DELETE: the repository no longer holds the blob.
pub async fn delete(
    registry: &Registry,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Response, ApiError> {
    registry.delete_blob(name, digest).await?;
    Ok(empty(StatusCode::ACCEPTED))
}
