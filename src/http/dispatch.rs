//! From a route and a method to the handler that answers them: the whole API on one screen.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tracing::Instrument;

use crate::auth::policy::Reason;
use crate::auth::{AuthError, ClientCertificate, Identity};
use crate::spans::span;

use super::admin::Operator;
use super::audit::{Trail, Watch};
use super::challenge::Challenge;
use super::error::{ApiError, TooNarrow};
use super::metrics::{self, Limit};
use super::middleware::{Actor, Surface, Target, observed};
use super::query::Query;
use super::router::{Need, Route, TOKEN_PATH};
use super::transport::Peer;
use super::v2::{base, blobs, catalog, manifests, referrers, tags, uploads};
use super::{Api, health, token};

/// The API as a router of its own: it can stand alone or be merged into another.
pub fn embeddable(api: Api) -> Router {
    let metrics = api.metrics.clone();
    // One handler for all of it: `Route` knows the paths. The patterns only keep what is
    // somebody else's from coming here when the router is merged into theirs.
    let router = match api.auth.makes_tokens() {
        true => Router::new().route(TOKEN_PATH, any(serve)),
        false => Router::new(),
    };
    let router = router
        .route("/healthz", any(serve))
        .route("/readyz", any(serve))
        .route("/v2", any(serve))
        .route("/v2/", any(serve))
        .route("/v2/{*rest}", any(serve))
        .with_state(api);
    observed(router, metrics, Surface::Registry)
}

/// The API alone on a port: whatever else is asked for is told that it is not there.
pub fn standalone(api: Api) -> Router {
    let metrics = api.metrics.clone();
    let router = Router::new().fallback(serve).with_state(api);
    observed(router, metrics, Surface::Registry)
}

/// The registry's part of the API for the operator, who may do everything, is counted by no limit and
/// named in the audit log; and whether it can serve, which cannot always be asked at the port. Whoever serves it says who it is, by [`Operator`] as an extension of the request;
/// without that it is a client like any other.
pub fn operated(api: Api) -> Router {
    Router::new()
        .route("/readyz", any(serve))
        .route("/v2/", any(serve))
        .route("/v2/{*rest}", any(serve))
        .with_state(api)
}

async fn serve(State(api): State<Api>, mut request: Request) -> Response {
    let target = request.extensions_mut().remove::<Target>();
    let target = target.unwrap_or_else(|| Route::parse(request.uri().path()));
    let challenge = Challenge::of(&api, &target, &request);
    let watch = Watch::begin(&api, &target, &request);
    let mut response = match answer(&api, target, request, &watch.trail()).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    let told = watch.end(&response);
    told.await;
    if response.status() == StatusCode::UNAUTHORIZED {
        let narrow = response.extensions().get::<TooNarrow>().is_some();
        let headers = response.headers_mut();
        headers.insert(WWW_AUTHENTICATE, challenge.header(narrow));
    }
    // How clients have told this API from others since before there was a specification.
    response.headers_mut().insert(
        HeaderName::from_static("docker-distribution-api-version"),
        HeaderValue::from_static("registry/2.0"),
    );
    response
}

async fn answer(
    api: &Api,
    target: Target,
    request: Request,
    trail: &Trail,
) -> Result<Response, ApiError> {
    let is_probe = target.as_ref().is_ok_and(Route::is_probe);
    let caller = match is_probe {
        true => None,
        false => Some(caller(api, request.headers(), request.extensions(), trail).await?),
    };
    let actor = caller.as_ref().and_then(Identity::actor);
    let answered = admit(api, caller, target, request, trail).await;
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    if let Some(actor) = actor {
        response.extensions_mut().insert(Actor(actor));
    }
    Ok(response)
}

/// Answers whoever may have an answer. `None` asks for a probe.
async fn admit(
    api: &Api,
    caller: Option<Identity>,
    target: Target,
    request: Request,
    trail: &Trail,
) -> Result<Response, ApiError> {
    let is_stranger = caller.as_ref().is_some_and(Identity::is_anonymous);
    // Only somebody who was let in learns what a path means.
    let unknown = |error: ApiError| match is_stranger {
        true => AuthError::Unauthenticated.into(),
        false => error,
    };
    let method = request.method().clone();
    let route = target.map_err(|error| unknown(ApiError::no_route(error, &method)))?;
    if !route.allows(&method) {
        return Err(unknown(ApiError::method_not_allowed(route.allow())));
    }
    match &caller {
        Some(caller) => permit(caller, route.needs(&method), trail)?,
        None if route.needs(&method) == Need::Nothing => {}
        None => return Err(AuthError::Unauthenticated.into()),
    }
    match (&route, &caller) {
        (Route::Token, Some(caller)) => {
            return token::answer(api, caller.clone(), request, trail).await;
        }
        (Route::Metrics, Some(caller)) => {
            let peer = request.extensions().get().copied();
            let from = api.origin.client(request.headers(), peer);
            return metrics::get(api, caller, from).await;
        }
        _ => {}
    }
    if api.read_only && method != Method::GET && method != Method::HEAD {
        return Err(ApiError::read_only(route.allow()));
    }
    let query = Query::parse(request.uri().query())?;
    let allow = route.allow();
    handle(api, caller, route, method, query, request, trail)
        .await
        .map_err(|error| error.with_allow(&allow.replace(", DELETE", "")))
}

