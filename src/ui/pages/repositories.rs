//! The list of repositories.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::Shell;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::management::Caller;
use crate::management::repositories::{PAGE_REPOSITORIES, Repositories};
use crate::ui::{Ui, answer};

#[derive(Template)]
#[template(path = "repositories.html", config = "src/ui/askama.toml")]
struct Page {
    shell: Shell,
    repositories: Repositories,
    search: String,
    is_later: bool,
}

/// The repositories that somebody may see, a page of them.
pub fn repositories(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    query: &Query,
) -> Result<Response, ApiError> {
    let search = query.one("search")?.unwrap_or_default();
    let after = query.one("after")?;
    let page = Page {
        shell: Shell::of(&ui.management, Some(caller), uri),
        repositories: ui
            .management
            .repositories(caller, search, after, PAGE_REPOSITORIES)?,
        search: search.to_owned(),
        is_later: after.is_some(),
    };
    Ok(answer::page(StatusCode::OK, &page))
}
