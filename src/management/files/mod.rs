//! The files of a layer, or of an image, for people to look through.
//!
//! * `explorer`: looks into layers, few at a time, and keeps what it saw
//! * [`changes`]: what differs between two images

pub mod changes;
mod explorer;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::auth::Action;
use crate::digest::Digest;
use crate::ghostbay::engine::ByteStream;
use crate::http::error::ApiError;
use crate::layers::tree::split;
use crate::layers::{Node, Tree};
use crate::oci::image::Entries;
use crate::oci::{ErrorCode, Reference, RepositoryName};
use crate::tar::EntryKind;

pub use explorer::Explorer;
use explorer::Scope;

/// Files that are named at once without a `limit`.
pub const PAGE_FILES: usize = 500;

/// The most that are.
pub const FILES_MAX: usize = 1_000;

/// Files of a directory, or those that a search has found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Files {
    /// The digest of the manifest.
    pub manifest: String,
    /// The layer, if it is about one; otherwise it is about all of them, one upon the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The files, in the order of their names' bytes.
    pub files: Vec<File>,
    /// How many there are in the directory; of a search those that are named.
    pub total: usize,
    /// What to give as `after` for those that follow, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Whether a search has more than are named.
    pub more: bool,
    /// What of the layers is not shown, and why.
    pub notices: Vec<String>,
}

/// A file, directory or link.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct File {
    /// Its path. `\xNN` stands for a byte that is no character or that nobody sees, and for the backslash.
    pub path: String,
    /// The last part of it.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// The length of its content.
    pub bytes: u64,
    /// Its permissions, as `ls` writes them; nothing of a directory that only what lies in it tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The numbers of its owner and group, `0:0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it was changed, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_s: Option<i64>,
    /// Where it leads, if it is a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The number of the layer that it is of, from 1 for the lowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_number: Option<usize>,
    /// Whether its content is to be had.
    pub opens: bool,
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A file.
    File,
    /// A file with holes, whose content is not shown.
    Sparse,
    /// A directory.
    Directory,
    /// A link to a path.
    Symlink,
    /// Another name of a file.
    Hardlink,
    /// A device or a pipe.
    Special,
}

impl FileKind {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            FileKind::File => "file",
            FileKind::Sparse => "sparse file",
            FileKind::Directory => "directory",
            FileKind::Symlink => "symbolic link",
            FileKind::Hardlink => "hard link",
            FileKind::Special => "device or pipe",
        }
    }
}

/// Which files are asked for.
#[derive(Clone, Debug)]
pub enum FileQuery {
    /// What stands in a directory behind the name `after`; the root is "".
    Directory {
        /// Its path.
        path: String,
        /// The last name that was named before.
        after: String,
    },
    /// What holds a text in its name.
    Search(String),
}

/// A file's content on its way out.
pub struct OpenedFile {
    /// The file.
    pub file: File,
    /// Its bytes, as many as the file says.
    pub content: ByteStream<'static>,
}

/// Layers of a manifest, looked into.
struct Seen {
    manifest: Digest,
    layers: Vec<Digest>,
    layer: Option<Digest>,
    tree: std::sync::Arc<Tree>,
}

impl Management {
    /// Files of a layer, or of all layers of a manifest one upon the other.
    pub async fn files(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        reference: &Reference,
        layer: Option<&Digest>,
        query: &FileQuery,
        limit: usize,
    ) -> Result<Files, ApiError> {
        let limit = limit.clamp(1, FILES_MAX);
        let seen = self.look_into(caller, repository, reference, layer).await?;
        let (mut files, mut next, mut more) = (Vec::new(), None, false);
        let mut in_all = 0;
        match query {
            FileQuery::Directory { path, after } => {
                let path = path.trim_matches('/');
                let children = seen.tree.children(path).ok_or_else(|| nothing(path))?;
                in_all = children.len();
                for child in children.into_iter().filter(|it| it.name > after.as_str()) {
                    if files.len() == limit {
                        next = files.last().map(|it: &File| it.name.clone());
                        break;
                    }
                    files.push(match child.node {
                        Some(node) => seen.tell(&node),
                        None => implied(path, child.name),
                    });
                }
            }
            FileQuery::Search(part) => {
                let (found, has_more) = seen.tree.search(part, limit);
                files.extend(found.iter().map(|node| seen.tell(node)));
                more = has_more;
            }
        }
        let total = in_all.max(files.len());
        Ok(Files {
            manifest: seen.manifest.to_string(),
            layer: seen.layer.map(|it| it.to_string()),
            notices: seen.notices(),
            files,
            total,
            next,
            more,
        })
    }

    /// The content of a file.
    pub async fn open_file(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        reference: &Reference,
        layer: Option<&Digest>,
        path: &str,
    ) -> Result<OpenedFile, ApiError> {
        let seen = self.look_into(caller, repository, reference, layer).await?;
        let path = path.trim_matches('/');
        let node = seen.tree.find(path).ok_or_else(|| nothing(path))?;
        let file = seen.tell(&node);
        if !file.opens {
            let what = file.kind.as_str();
            return Err(ApiError::bad_request(format!(
                "{path} has no content to be had: it is a {what}, or was not read to its end"
            )));
        }
        let (registry, of) = (
            &self.api.registry,
            seen.layer.or(seen.layers.get(node.layer).copied()),
        );
        let of = of.ok_or_else(|| nothing(path))?;
        let (offset, size) = (node.entry.offset, node.entry.size);
        let opened = self
            .explorer
            .open(registry, repository, &of, offset, size)
            .await?;
        Ok(OpenedFile {
            file,
            content: opened,
        })
    }

