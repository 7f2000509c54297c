//! What runs beside the requests, and who did what.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::Shell;
use crate::audit::{Event, Verdict};
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::management::Caller;
use crate::management::operations::{
    Collect, Collection, EventQuery, Operations, Pack, Pause, Running,
};
use crate::ui::{Ui, answer};

/// Packs that are shown.
const PACKS_MAX: usize = 100;

/// Events that are shown.
const EVENTS_MAX: u64 = 50;

#[derive(Template)]
#[template(path = "operations.html", config = "src/ui/askama.toml")]
struct Page {
    shell: Shell,
    said: Option<String>,
    due: Collection,
    /// Each with what of it is alive and what is freed, in 100 parts.
    packs: Vec<(Pack, u64, u64)>,
    more_packs: usize,
    operations: Operations,
    running: Running,
    asked: (String, String, bool),
    events: Option<Vec<Line>>,
}

/// What is under way alone, for those who look at it again and again.
#[derive(Template)]
#[template(path = "running.html", config = "src/ui/askama.toml")]
struct RunningPage {
    shell: Shell,
    running: Running,
}

/// An event.
struct Line {
    at_ms: u64,
    who: String,
    from: Option<String>,
    what: String,
    denied: bool,
    count: u64,
    reason: String,
}

impl From<Event> for Line {
    fn from(event: Event) -> Self {
        let object = match (&event.repository, &event.reference, &event.digest) {
            (Some(name), Some(tag), _) => Some(format!("{name}:{tag}")),
            (Some(name), None, Some(digest)) => Some(format!("{name}@{digest}")),
            (Some(name), None, None) => Some(name.clone()),
            (None, reference, _) => reference.clone(),
        };
        let words = [Some(event.action), event.object, object];
        let words: Vec<_> = words.into_iter().flatten().collect();
        Line {
            at_ms: event.at_ms,
            who: event.who,
            from: event.from,
            what: event.command.unwrap_or_else(|| words.join(" ")),
            denied: event.decision == Verdict::Deny,
            count: event.count,
            reason: event.reason.unwrap_or_default(),
        }
    }
}

/// What runs beside the requests, and the events that the query asks for.
pub async fn operations(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    query: &Query,
) -> Result<Response, ApiError> {
    let mut operations = ui.management.operations(caller).await?;
    let due = ui
        .management
        .collect(caller, Collect { dry_run: true })
        .await?;
    let who = query.one("who")?.unwrap_or_default().to_owned();
    let repository = query.one("repository")?.unwrap_or_default().to_owned();
    let denied = query.one("denied")? == Some("true");
    let asked = EventQuery {
        who: Some(who.clone()),
        repository: Some(repository.clone()),
        denied,
        limit: EVENTS_MAX,
    };
    let events = ui.management.events(caller, asked).await?;
    let packs = std::mem::take(&mut operations.packs);
    let more_packs = packs.len().saturating_sub(PACKS_MAX);
    let part = |bytes: u64, of: u64| {
        bytes
            .saturating_mul(100)
            .checked_div(of)
            .unwrap_or(0)
            .min(100)
    };
    let packs = packs.into_iter().take(PACKS_MAX).map(|pack| {
        let live = part(pack.live, pack.allocated);
        let freed = part(pack.freed, pack.allocated).min(100 - live);
        (pack, live, freed)
    });
    let number =
        |name: &str| Ok::<_, ApiError>(query.one(name)?.and_then(|it| it.parse::<u64>().ok()));
    let page = Page {
        shell: Shell::of(&ui.management, Some(caller), uri),
        said: number("collected")?
            .map(|count| format!("Collected: {count} manifests and blobs went.")),
        due,
        packs: packs.collect(),
        more_packs,
        operations,
        running: ui.management.running(caller).await?,
        asked: (who, repository, denied),
        events: events.map(|events| events.into_iter().map(Line::from).collect()),
    };
    Ok(answer::page(StatusCode::OK, &page))
}

/// What is under way, without what takes longer to find out.
pub async fn running(ui: &Ui, caller: &Caller, uri: &Uri) -> Result<Response, ApiError> {
    let page = RunningPage {
        shell: Shell::of(&ui.management, Some(caller), uri),
        running: ui.management.running(caller).await?,
    };
    Ok(answer::page(StatusCode::OK, &page))
}

/// Does what a form says.
pub async fn operate(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    form: &Query,
) -> Result<Response, ApiError> {
    match uri.path() {
        "/operations/collect" => {
            let collected = ui
                .management
                .collect(caller, Collect { dry_run: false })
                .await?;
            let gone = collected.purged + collected.unlinked + collected.removed;
            Ok(answer::see_other(&format!("/operations?collected={gone}")))
        }
        "/operations/backup" => {
            ui.management.back_up(caller).await?;
            Ok(answer::see_other("/operations"))
        }
        "/operations/backup/cancel" => {
            ui.management.cancel_backup(caller).await?;
            Ok(answer::see_other("/operations"))
        }
        "/operations/scrub" => {
            ui.management.scrub(caller).await?;
            Ok(answer::see_other("/operations"))
        }
        "/operations/compaction" => {
            ui.management.pause_compaction(caller, pause(form)?).await?;
            Ok(answer::see_other("/operations"))
        }
        "/operations/scrub/pause" => {
            ui.management.pause_scrub(caller, pause(form)?).await?;
            Ok(answer::see_other("/operations"))
        }
        "/operations/collect/pause" => {
            ui.management
                .pause_collections(caller, pause(form)?)
                .await?;
            Ok(answer::see_other("/operations"))
        }
        _ => Err(crate::ui::routes::nothing()),
    }
}

/// Whether a form has something stand still, or go on.
fn pause(form: &Query) -> Result<Pause, ApiError> {
    Ok(Pause {
        paused: form.one("do")? == Some("pause"),
    })
}
