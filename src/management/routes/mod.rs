//! `/api/v1`: every route, and the OpenAPI document that is made of the same lines.
//!
//! The modules below take requests apart; what they ask for is done by the modules beside.

mod access;
mod changes;
mod content;
mod files;
mod operations;
mod reports;
mod tokens;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::changes::TAGS_MAX;
use super::{Caller, Management};
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::query::Query;

pub use content::tag_query;
pub use files::{attachment, layer};

/// Where all of it is.
pub const BASE: &str = "/api/v1";

/// The most bytes of a body: [`TAGS_MAX`] of the longest tags, and some room.
const BODY_BYTES_MAX: usize = TAGS_MAX * 136 + 4096;

/// Why there is no other answer, as `http::error` writes it.
#[derive(Serialize, ToSchema)]
struct Errors {
    /// One as a rule.
    errors: Vec<ErrorEntry>,
}

/// An error.
#[derive(Serialize, ToSchema)]
struct ErrorEntry {
    /// A code of the distribution specification.
    #[schema(example = "DENIED")]
    code: String,
    /// What is wrong, and what to do.
    message: String,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Drift management API",
        description = "What people and their tools ask of a registry beyond pushing and pulling. The accounts and the policy are those of the registry: what a caller may not pull is not shown here either. Times are milliseconds since 1970, sizes are bytes.",
    ),
    components(schemas(Errors, ErrorEntry)),
    security((), ("basic" = []), ("bearer" = [])),
    modifiers(&Schemes),
)]
struct Described;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let basic = Http::new(HttpAuthScheme::Basic);
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
        let bearer = Http::new(HttpAuthScheme::Bearer);
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// All routes, and the document of them.
fn described() -> (Router<Management>, utoipa::openapi::OpenApi) {
    let routes = OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(content::overview))
        .routes(routes!(content::growth))
        .routes(routes!(content::repositories))
        .routes(routes!(content::tags))
        .routes(routes!(content::history))
        .routes(routes!(content::why))
        .routes(routes!(content::manifest))
        .routes(routes!(content::compare))
        .routes(routes!(content::search))
        .routes(routes!(changes::delete_tags))
        .routes(routes!(changes::untag))
        .routes(routes!(changes::undelete_tag))
        .routes(routes!(changes::rollback_tag))
        .routes(routes!(changes::delete_manifest))
        .routes(routes!(changes::undelete_manifest))
        .routes(routes!(changes::delete_repository))
        .routes(routes!(changes::undelete_repository))
        .routes(routes!(files::files))
        .routes(routes!(files::search_files))
        .routes(routes!(files::content))
        .routes(routes!(access::accounts, access::add_account))
        .routes(routes!(access::change_account))
        .routes(routes!(access::set_password))
        .routes(routes!(access::remove_account))
        .routes(routes!(tokens::tokens, tokens::create_token))
        .routes(routes!(tokens::create_access_key))
        .routes(routes!(tokens::revoke_token))
        .routes(routes!(tokens::rotate_key))
        .routes(routes!(access::rules, access::add_rule))
        .routes(routes!(access::remove_rule))
        .routes(routes!(access::test_policy))
        .routes(routes!(operations::operations))
        .routes(routes!(operations::running))
        .routes(routes!(operations::back_up))
        .routes(routes!(operations::cancel_backup))
        .routes(routes!(operations::scrub))
        .routes(routes!(operations::pause_scrub))
        .routes(routes!(operations::collect))
        .routes(routes!(operations::pause_collections))
        .routes(routes!(operations::pause_compaction))
        .routes(routes!(operations::events))
        .routes(routes!(reports::events))
        .routes(routes!(reports::usage))
        .routes(routes!(reports::plan_retention, reports::retain));
    OpenApiRouter::new().nest(BASE, routes).split_for_parts()
}

/// The OpenAPI document, as JSON.
pub fn document() -> Result<String, serde_json::Error> {
    let (_, mut document) = described();
    document.info = Described::openapi().info;
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    serde_json::to_string_pretty(&document)
}

/// Every route of the API.
pub fn router(management: Management) -> Router {
    let (routes, _) = described();
    routes
        .route(&format!("{BASE}/openapi.json"), get(openapi))
        .route(&format!("{BASE}/{{*rest}}"), any(nothing))
        .method_not_allowed_fallback(not_so)
        .with_state(management)
}