    async fn look_into(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        reference: &Reference,
        layer: Option<&Digest>,
    ) -> Result<Seen, ApiError> {
        caller.require(Action::Pull, repository)?;
        let registry = &self.api.registry;
        let stored = registry.manifest(repository, reference)?;
        let entries: Entries = serde_json::from_slice(&stored.bytes).unwrap_or_default();
        let layers = entries.layers.unwrap_or_default();
        if layers.is_empty() && entries.manifests.is_some() {
            let message = format!(
                "{} is an index: name a manifest that it lists",
                stored.digest
            );
            return Err(ApiError::bad_request(message));
        }
        let layers: Vec<Digest> = layers
            .iter()
            .filter_map(|it| it.digest.parse().ok())
            .collect();
        let scope = match layer {
            Some(layer) if layers.contains(layer) => Scope::Layer(*layer),
            Some(layer) => {
                let message = format!("{layer} is no layer of this manifest");
                return Err(ApiError::not_found(ErrorCode::BlobUnknown, message));
            }
            None => Scope::Image(stored.digest, layers.clone()),
        };
        Ok(Seen {
            tree: self.explorer.tree(registry, repository, scope).await?,
            manifest: stored.digest,
            layers,
            layer: layer.copied(),
        })
    }
}

impl Seen {
    fn tell(&self, node: &Node<'_>) -> File {
        Seen::file(node, self.layer.is_none().then_some(0))
    }

    /// A file, with the number of its layer where those of an image begin behind so many others.
    fn file(node: &Node<'_>, below: Option<usize>) -> File {
        let entry = node.entry;
        let (kind, letter) = match entry.kind {
            EntryKind::File => (FileKind::File, '-'),
            EntryKind::Sparse => (FileKind::Sparse, '-'),
            EntryKind::Directory => (FileKind::Directory, 'd'),
            EntryKind::Symlink => (FileKind::Symlink, 'l'),
            EntryKind::HardLink => (FileKind::Hardlink, '-'),
            EntryKind::Character => (FileKind::Special, 'c'),
            EntryKind::Block => (FileKind::Special, 'b'),
            EntryKind::Pipe => (FileKind::Special, 'p'),
            EntryKind::Other => (FileKind::Special, '?'),
        };
        File {
            path: node.path.to_owned(),
            name: split(node.path).1.to_owned(),
            kind,
            bytes: entry.size,
            mode: Some(permissions(letter, entry.mode)),
            owner: Some(format!("{}:{}", entry.uid, entry.gid)),
            modified_s: Some(entry.modified_s),
            link: (!node.link.is_empty()).then(|| node.link.to_owned()),
            layer_number: below.map(|below| below + node.layer + 1),
            opens: entry.content.is_some(),
        }
    }

    fn notices(&self) -> Vec<String> {
        match self.layer {
            Some(_) => notices_of(&self.tree, 0, "this manifest")
                .into_iter()
                .map(|notice| notice.replacen("Layer 1 of this manifest", "This layer", 1))
                .collect(),
            None => notices_of(&self.tree, 0, "this manifest"),
        }
    }
}

/// What of an image's layers is not shown, and why; those of the tree lie upon `below` others.
fn notices_of(tree: &Tree, below: usize, image: &str) -> Vec<String> {
    let mut notices = Vec::new();
    for (number, listing) in tree.layers().iter().enumerate() {
        let which = format!("Layer {} of {image}", below + number + 1);
        if let Some(cut) = &listing.cut {
            notices.push(format!("{which}: {cut}."));
        }
        if listing.left_out > 0 {
            let left_out = listing.left_out;
            notices.push(format!(
                "{which}: {left_out} entries with names that are too long are left out."
            ));
        }
    }
    notices
}

fn implied(directory: &str, name: &str) -> File {
    File {
        path: match directory {
            "" => name.to_owned(),
            directory => format!("{directory}/{name}"),
        },
        name: name.to_owned(),
        kind: FileKind::Directory,
        bytes: 0,
        mode: None,
        owner: None,
        modified_s: None,
        link: None,
        layer_number: None,
        opens: false,
    }
}

fn nothing(path: &str) -> ApiError {
    let message = format!("there is no {path:?} here");
    ApiError::not_found(ErrorCode::BlobUnknown, message)
}

/// `drwxr-xr-x`, as POSIX has it for `ls`.
fn permissions(letter: char, mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(letter);
    for (shift, special, set, unset) in [
        (6, 0o4000, 's', 'S'),
        (3, 0o2000, 's', 'S'),
        (0, 0o1000, 't', 'T'),
    ] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => set,
            (false, true) => unset,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_written_as_people_know_them() {
        for (letter, mode, text) in [
            ('d', 0o755, "drwxr-xr-x"),
            ('-', 0o4755, "-rwsr-xr-x"),
            ('-', 0o2644, "-rw-r-Sr--"),
            ('d', 0o1777, "drwxrwxrwt"),
        ] {
            assert_eq!(permissions(letter, mode), text);
        }
    }
}
