//! Styles, scripts and the picture, compiled in. A page names them with a digest of them all, so that
//! browsers may keep them for as long as they like.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};

use crate::digest::{Algorithm, Digest};
use crate::http::error::ApiError;
use crate::oci::ErrorCode;

/// Name, media type and bytes. htmx is of its authors, under the Zero-Clause BSD licence.
const ASSETS: [(&str, &str, &[u8]); 4] = [
    (
        "drift.css",
        "text/css; charset=utf-8",
        include_bytes!("assets/drift.css"),
    ),
    (
        "drift.js",
        "text/javascript; charset=utf-8",
        include_bytes!("assets/drift.js"),
    ),
    (
        "drift.svg",
        "image/svg+xml",
        include_bytes!("assets/drift.svg"),
    ),
    (
        "htmx.js",
        "text/javascript; charset=utf-8",
        include_bytes!("assets/htmx.js"),
    ),
];

/// What tells these files from those of another build.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all: Vec<u8> = ASSETS
        .iter()
        .flat_map(|(.., bytes)| bytes.iter().copied())
        .collect();
    let digest = Digest::of(Algorithm::Sha256, &all).to_string();
    digest.chars().skip("sha256:".len()).take(12).collect()
});

/// `/assets/NAME`
pub async fn get(uri: Uri) -> Response {
    let name = uri.path().trim_start_matches("/assets/");
    let Some((_, content_type, bytes)) = ASSETS.iter().find(|(known, ..)| *known == name) else {
        let error = ApiError::not_found(ErrorCode::Unsupported, "there is no such file");
        return error.into_response();
    };
    let mut response = Response::new(Body::from(*bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(CACHE_CONTROL, kept);
    response
}
