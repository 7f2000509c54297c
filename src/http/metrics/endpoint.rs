//! `/metrics`: the figures, for whoever may read them.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;

use crate::auth::{AuthError, Identity};
use crate::http::Api;
use crate::http::error::ApiError;

/// The type of the answer.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers an address that the configuration names, and whoever has the right `metrics`.
pub(in crate::http) async fn get(
    api: &Api,
    caller: &Identity,
    from: Option<IpAddr>,
) -> Result<Response, ApiError> {
    let named = from.is_some_and(|from| api.metrics_from.iter().any(|net| net.contains(&from)));
    if !named {
        let decision = caller.decide_metrics();
        if !decision.allowed {
            return Err(match caller.is_anonymous() {
                true => AuthError::Unauthenticated.into(),
                false => ApiError::denied(caller, "read the metrics", &decision.reason),
            });
        }
    }
    let api = api.clone();
    let text =
        tokio::task::spawn_blocking(move || api.metrics.text(&api.registry, &api.auth)).await;
    let text = text.map_err(ApiError::internal)?;
    let text = text.map_err(ApiError::internal)?;
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, OPEN_METRICS);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
