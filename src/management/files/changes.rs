//! The files that differ between two images.

use serde::Serialize;
use utoipa::ToSchema;

use super::explorer::Scope;
use super::{File, Seen, notices_of};
use crate::digest::Digest;
use crate::http::error::ApiError;
use crate::layers::difference::{Change, difference};
use crate::layers::tree::{WHITEOUT, split};
use crate::layers::{Node, Tree};
use crate::management::Management;
use crate::oci::RepositoryName;

/// Files that are named.
const CHANGES_MAX: usize = 1_000;

/// The files that differ between two images, of the layers above those that both begin with.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FileChanges {
    /// How many of the lowest layers are the same, and were not read: what is added may replace a file of theirs.
    pub shared_layers: usize,
    /// The files, in the order of their paths; the first 1,000.
    pub files: Vec<FileChange>,
    /// How many there are.
    pub total: usize,
    /// What of the layers was not read, and why.
    pub notices: Vec<String>,
}

/// A file that differs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// What became of it.
    pub what: Became,
    /// What is not alike, of a file that both have: `content`, or `time` where the content was not read to its end;
    /// `kind`, `size`, `mode`, `owner`, `link`.
    pub differs: Vec<&'static str>,
    /// What the first has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<File>,
    /// What the second has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<File>,
}

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Became {
    /// The second alone has it.
    Added,
    /// The first alone has it.
    Removed,
    /// Both have it, and not alike.
    Changed,
}

impl Became {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Became::Added => "added",
            Became::Removed => "removed",
            Became::Changed => "changed",
        }
    }
}

impl Management {
    /// The files that differ between the layers of two images, of which those are not read that both begin with.
    pub(in crate::management) async fn file_changes(
        &self,
        repository: &RepositoryName,
        from: &[Digest],
        to: &[Digest],
    ) -> Result<FileChanges, ApiError> {
        let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        let upper = async |layers: &[Digest]| {
            let scope = Scope::Upper(layers[shared..].to_vec());
            self.explorer
                .tree(&self.api.registry, repository, scope)
                .await
        };
        let (from, to) = (upper(from).await?, upper(to).await?);
        let work = move || {
            let (changes, total) = difference(&from, &to, CHANGES_MAX);
            let mut notices = notices_of(&from, shared, "the first");
            notices.extend(notices_of(&to, shared, "the second"));
            FileChanges {
                shared_layers: shared,
                files: changes
                    .iter()
                    .filter_map(|it| told(it, shared, &from, &to))
                    .collect(),
                total,
                notices,
            }
        };
        let worked = tokio::task::spawn_blocking(work).await;
        worked.map_err(ApiError::internal)
    }
}

/// A change as it is told. A mark that says that a file of a lower layer is gone is told as what it does; `None` of one
/// behind which the same layers have the file again.
fn told(change: &Change<'_>, shared: usize, from: &Tree, to: &Tree) -> Option<FileChange> {
    let file = |node: &Node<'_>| Seen::file(node, Some(shared));
    let (what, node, other) = match change {
        Change::Added(node) => (Became::Added, node, to),
        Change::Removed(node) => (Became::Removed, node, from),
        Change::Changed(a, b) => {
            return Some(FileChange {
                path: a.path.to_owned(),
                what: Became::Changed,
                differs: differs(a, b),
                from: Some(file(a)),
                to: Some(file(b)),
            });
        }
    };
    let (directory, name) = split(node.path);
    if let Some(gone) = name
        .strip_prefix(WHITEOUT)
        .filter(|it| !it.starts_with(WHITEOUT))
    {
        let path = match directory {
            "" => gone.to_owned(),
            directory => format!("{directory}/{gone}"),
        };
        let what = match what {
            Became::Added => Became::Removed,
            _ => Became::Added,
        };
        return other.find(&path).is_none().then_some(FileChange {
            path,
            what,
            differs: Vec::new(),
            from: None,
            to: None,
        });
    }
    Some(FileChange {
        path: node.path.to_owned(),
        what,
        differs: Vec::new(),
        from: (what == Became::Removed).then(|| file(node)),
        to: (what == Became::Added).then(|| file(node)),
    })
}

fn differs(a: &Node<'_>, b: &Node<'_>) -> Vec<&'static str> {
    let (one, other) = (a.entry, b.entry);
    let by_content = one.content.is_some() && other.content.is_some();
    [
        ("kind", one.kind != other.kind),
        ("content", by_content && one.content != other.content),
        ("time", !by_content && one.modified_s != other.modified_s),
        ("size", one.size != other.size),
        ("mode", one.mode != other.mode),
        ("owner", (one.uid, one.gid) != (other.uid, other.gid)),
        ("link", a.link != b.link),
    ]
    .into_iter()
    .filter_map(|(what, is_so)| is_so.then_some(what))
    .collect()
}