async fn openapi() -> Result<Response, ApiError> {
    let document = document().map_err(ApiError::internal)?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, json)], document).into_response())
}

async fn nothing() -> ApiError {
    let message = format!("there is nothing at this path; {BASE}/openapi.json says what there is");
    ApiError::not_found(crate::oci::ErrorCode::Unsupported, message)
}

async fn not_so() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        crate::oci::ErrorCode::Unsupported,
        format!("this method is not served here; {BASE}/openapi.json says which are"),
    )
}

/// JSON, or why there is none.
async fn answer<T: Serialize>(work: impl Future<Output = Result<T, ApiError>>) -> Response {
    respond(async {
        let json = serde_json::to_vec(&work.await?).map_err(ApiError::internal)?;
        let mut response = Response::new(Body::from(json));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        Ok(response)
    })
    .await
}

/// An answer, or why there is none. Nothing keeps it: it is for whoever asked alone, and is old soon.
async fn respond(work: impl Future<Output = Result<Response, ApiError>>) -> Response {
    let mut response = work.await.unwrap_or_else(IntoResponse::into_response);
    let is_stranger = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if is_stranger {
        // Not `Basic`: a browser would ask for a password and send it along from then on, whichever site
        // has it send a request.
        let challenge = HeaderValue::from_static("Bearer realm=\"drift\"");
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// Who orders something, and what.
async fn order<T: DeserializeOwned>(
    management: &Management,
    request: Request,
) -> Result<(Caller, T), ApiError> {
    let (parts, body) = request.into_parts();
    let caller = Caller::of(management, &parts).await?;
    Ok((caller, asked(&parts, body).await?))
}

/// The JSON of a body. Its type has to be said: a form of another site cannot say it (Fetch,
/// "CORS-safelisted request-header").
async fn asked<T: DeserializeOwned>(parts: &Parts, body: Body) -> Result<T, ApiError> {
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|it| it.to_str().ok());
    let essence = content_type
        .and_then(|it| it.split(';').next())
        .map(str::trim);
    if essence != Some("application/json") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            crate::oci::ErrorCode::Unsupported,
            "the Content-Type of what is asked for is application/json",
        ));
    }
    let body = body::gather(&parts.headers, body, "what is asked for", BODY_BYTES_MAX).await?;
    serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request(format!("what is asked for is not understood: {error}"))
    })
}

fn missing(name: &str) -> ApiError {
    ApiError::bad_request(format!("the query lacks {name}"))
}

/// A parameter that has to be there, as what it is.
fn required<T>(query: &Query, name: &str) -> Result<T, ApiError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let text = query.one(name)?.ok_or_else(|| missing(name))?;
    text.parse()
        .map_err(|error: T::Err| ApiError::bad_request(format!("{name}: {error}")))
}

/// A parameter that may be left out or empty, as what it is.
fn given<T>(query: &Query, name: &str) -> Result<Option<T>, ApiError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match query.one(name)? {
        None | Some("") => Ok(None),
        Some(_) => required(query, name).map(Some),
    }
}

/// True or false; false without it.
fn switch(query: &Query, name: &str) -> Result<bool, ApiError> {
    match query.one(name)? {
        None | Some("" | "false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ApiError::bad_request(format!("{name} is true or false"))),
    }
}

/// A number from 1 on.
pub fn number(query: &Query, name: &str, otherwise: usize) -> Result<usize, ApiError> {
    match query.one(name)? {
        None | Some("") => Ok(otherwise),
        Some(text) => match text.parse() {
            Ok(0) | Err(_) => {
                let shown: String = text.chars().take(64).collect();
                let message = format!("{name} = {shown:?} is no number: use 1 and above");
                Err(ApiError::bad_request(message))
            }
            Ok(number) => Ok(number),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_route_once() {
        let document: serde_json::Value = serde_json::from_str(&document().unwrap()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.len() >= 9, "{paths:?}");
        let mut ids = Vec::new();
        for (path, methods) in paths {
            assert!(path.starts_with(BASE), "{path}");
            for method in methods.as_object().unwrap().values() {
                ids.push(method["operationId"].as_str().unwrap().to_owned());
            }
        }
        let unique: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len());
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert!(document["components"]["securitySchemes"]["basic"].is_object());
    }
}
