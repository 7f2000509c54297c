//! The timeline of a tag, and the ways back.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::Shell;
use crate::auth::Action;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::management::Caller;
use crate::management::changes::{RollbackTag, UndeleteTag};
use crate::management::history::Moment;
use crate::oci::{RepositoryName, Tag};
use crate::registry::history::Presence;
use crate::registry::tables::TagChange;
use crate::ui::{Ui, answer, place};

#[derive(Template)]
#[template(path = "timeline.html", config = "src/ui/askama.toml")]
struct Page {
    shell: Shell,
    name: String,
    tag: String,
    said: Option<&'static str>,
    moments: Vec<Line>,
    is_gone: bool,
    may_undelete: bool,
}

struct Line {
    moment: Moment,
    what: &'static str,
    presence: &'static str,
    is_live: bool,
    is_now: bool,
    may_go_back: bool,
}

/// Where a tag pointed, newest first.
pub fn timeline(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    repository: &RepositoryName,
    tag: &Tag,
    query: &Query,
) -> Result<Response, ApiError> {
    let moments = ui.management.history(caller, repository, tag)?;
    let is_gone = moments.first().is_some_and(|it| it.change.is_delete());
    let now = moments
        .first()
        .filter(|_| !is_gone)
        .map(|it| it.digest.clone());
    let may_overwrite = caller.identity.may(Action::Overwrite, repository);
    let lines = moments.into_iter().map(|moment| {
        let is_now = now.as_ref() == Some(&moment.digest);
        let is_back = moment.manifest != Presence::Purged && !moment.change.is_delete();
        Line {
            what: what(moment.change),
            presence: match moment.manifest {
                Presence::Live => "",
                Presence::Deleted => "deleted, can come back",
                Presence::Purged => "gone for good",
            },
            is_live: moment.manifest == Presence::Live,
            is_now,
            may_go_back: may_overwrite && !is_gone && !is_now && is_back,
            moment,
        }
    });
    let page = Page {
        shell: Shell::of(&ui.management, Some(caller), uri),
        name: repository.to_string(),
        tag: tag.to_string(),
        said: match query.one("done")? {
            Some("rollback") => Some("The tag points back."),
            Some("undelete") => Some("The tag is back."),
            _ => None,
        },
        moments: lines.collect(),
        is_gone,
        may_undelete: caller.identity.may(Action::PushNew, repository),
    };
    Ok(answer::page(StatusCode::OK, &page))
}

fn what(change: TagChange) -> &'static str {
    match change {
        TagChange::Found => "was there before there was a history",
        TagChange::Pushed => "pushed",
        TagChange::Deleted => "deleted",
        TagChange::DeletedWithManifest => "deleted with its manifest",
        TagChange::RolledBack => "pointed back",
        TagChange::Undeleted => "brought back",
    }
}

/// Points a tag back, as a form says.
pub async fn rollback(
    ui: &Ui,
    caller: &Caller,
    repository: RepositoryName,
    tag: Tag,
    form: &Query,
) -> Result<Response, ApiError> {
    let digest = form.one("digest")?.map(str::parse).transpose()?;
    let path = place::tag(repository.as_str(), tag.as_str());
    let asked = RollbackTag {
        repository,
        tag,
        digest,
    };
    ui.management.rollback_tag(caller, asked).await?;
    Ok(answer::see_other(&format!(
        "{path}/-/timeline?done=rollback"
    )))
}

/// Brings a tag back.
pub async fn undelete(
    ui: &Ui,
    caller: &Caller,
    repository: RepositoryName,
    tag: Tag,
) -> Result<Response, ApiError> {
    let path = place::tag(repository.as_str(), tag.as_str());
    ui.management
        .undelete_tag(caller, UndeleteTag { repository, tag })
        .await?;
    Ok(answer::see_other(&format!(
        "{path}/-/timeline?done=undelete"
    )))
}
