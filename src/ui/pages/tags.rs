//! A repository: its tags, and deleting some of them.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::Shell;
use crate::auth::Action;
use crate::http::error::ApiError;
use crate::http::query::{Query, encode};
use crate::management::Caller;
use crate::management::changes::{DeleteTags, DeletedTags};
use crate::management::routes::tag_query;
use crate::management::tags::{Sort, TagQuery, Tags};
use crate::oci::{RepositoryName, Tag};
use crate::ui::{Ui, answer, markdown, place};

#[derive(Template)]
#[template(path = "tags.html", config = "src/ui/askama.toml")]
struct Page {
    shell: Shell,
    name: String,
    said: Option<String>,
    about: Option<About>,
    tags: Tags,
    query: TagQuery,
    sorts: [(&'static str, &'static str); 5],
    may_delete: bool,
}

impl Page {
    fn page_link(&self, page: usize) -> String {
        let reverse = if self.query.reverse {
            "&reverse=true"
        } else {
            ""
        };
        format!(
            "{}?search={}&sort={}{reverse}&page={page}",
            place::repository(&self.name),
            encode(&self.query.search),
            self.query.sort.as_str(),
        )
    }
}

/// What orders are called.
const SORTS: [(&str, &str); 5] = [
    (Sort::Pushed.as_str(), "newest"),
    (Sort::Name.as_str(), "name"),
    (Sort::Version.as_str(), "version"),
    (Sort::Pulled.as_str(), "last pulled"),
    (Sort::Size.as_str(), "size"),
];

/// The tags of a repository, a page of them.
pub async fn tags(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    repository: &RepositoryName,
    query: &Query,
) -> Result<Response, ApiError> {
    let asked = tag_query(query)?;
    let tags = ui
        .management
        .tags(caller, repository, asked.clone())
        .await?;
    let shell = Shell::of(&ui.management, Some(caller), uri);
    let page = Page {
        shell: Shell {
            here_is_repository: true,
            ..shell
        },
        name: repository.to_string(),
        said: said(query)?,
        about: about(ui, caller, repository, &tags).await,
        tags,
        query: asked,
        sorts: SORTS,
        may_delete: caller.identity.may(Action::Delete, repository),
    };
    Ok(answer::page(StatusCode::OK, &page))
}

/// What has just been done. Numbers alone are taken from the query: whoever writes a link writes no text
/// into the page.
fn said(query: &Query) -> Result<Option<String>, ApiError> {
    let number =
        |name: &str| Ok::<_, ApiError>(query.one(name)?.and_then(|it| it.parse::<u32>().ok()));
    let plural = |count| if count == 1 { "" } else { "s" };
    Ok(number("deleted")?.map(|deleted| {
        format!(
            "Deleted {deleted} tag{} or manifest{}.",
            plural(deleted),
            plural(deleted)
        )
    }))
}

/// Tags that are looked at for what the repository is.
const ABOUT_TAGS: usize = 5;

/// What the repository is.
struct About {
    /// As a page, of Markdown.
    readme: String,
    /// Where more of it is: what the link is called, and its address.
    links: Vec<(&'static str, String)>,
    /// Whether it is so long that it stands behind the tags.
    is_long: bool,
}

/// What is longer, in bytes, stands behind the tags.
const SHORT_BYTES_MAX: usize = 300;

/// What the repository is, by the annotations or labels of one of the first images (image-spec,
/// annotations.md).
async fn about(
    ui: &Ui,
    caller: &Caller,
    repository: &RepositoryName,
    tags: &Tags,
) -> Option<About> {
    for tag in tags.tags.iter().take(ABOUT_TAGS) {
        let reference = tag.digest.parse().ok()?;
        let found = ui.management.manifest(caller, repository, &reference).await;
        let Ok((manifest, _)) = found else { continue };
        let labels = manifest.image.map(|image| image.labels).unwrap_or_default();
        let said = |name: &str| {
            let name = format!("org.opencontainers.image.{name}");
            let said = manifest.annotations.get(&name).or(labels.get(&name));
            said.filter(|text| !text.trim().is_empty())
        };
        if let Some(description) = said("description") {
            let links = [
                ("Source", "source"),
                ("Documentation", "documentation"),
                ("Home", "url"),
            ];
            let links = links.into_iter().filter_map(|(name, annotation)| {
                let address = said(annotation).filter(|it| markdown::is_web(it))?;
                Some((name, address.clone()))
            });
            return Some(About {
                is_long: description.len() > SHORT_BYTES_MAX,
                readme: markdown::to_html(description),
                links: links.collect(),
            });
        }
    }
    None
}

#[derive(Template)]
#[template(path = "delete.html", config = "src/ui/askama.toml")]
struct Delete {
    shell: Shell,
    name: String,
    plan: DeletedTags,
    chosen: Vec<String>,
}

/// Deletes the tags of a form; without its `sure` it is asked first, with what it comes to.
pub async fn delete(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    repository: &RepositoryName,
    form: &Query,
) -> Result<Response, ApiError> {
    let chosen: Vec<Tag> = form
        .all("tag")
        .map(|tag| {
            tag.parse()
                .map_err(|error| ApiError::bad_request(format!("{error}")))
        })
        .collect::<Result<_, ApiError>>()?;
    if chosen.is_empty() {
        return Ok(answer::see_other(&place::repository(repository.as_str())));
    }
    let is_sure = form.one("sure")? == Some("yes");
    let asked = DeleteTags {
        repository: repository.clone(),
        tags: chosen.clone(),
        dry_run: !is_sure,
    };
    // Whoever may not delete is told so before they are asked whether they are sure.
    caller.require(Action::Delete, repository)?;
    let plan = ui.management.delete_tags(caller, asked).await?;
    if let Some(refused) = plan.refused.first() {
        let count = plan.refused.len();
        let message = format!(
            "{count} could not be deleted; {}: {}",
            refused.reference, refused.reason
        );
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            crate::oci::ErrorCode::Denied,
            message,
        ));
    }
    if is_sure {
        let deleted = plan.tags.len() + plan.manifests.len();
        let path = place::repository(repository.as_str());
        return Ok(answer::see_other(&format!("{path}?deleted={deleted}")));
    }
    let page = Delete {
        shell: Shell::of(&ui.management, Some(caller), uri),
        name: repository.to_string(),
        plan,
        chosen: chosen.iter().map(ToString::to_string).collect(),
    };
    Ok(answer::page(StatusCode::OK, &page))
}