/// Every route with every method that it answers.
async fn handle(
    api: &Api,
    caller: Option<Identity>,
    route: Route,
    method: Method,
    query: Query,
    request: Request,
    trail: &Trail,
) -> Result<Response, ApiError> {
    let acting = caller.as_ref().and_then(Identity::actor);
    let acting = acting.map(|actor| api.registry.acting_as(&actor));
    // [storage] delete is about clients.
    let acting = match caller.as_ref().is_some_and(Identity::is_operator) {
        true => acting.map(|registry| registry.with_deletes()),
        false => acting,
    };
    let registry = acting.as_ref().unwrap_or(&api.registry);
    match (route, method.as_str()) {
        (Route::Healthz, _) => Ok(health::alive()),
        (Route::Readyz, _) => health::ready(api).await,
        (Route::Base | Route::Token | Route::Metrics, _) => Ok(base::get()),
        (Route::Catalog, _) => catalog::get(registry, caller, &query),
        (Route::Tags(name), _) => tags::get(registry, &name, &query),
        (Route::Referrers(name, digest), _) => referrers::get(registry, &name, &digest, &query),
        (Route::Manifest(name, reference), "PUT") => {
            let trail = trail.clone();
            manifests::put(registry, caller, &name, reference, &query, request, trail).await
        }
        (Route::Manifest(name, reference), "DELETE") => {
            manifests::delete(registry, &name, &reference).await
        }
        (Route::Manifest(name, reference), _) => {
            manifests::get(registry, &name, &reference, &request)
        }
        (Route::Blob(name, digest), "DELETE") => blobs::delete(registry, &name, &digest).await,
        (Route::Blob(name, digest), _) => blobs::get(registry, &name, &digest, request).await,
        (Route::Uploads(name), _) => uploads::post(registry, caller, &name, &query, request).await,
        (Route::Upload(name, id), "PATCH") => uploads::patch(registry, &name, &id, request).await,
        (Route::Upload(name, id), "PUT") => {
            uploads::put(registry, &name, &id, &query, request).await
        }
        (Route::Upload(name, id), "DELETE") => uploads::delete(registry, &name, &id).await,
        (Route::Upload(name, id), _) => uploads::get(registry, &name, &id),
    }
}

/// Who asks, if it is not the one request too many.
async fn caller(
    api: &Api,
    headers: &HeaderMap,
    extensions: &Extensions,
    trail: &Trail,
) -> Result<Identity, ApiError> {
    if extensions.get::<Operator>().is_some() {
        let caller = Identity::operator();
        trail.came(&caller).await;
        return Ok(caller);
    }
    let from = api
        .origin
        .client(headers, extensions.get::<Peer>().copied());
    let too_many =
        |limit| move |wait| ApiError::too_many(limit, "too many requests; come back later", wait);
    let counted = api.limits.count_from(from);
    counted.map_err(too_many(Limit::requests_by_address))?;
    let mut presented = headers.get_all(AUTHORIZATION).iter();
    let authorization = presented.next().map(HeaderValue::to_str);
    let caller = match (authorization, presented.next()) {
        (None, _) => match extensions.get::<Arc<ClientCertificate>>() {
            Some(certificate) => api.auth.check_certificate(certificate)?,
            None => api.auth.check(None, from).await?,
        },
        (Some(Ok(text)), None) => {
            let check = api.auth.check(Some(text), from);
            let checked = check.instrument(span!("authenticate")).await;
            api.metrics.login(checked.is_ok());
            checked.inspect_err(|error| trail.failed(Some(text), *error))?
        }
        // Bytes that are no text, or two logins at once, are nobody's.
        (Some(_), _) => {
            trail.failed(None, AuthError::Unauthenticated);
            return Err(AuthError::Unauthenticated.into());
        }
    };
    trail.came(&caller).await;
    let counted = api.limits.count_by(&caller);
    counted.map_err(too_many(Limit::requests_by_account))?;
    Ok(caller)
}

/// Refuses what the caller may not: by asking for a login whoever has none, for another token whoever
/// has one for less, and else in the same words whether or not there is such a repository.
fn permit(caller: &Identity, need: Need<'_>, trail: &Trail) -> Result<(), ApiError> {
    let decision = match need {
        Need::Nothing => return Ok(()),
        Need::Login if caller.is_anonymous() => return Err(AuthError::Unauthenticated.into()),
        Need::Login => return Ok(()),
        Need::Listing => caller.decide_listing(),
        Need::Any(actions, repository) => caller.decide_any(actions, repository),
    };
    trail.admitted(&decision);
    match decision.reason {
        _ if decision.allowed => Ok(()),
        _ if caller.is_anonymous() => Err(AuthError::Unauthenticated.into()),
        // They were let in, and are not what they were any more.
        Reason::Gone => Err(AuthError::Unauthenticated.into()),
        Reason::OutsideScope => Err(ApiError::too_narrow()),
        reason => {
            let what = match need {
                Need::Any(actions, repository) => format!("{actions} in {repository}"),
                _ => "list repositories".to_owned(),
            };
            Err(ApiError::denied(caller, &what, &reason))
        }
    }
}
