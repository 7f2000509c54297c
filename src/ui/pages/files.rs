//! The files of a layer or an image: a directory, what a search has found, and one of them.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use futures::StreamExt;

use super::Shell;
use crate::http::error::ApiError;
use crate::http::query::{Query, encode};
use crate::layers::name::shown;
use crate::management::Caller;
use crate::management::files::{File, FileQuery, Files, PAGE_FILES};
use crate::management::routes::{attachment, layer};
use crate::oci::{Reference, RepositoryName};
use crate::ui::{Ui, answer, place};

/// The most of a file that is shown, in bytes. The whole of it is to be had.
const SHOWN_BYTES_MAX: usize = 256 * 1024;

#[derive(Template)]
#[template(path = "files.html", config = "src/ui/askama.toml")]
struct Page {
    shell: Shell,
    name: String,
    title: String,
    at: At,
    path: String,
    search: String,
    found: Files,
}

#[derive(Template)]
#[template(path = "file.html", config = "src/ui/askama.toml")]
struct FilePage {
    shell: Shell,
    name: String,
    title: String,
    at: At,
    path: String,
    file: File,
    /// `None` of what is no text.
    text: Option<String>,
    is_cut: bool,
}

/// Where the files of a layer or image are on the page.
struct At {
    /// The page of the manifest.
    manifest: String,
    /// Its name.
    reference: String,
    /// The layer, if it is about one.
    layer: Option<String>,
}

impl At {
    fn new(
        repository: &RepositoryName,
        reference: &Reference,
        query: &Query,
    ) -> Result<Self, ApiError> {
        let name = repository.as_str();
        let (manifest, reference) = match reference {
            Reference::Tag(tag) => (place::tag(name, tag.as_str()), format!("{name}:{tag}")),
            Reference::Digest(digest) => {
                let digest = digest.to_string();
                let short = format!("{name}@{}", crate::ui::text::short(&digest));
                (place::manifest(name, &digest), short)
            }
        };
        Ok(At {
            manifest,
            reference,
            layer: layer(query)?.map(|it| it.to_string()),
        })
    }

    fn view(&self, view: &str, parameter: &str, value: &str) -> String {
        let layer = self.layer.iter().map(|it| format!("layer={it}&"));
        let layer: String = layer.collect();
        format!(
            "{}/-/{view}?{layer}{parameter}={}",
            self.manifest,
            encode(value)
        )
    }

    fn directory(&self, path: &str) -> String {
        self.view("files", "path", path)
    }

    fn file(&self, path: &str) -> String {
        self.view("file", "path", path)
    }

    fn download(&self, path: &str) -> String {
        self.view("download", "path", path)
    }

    fn after(&self, path: &str, after: &str) -> String {
        format!("{}&after={}", self.directory(path), encode(after))
    }

    /// The directories above a path and the path itself, with their names.
    fn steps(&self, path: &str) -> Vec<(String, String)> {
        let mut steps = vec![("root".to_owned(), self.directory(""))];
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.chain((!path.is_empty()).then_some(path.len())) {
            let above = &path[..end];
            let name = above.rsplit('/').next().unwrap_or(above);
            steps.push((name.to_owned(), self.directory(above)));
        }
        steps
    }
}

/// A directory, or what a search has found.
pub async fn files(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    repository: &RepositoryName,
    reference: &Reference,
    query: &Query,
) -> Result<Response, ApiError> {
    let at = At::new(repository, reference, query)?;
    let named = |name| Ok::<_, ApiError>(query.one(name)?.unwrap_or_default().to_owned());
    let (path, search, after) = (named("path")?, named("q")?, named("after")?);
    let path = path.trim_matches('/').to_owned();
    let wanted = match search.is_empty() {
        false => FileQuery::Search(search.clone()),
        true => FileQuery::Directory {
            path: path.clone(),
            after,
        },
    };
    let layer = layer(query)?;
    let found = ui.management.files(
        caller,
        repository,
        reference,
        layer.as_ref(),
        &wanted,
        PAGE_FILES,
    );
    let page = Page {
        found: found.await?,
        shell: Shell::of(&ui.management, Some(caller), uri),
        name: repository.to_string(),
        title: title(&at),
        at,
        path,
        search,
    };
    Ok(answer::page(StatusCode::OK, &page))
}

fn title(at: &At) -> String {
    match &at.layer {
        Some(layer) => format!("Files of layer {}", crate::ui::text::short(layer)),
        None => format!("Files of {}", at.reference),
    }
}

/// One file, as far as it is text.
pub async fn file(
    ui: &Ui,
    caller: &Caller,
    uri: &Uri,
    repository: &RepositoryName,
    reference: &Reference,
    query: &Query,
) -> Result<Response, ApiError> {
    let at = At::new(repository, reference, query)?;
    let path = query
        .one("path")?
        .unwrap_or_default()
        .trim_matches('/')
        .to_owned();
    let layer = layer(query)?;
    let opened = ui
        .management
        .open_file(caller, repository, reference, layer.as_ref(), &path);
    let mut opened = opened.await?;
    let mut bytes = Vec::new();
    while bytes.len() <= SHOWN_BYTES_MAX
        && let Some(piece) = opened.content.next().await
    {
        bytes.extend_from_slice(&piece.map_err(ApiError::internal)?);
    }
    let is_cut = bytes.len() > SHOWN_BYTES_MAX;
    bytes.truncate(SHOWN_BYTES_MAX);
    let page = FilePage {
        shell: Shell::of(&ui.management, Some(caller), uri),
        name: repository.to_string(),
        title: crate::layers::tree::split(&path).1.to_owned(),
        at,
        path,
        file: opened.file,
        text: text(bytes, is_cut),
        is_cut,
    };
    Ok(answer::page(StatusCode::OK, &page))
}

/// The bytes as text, if they are some; a character that the cut goes through is left out.
fn text(mut bytes: Vec<u8>, is_cut: bool) -> Option<String> {
    if let Err(error) = std::str::from_utf8(&bytes) {
        let is_at_cut = is_cut && error.error_len().is_none();
        bytes.truncate(is_at_cut.then(|| error.valid_up_to())?);
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then(|| shown(&text.replace("\r\n", "\n")))
}

/// The whole of a file.
pub async fn download(
    ui: &Ui,
    caller: &Caller,
    repository: &RepositoryName,
    reference: &Reference,
    query: &Query,
) -> Result<Response, ApiError> {
    let path = query.one("path")?.unwrap_or_default();
    let layer = layer(query)?;
    let opened = ui
        .management
        .open_file(caller, repository, reference, layer.as_ref(), path);
    Ok(attachment(opened.await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_and_what_is_none_is_not() {
        assert_eq!(
            text(b"a\r\n\x1b[1m".to_vec(), false).as_deref(),
            Some("a\n\\x1b[1m")
        );
        assert_eq!(text(b"a\0".to_vec(), false), None);
        assert_eq!(text(b"a\xff".to_vec(), true), None);
        // The cut goes through a character.
        assert_eq!(text(b"a\xc3".to_vec(), true).as_deref(), Some("a"));
        assert_eq!(text(b"a\xc3".to_vec(), false), None);
    }
}
