//! A manifest.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::Shell;
use crate::http::error::ApiError;
use crate::management::Caller;
use crate::management::manifests::{Kind, Layer, Manifest};
use crate::oci::{Reference, RepositoryName};
use crate::ui::{Ui, answer};

#[derive(Template)]
#[template(path = "manifest.html", config = "src/ui/askama.toml")]
struct Page {
    shell: Shell,
    name: String,
    title: String,
    manifest: Manifest,
    /// Each with its share of the largest, in 100 parts.
    layers: Vec<(Layer, u64)>,
    pulls: Vec<(&'static str, String)>,
    raw: String,
}

/// The most of a manifest's text that is shown, in bytes. The whole of it is to be had by its digest.
const RAW_BYTES_MAX: usize = 64 * 1024;

/// The manifest that a tag or digest names.
pub async fn manifest(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response, ApiError> {
    let (mut manifest, stored) = ui
        .management
        .manifest(caller, repository, reference)
        .await?;
    let title = match reference {
        Reference::Tag(tag) => format!("{repository}:{tag}"),
        Reference::Digest(digest) => {
            format!(
                "{repository}@{}",
                crate::ui::text::short(&digest.to_string())
            )
        }
    };
    let largest = manifest.layers.iter().map(|it| it.bytes).max();
    let largest = largest.unwrap_or(0).max(1);
    let layers = std::mem::take(&mut manifest.layers).into_iter();
    let layers = layers.map(|layer| {
        let share = u128::from(layer.bytes) * 100 / u128::from(largest);
        (layer, u64::try_from(share).unwrap_or(100).max(1))
    });
    let host = ui.registry_host(caller);
    let page = Page {
        shell: Shell::of(&ui.management, Some(caller), uri),
        name: repository.to_string(),
        title,
        layers: layers.collect(),
        pulls: pulls(&host, repository, reference, &manifest, ui.is_plain(caller)),
        raw: raw(&stored.bytes),
        manifest,
    };
    Ok(answer::page(StatusCode::OK, &page))
}

/// How it is pulled, by the clients that know such a thing.
fn pulls(
    host: &str,
    repository: &RepositoryName,
    reference: &Reference,
    manifest: &Manifest,
    is_plain: bool,
) -> Vec<(&'static str, String)> {
    let digest = &manifest.digest;
    let named = match reference {
        Reference::Tag(tag) => format!("{host}/{repository}:{tag}"),
        Reference::Digest(_) => format!("{host}/{repository}@{digest}"),
    };
    let pinned = format!("{host}/{repository}@{digest}");
    let insecure = if is_plain { " --tls-verify=false" } else { "" };
    let plain = if is_plain { " --plain-http" } else { "" };
    let is_chart = manifest
        .artifact_type
        .as_deref()
        .is_some_and(|it| it.contains("helm"));
    if is_chart {
        return vec![(
            "the line for Helm",
            format!("helm pull{plain} oci://{named}"),
        )];
    }
    if manifest.kind == Kind::Artifact {
        return vec![("the line for oras", format!("oras pull{plain} {pinned}"))];
    }
    let mut lines = vec![
        ("the line for Docker", format!("docker pull {named}")),
        (
            "the line for Podman",
            format!("podman pull{insecure} {named}"),
        ),
        (
            "the line for containerd",
            format!("ctr images pull{plain} {named}"),
        ),
    ];
    if named != pinned {
        lines.push(("the line by digest", format!("docker pull {pinned}")));
    }
    lines
}

/// The manifest's text, indented if it is not too long for that.
fn raw(bytes: &[u8]) -> String {
    let value = serde_json::from_slice::<serde_json::Value>(bytes).ok();
    let indented = value.and_then(|value| serde_json::to_string_pretty(&value).ok());
    let mut text = indented.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    if text.len() > RAW_BYTES_MAX {
        let end = (0..=RAW_BYTES_MAX)
            .rev()
            .find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push_str("\n… cut here");
    }
    text
}
