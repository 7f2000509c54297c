//! What a search has found.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::Shell;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::management::Caller;
use crate::management::search::SearchResult;
use crate::ui::{Ui, answer};

#[derive(Template)]
#[template(path = "search.html", config = "src/ui/askama.toml")]
struct Search {
    shell: Shell,
    found: Option<SearchResult>,
}

/// What there is of a name.
pub async fn search(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    query: &Query,
) -> Result<Response, ApiError> {
    let text = query.one("q")?.unwrap_or_default();
    let found = match text.trim().is_empty() {
        true => None,
        false => Some(ui.management.search(caller, text).await?),
    };
    let shell = Shell::of(&ui.management, Some(caller), uri);
    let page = Search {
        shell: Shell {
            query: text.to_owned(),
            ..shell
        },
        found,
    };
    Ok(answer::page(StatusCode::OK, &page))
}
