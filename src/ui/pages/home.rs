//! The first page.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::Shell;
use crate::http::error::ApiError;
use crate::management::growth::Growth;
use crate::management::overview::Overview;
use crate::management::repositories::Repositories;
use crate::management::{Caller, Management};
use crate::ui::plot::Plot;
use crate::ui::{Ui, answer};

/// Repositories on the first page.
const REPOSITORIES: usize = 20;

#[derive(Template)]
#[template(path = "home.html", config = "src/ui/askama.toml")]
struct Home {
    shell: Shell,
    host: String,
    overview: Overview,
    repositories: Repositories,
    saved: u64,
    growth: Option<Growth>,
    plot: Option<Plot>,
    is_empty: bool,
    needs_login: bool,
    first_steps: Vec<(&'static str, Vec<String>)>,
}

/// What there is at a glance, and on an empty store how the first image comes here.
pub async fn home(ui: &Ui, caller: &Caller, uri: &Uri) -> Result<Response, ApiError> {
    let management: &Management = &ui.management;
    let overview = management.overview(caller).await?;
    let repositories = management.repositories(caller, "", None, REPOSITORIES)?;
    let host = ui.registry_host(caller);
    let needs_login = management.api.auth.makes_tokens();
    let saved = overview
        .store
        .as_ref()
        .map_or(0, |store| store.logical.saturating_sub(store.live));
    let growth = match overview.store {
        Some(_) => Some(management.growth(caller).await?),
        None => None,
    };
    let page = Home {
        plot: growth.as_ref().and_then(|growth| Plot::of(&growth.points)),
        growth,
        shell: Shell::of(management, Some(caller), uri),
        is_empty: repositories.repositories.is_empty() && overview.recent.is_empty(),
        first_steps: first_steps(&host, needs_login, ui.is_plain(caller)),
        host,
        overview,
        repositories,
        saved,
        needs_login,
    };
    Ok(answer::page(StatusCode::OK, &page))
}

/// The lines that push a first image, by engine.
fn first_steps(host: &str, needs_login: bool, is_plain: bool) -> Vec<(&'static str, Vec<String>)> {
    let lines = |engine: &str, insecure: &str| {
        let login = needs_login.then(|| format!("{engine} login{insecure} {host}"));
        let rest = [
            format!("{engine} pull docker.io/library/alpine"),
            format!("{engine} tag docker.io/library/alpine {host}/alpine:latest"),
            format!("{engine} push{insecure} {host}/alpine:latest"),
        ];
        login.into_iter().chain(rest).collect::<Vec<_>>()
    };
    let podman = if is_plain { " --tls-verify=false" } else { "" };
    vec![
        ("Docker", lines("docker", "")),
        ("Podman", lines("podman", podman)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_steps_name_this_host() {
        let steps = first_steps("registry.example.com:5000", true, true);
        let [(_, docker), (_, podman)] = &steps[..] else {
            panic!("{steps:?}");
        };
        assert_eq!(docker[0], "docker login registry.example.com:5000");
        assert_eq!(
            docker[3],
            "docker push registry.example.com:5000/alpine:latest"
        );
        assert!(podman[0].contains("--tls-verify=false"));
        assert_eq!(first_steps("a", false, false)[0].1.len(), 3);
    }
}
