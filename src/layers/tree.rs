//! Files as directories: of one layer, or of an image's layers one upon the other (image-spec, `layer.md`,
//! "Applying Changesets").

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::listing::{Entry, Listing};
use crate::tar::EntryKind;

/// What the name of a file begins with that says that another is gone.
pub const WHITEOUT: &str = ".wh.";
/// The name of a file that says that all of its directory below is gone.
const OPAQUE: &str = ".wh..wh..opq";
/// What other names begin with by which such marks are kept, and that are no files.
const MARKS: &str = ".wh..wh.";

/// Files as directories.
#[derive(Debug)]
pub struct Tree {
    layers: Vec<Arc<Listing>>,
    /// Layer and entry, in the order of the paths; `None` if these are those of the one layer.
    places: Option<Vec<(u32, u32)>>,
}

/// A file, directory or link.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// The number of its layer, from 0.
    pub layer: usize,
    /// Its path.
    pub path: &'a str,
    /// What is said of it.
    pub entry: &'a Entry,
    /// Where it leads, if it is a link.
    pub link: &'a str,
}

/// What stands in a directory.
#[derive(Clone, Copy, Debug)]
pub struct Child<'a> {
    /// Its name there.
    pub name: &'a str,
    /// What it is; `None` of a directory that only what lies in it tells of.
    pub node: Option<Node<'a>>,
}

impl Tree {
    /// That of one layer, with the marks that stand in it.
    pub fn of_layer(layer: Arc<Listing>) -> Self {
        Tree {
            layers: vec![layer],
            places: None,
        }
    }

    /// That of layers one upon the other, from the lowest. With `marks` those that say that something is gone stay.
    pub fn of_image(layers: Vec<Arc<Listing>>, marks: bool) -> Self {
        let mut seen: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for (number, layer) in layers.iter().enumerate() {
            // What a layer says is gone is gone from those below it, wherever in it that stands.
            for entry in layer.entries() {
                let path = layer.path(entry);
                let (directory, name) = split(path);
                match name.strip_prefix(WHITEOUT) {
                    _ if name == OPAQUE => remove_below(&mut seen, directory),
                    Some(gone) if !name.starts_with(MARKS) && !gone.is_empty() => {
                        let gone = match directory {
                            "" => gone.to_owned(),
                            directory => format!("{directory}/{gone}"),
                        };
                        seen.remove(gone.as_str());
                        remove_below(&mut seen, &gone);
                    }
                    _ => {}
                }
            }
            for (at, entry) in layer.entries().iter().enumerate() {
                let path = layer.path(entry);
                let is_mark = split(path).1.starts_with(WHITEOUT);
                if is_mark && !marks {
                    continue;
                }
                seen.insert(path, (number as u32, at as u32));
                if entry.kind != EntryKind::Directory {
                    // What was a directory is none any more. What this layer itself puts below comes later.
                    remove_below(&mut seen, path);
                }
            }
        }
        let places = seen.into_values().collect();
        Tree {
            places: Some(places),
            layers,
        }
    }

    /// How many files, directories and links there are.
    pub fn len(&self) -> usize {
        match &self.places {
            Some(places) => places.len(),
            None => self.layers.first().map_or(0, |it| it.entries().len()),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The layers, from the lowest.
    pub fn layers(&self) -> &[Arc<Listing>] {
        &self.layers
    }

    /// The memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let layers = self.layers.iter().map(|layer| layer.bytes());
        layers.sum::<usize>() + self.places.as_ref().map_or(0, |it| it.len() * 8)
    }

    /// All of them, in the order of their paths' bytes.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (0..self.len()).filter_map(|at| self.at(at))
    }

    fn at(&self, at: usize) -> Option<Node<'_>> {
        let (layer, entry) = match &self.places {
            Some(places) => places.get(at).map(|it| (it.0 as usize, it.1 as usize))?,
            None => (0, at),
        };
        let listing = self.layers.get(layer)?;
        let entry = listing.entries().get(entry)?;
        Some(Node {
            layer,
            path: listing.path(entry),
            entry,
            link: listing.link(entry),
        })
    }

    /// The first whose path is not before that.
    fn first_from(&self, path: &str) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.at(middle) {
                Some(node) if node.path < path => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// What has that path.
    pub fn find(&self, path: &str) -> Option<Node<'_>> {
        let node = self.at(self.first_from(path))?;
        (node.path == path).then_some(node)
    }

    /// What stands in a directory, in the order of the names; `None` if there is no such directory. The root is "".
    pub fn children(&self, directory: &str) -> Option<Vec<Child<'_>>> {
        let prefix = match directory {
            "" => String::new(),
            directory => format!("{directory}/"),
        };
        let mut children: BTreeMap<&str, Option<Node<'_>>> = BTreeMap::new();
        let mut at = self.first_from(&prefix);
        while let Some(node) = self.at(at) {
            let Some(rest) = node.path.strip_prefix(prefix.as_str()) else {
                break;
            };
            match rest.split_once('/') {
                None => {
                    children.insert(rest, Some(node));
                    at += 1;
                }
                Some((name, _)) => {
                    children.entry(name).or_insert(None);
                    // `0` is what follows `/`: the first behind all that lies below.
                    at = self.first_from(&format!("{prefix}{name}0"));
                }
            }
        }
        let is_directory = || {
            let node = self.find(directory);
            node.is_some_and(|node| node.entry.kind == EntryKind::Directory)
        };
        if children.is_empty() && !directory.is_empty() && !is_directory() {
            return None;
        }
        let children = children.into_iter();
        Some(children.map(|(name, node)| Child { name, node }).collect())
    }

    /// Those whose name holds `part`, or whose path does if `part` has a slash: `most` at most, and whether there are
    /// more.
    pub fn search(&self, part: &str, most: usize) -> (Vec<Node<'_>>, bool) {
        let is_path = part.contains('/');
        let mut found = self.nodes().filter(|node| match is_path {
            true => node.path.contains(part),
            false => split(node.path).1.contains(part),
        });
        let first = found.by_ref().take(most).collect();
        (first, found.next().is_some())
    }
}

/// The directory of a path, and the name in it.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn remove_below<V>(seen: &mut BTreeMap<&str, V>, directory: &str) {
    if directory.is_empty() {
        seen.clear();
        return;
    }
    let (first, behind) = (format!("{directory}/"), format!("{directory}0"));
    let range = (
        Bound::Included(first.as_str()),
        Bound::Excluded(behind.as_str()),
    );
    let below: Vec<&str> = seen.range::<str, _>(range).map(|(path, _)| *path).collect();
    for path in below {
        seen.remove(path);
    }
}

#[cfg(test)]
mod tests;
