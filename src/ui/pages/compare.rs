//! Two manifests of a repository side by side.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::Shell;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::management::Caller;
use crate::management::comparison::{Comparison, Side};
use crate::management::manifests::Layer;
use crate::oci::RepositoryName;
use crate::ui::{Ui, answer};

#[derive(Template)]
#[template(path = "compare.html", config = "src/ui/askama.toml")]
struct Page {
    shell: Shell,
    name: String,
    from: String,
    to: String,
    layers: Vec<(String, Layer)>,
    found: Option<Comparison>,
}

/// What differs between two tags or digests; without them, the question.
pub async fn compare(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    repository: &RepositoryName,
    query: &Query,
) -> Result<Response, ApiError> {
    let named = |name| Ok::<_, ApiError>(query.one(name)?.unwrap_or_default().trim().to_owned());
    let (from, to) = (named("from")?, named("to")?);
    caller.require(crate::auth::Action::Pull, repository)?;
    let files = query.one("files")? == Some("true");
    let found = match from.is_empty() || to.is_empty() {
        true => None,
        false => {
            let references = (from.parse()?, to.parse()?);
            let compared =
                ui.management
                    .compare(caller, repository, &references.0, &references.1, files);
            Some(compared.await?)
        }
    };
    let layers = found.iter().flat_map(|found| &found.layers).map(|it| {
        let side = match it.side {
            Side::Both => "both".to_owned(),
            Side::From => from.clone(),
            Side::To => to.clone(),
        };
        (side, it.layer.clone())
    });
    let page = Page {
        shell: Shell::of(&ui.management, Some(caller), uri),
        name: repository.to_string(),
        layers: layers.collect(),
        from,
        to,
        found,
    };
    Ok(answer::page(StatusCode::OK, &page))
}
