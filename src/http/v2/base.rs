//! `/v2/`: is there a registry here, and am I let in (distribution-spec, "Determining Support").

use axum::http::header::CONTENT_TYPE;
use axum::response::Response;

use super::with;

/// An empty object: some clients parse it.
pub fn get() -> Response {
    with(Response::new("{}".into()), CONTENT_TYPE, "application/json")
}
