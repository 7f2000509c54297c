//! `/token`: a signed token for a login, or for none (the Docker token protocol: a GET with the login
//! in its header, or a POST as OAuth 2 has it).

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::auth::scope::Scope;
use crate::auth::{AuthError, Identity};
use crate::oci::ErrorCode;

use super::audit::Trail;
use super::error::ApiError;
use super::query::Query;
use super::transport::Peer;
use super::{Api, body};

/// Longest form of a POST, in bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// The grant by which the token of another becomes one of ours (RFC 8693).
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The types of tokens that are taken for that, and of that which is given.
const TAKEN: [&str; 2] = [
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:ietf:params:oauth:token-type:jwt",
];
const GIVEN: [&str; 2] = [
    "urn:ietf:params:oauth:token-type:access_token",
    "urn:ietf:params:oauth:token-type:jwt",
];

#[derive(Serialize)]
struct Answer<'a> {
    /// The same twice: one name is Docker's, the other OAuth's.
    token: &'a str,
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    issued_at: String,
    scope: String,
    /// Of an exchange alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
}

/// The token, for what of the scopes whoever asks may do.
pub async fn answer(
    api: &Api,
    caller: Identity,
    request: Request,
    trail: &Trail,
) -> Result<Response, ApiError> {
    if !api.auth.makes_tokens() {
        return Err(ApiError::not_found(
            ErrorCode::Unsupported,
            "this registry makes no tokens",
        ));
    }
    let (parts, body) = request.into_parts();
    let (caller, form) = match parts.method {
        Method::POST => {
            let form = body::gather(&parts.headers, body, "the form", FORM_BYTES_MAX).await?;
            let form = std::str::from_utf8(&form)
                .map_err(|_| ApiError::bad_request("the form is not UTF-8"))?;
            let form = Query::parse_form(Some(form))?;
            let peer = parts.extensions.get::<Peer>().copied();
            let from = api.origin.client(&parts.headers, peer);
            (of_form(api, caller, &form, from, trail).await?, form)
        }
        _ => (caller, Query::parse_form(parts.uri.query())?),
    };
    let scope = Scope::parse(form.all("scope"))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let signed = caller.sign(scope);
    let (signed, given) = signed.ok_or(AuthError::Unauthenticated)?;
    let signed = signed.map_err(ApiError::internal)?;
    let is_exchange = form.one("grant_type")? == Some(EXCHANGE);
    let scope: Vec<_> = given
        .repositories
        .iter()
        .map(|(name, actions)| format!("repository:{name}:{actions}"))
        .collect();
    let issued = UNIX_EPOCH + Duration::from_secs(signed.issued);
    let scope = scope.join(" ");
    trail.granted(&scope);
    let answer = serde_json::to_vec(&Answer {
        token: &signed.token,
        access_token: &signed.token,
        token_type: "Bearer",
        expires_in: signed.lifetime.as_secs(),
        issued_at: humantime::format_rfc3339_seconds(issued).to_string(),
        scope,
        issued_token_type: is_exchange.then_some(GIVEN[0]),
    });
    let mut response = Response::new(Body::from(answer.map_err(ApiError::internal)?));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Who is behind a form. A login in the header counts where the form has none.
async fn of_form(
    api: &Api,
    caller: Identity,
    form: &Query,
    from: Option<IpAddr>,
    trail: &Trail,
) -> Result<Identity, ApiError> {
    let log_in = async |name: &str, password: &str| {
        let identity = api.auth.log_in(name, password, from).await;
        api.metrics.login(identity.is_ok());
        let identity = identity.inspect_err(|error| trail.failed_as(name, password, *error))?;
        trail.came(&identity).await;
        Ok::<_, ApiError>(identity)
    };
    let missing = |what| ApiError::bad_request(format!("the form lacks {what}"));
    match form.one("grant_type")? {
        Some("password") => {
            let name = form.one("username")?.ok_or_else(|| missing("username"))?;
            let password = form.one("password")?.ok_or_else(|| missing("password"))?;
            log_in(name, password).await
        }
        // A token for machines is what clients can keep in place of a password.
        Some("refresh_token") => {
            let token = form.one("refresh_token")?;
            let token = token.ok_or_else(|| missing("refresh_token"))?;
            log_in("", token).await
        }
        Some(EXCHANGE) => {
            let token = form.one("subject_token")?;
            let token = token.ok_or_else(|| missing("subject_token"))?;
            let kind = form.one("subject_token_type")?;
            let kind = kind.ok_or_else(|| missing("subject_token_type"))?;
            if !TAKEN.contains(&kind) {
                let message = format!("subject_token_type is {} or {} here", TAKEN[0], TAKEN[1]);
                return Err(ApiError::bad_request(message));
            }
            let wanted = form.one("requested_token_type")?;
            if wanted.is_some_and(|wanted| !GIVEN.contains(&wanted)) {
                let message = format!("requested_token_type is {} or none here", GIVEN[0]);
                return Err(ApiError::bad_request(message));
            }
            if form.one("actor_token")?.is_some() {
                return Err(ApiError::bad_request(
                    "nobody acts for another here: leave actor_token out",
                ));
            }
            let known = api.auth.exchange(token, from).await;
            let known = known.inspect_err(|error| trail.not_exchanged(*error))?;
            trail.came(&known).await;
            Ok(known)
        }
        None => Ok(caller),
        Some(_) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::Unsupported,
            format!("grant_type is password, refresh_token or {EXCHANGE} here"),
        )),
    }
}
