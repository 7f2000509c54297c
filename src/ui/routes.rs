//! Every page, and what it needs.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;

use super::place::{self, Place};
use super::{Ui, answer, assets, pages};
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::http::{Surface, body, observed};
use crate::management::{self, Caller};
use crate::oci::{ErrorCode, Reference};

/// The most bytes of a form: 1,000 tags of the longest, and some room.
const FORM_BYTES_MAX: usize = 160 * 1024;

/// The page and `/api/v1`, alone on a port.
pub fn router(ui: Ui) -> Router {
    let metrics = ui.management.api.metrics.clone();
    let router = Router::new()
        .route("/assets/{name}", get(assets::get))
        .fallback(serve)
        .with_state(ui.clone())
        .merge(management::router(ui.management));
    observed(router, metrics, Surface::Page)
}

async fn serve(State(ui): State<Ui>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let uri = &parts.uri;
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    let caller = match Caller::of(&ui.management, &parts).await {
        Ok(caller) => caller,
        Err(error) => {
            return pages::refusal(pages::Shell::of(&ui.management, None, uri), error);
        }
    };
    match answer_to(&ui, &caller, &parts, body).await {
        Ok(response) => response,
        // Whoever is nobody yet is asked who they are, and comes back.
        Err(error) if error.status() == StatusCode::UNAUTHORIZED && is_read => {
            let here = uri.path_and_query().map_or("/", |it| it.as_str());
            answer::see_other(&format!("/login?next={}", crate::http::query::encode(here)))
        }
        Err(error) => {
            let shell = pages::Shell::of(&ui.management, Some(&caller), uri);
            pages::refusal(shell, error)
        }
    }
}

async fn answer_to(
    ui: &Ui,
    caller: &Caller,
    parts: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let uri: &Uri = &parts.uri;
    let query = Query::parse_form(uri.query())?;
    if parts.method == Method::POST {
        let form = body::gather(&parts.headers, body, "the form", FORM_BYTES_MAX).await?;
        let form = std::str::from_utf8(&form)
            .map_err(|_| ApiError::bad_request("the form is not UTF-8"))?;
        return posted(ui, caller, uri, &Query::parse_form(Some(form))?).await;
    }
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return Err(ApiError::method_not_allowed("GET, HEAD, POST"));
    }
    match uri.path() {
        "/" => pages::home(ui, caller, uri).await,
        "/login" => pages::login_form(ui, caller, uri, &query),
        "/repositories" => pages::repositories(ui, caller, uri, &query),
        "/access" => pages::access(ui, caller, uri, &query).await,
        "/operations" => pages::operations(ui, caller, uri, &query).await,
        "/operations/running" => pages::running(ui, caller, uri).await,
        "/search" => pages::search(ui, caller, uri, &query).await,
        path => {
            let place = Place::parse(path).ok_or_else(nothing)?;
            let (repository, view) = (&place.repository, place.view.as_deref());
            match (&place.reference, view) {
                (None, None) => pages::tags(ui, caller, uri, repository, &query).await,
                (Some(reference), None) => {
                    pages::manifest(ui, caller, uri, repository, reference).await
                }
                (Some(reference), Some("files")) => {
                    pages::files(ui, caller, uri, repository, reference, &query).await
                }
                (Some(reference), Some("file")) => {
                    pages::file(ui, caller, uri, repository, reference, &query).await
                }
                (Some(reference), Some("download")) => {
                    pages::download(ui, caller, repository, reference, &query).await
                }
                (Some(Reference::Tag(tag)), Some("timeline")) => {
                    pages::timeline(ui, caller, uri, repository, tag, &query)
                }
                (None, Some("compare")) => {
                    pages::compare(ui, caller, uri, repository, &query).await
                }
                // A page that was asked for again, whose form is gone.
                (None, Some("delete")) => {
                    Ok(answer::see_other(&place::repository(repository.as_str())))
                }
                _ => Err(nothing()),
            }
        }
    }
}

async fn posted(ui: &Ui, caller: &Caller, uri: &Uri, form: &Query) -> Result<Response, ApiError> {
    match uri.path() {
        "/login" => pages::log_in(ui, caller, uri, form).await,
        "/logout" => Ok(pages::log_out(ui, caller)),
        path if path.starts_with("/access/") => pages::change_access(ui, caller, uri, form).await,
        path if path.starts_with("/operations/") => pages::operate(ui, caller, uri, form).await,
        path => {
            let Place {
                repository,
                reference,
                view,
            } = Place::parse(path).ok_or_else(nothing)?;
            match (reference, view.as_deref()) {
                (None, Some("delete")) => pages::delete(ui, caller, uri, &repository, form).await,
                (Some(Reference::Tag(tag)), Some("rollback")) => {
                    pages::rollback(ui, caller, repository, tag, form).await
                }
                (Some(Reference::Tag(tag)), Some("undelete")) => {
                    pages::undelete(ui, caller, repository, tag).await
                }
                _ => Err(nothing()),
            }
        }
    }
}

pub(super) fn nothing() -> ApiError {
    ApiError::not_found(ErrorCode::Unsupported, "There is no such page.")
}
