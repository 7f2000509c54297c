//! What differs between two trees.

use std::cmp::Ordering;

use super::tree::{Node, Tree};

/// What became of a path.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// The second alone has it.
    Added(Node<'a>),
    /// The first alone has it.
    Removed(Node<'a>),
    /// Both have it, and not alike.
    Changed(Node<'a>, Node<'a>),
}

/// What differs, in the order of the paths: `most` at most, and how many there are.
pub fn difference<'a>(from: &'a Tree, to: &'a Tree, most: usize) -> (Vec<Change<'a>>, usize) {
    let (mut from, mut to) = (from.nodes().peekable(), to.nodes().peekable());
    let (mut changes, mut count) = (Vec::new(), 0);
    loop {
        let order = match (from.peek(), to.peek()) {
            (None, None) => return (changes, count),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.path.cmp(b.path),
        };
        let change = match order {
            Ordering::Less => from.next().map(Change::Removed),
            Ordering::Greater => to.next().map(Change::Added),
            Ordering::Equal => match (from.next(), to.next()) {
                (Some(a), Some(b)) if !alike(&a, &b) => Some(Change::Changed(a, b)),
                _ => None,
            },
        };
        if let Some(change) = change {
            count += 1;
            if changes.len() < most {
                changes.push(change);
            }
        }
    }
}

/// Whether two are the same but for the time: by their content where it was read, by the time where it was not.
fn alike(a: &Node<'_>, b: &Node<'_>) -> bool {
    let (one, other) = (a.entry, b.entry);
    let content = match (one.content, other.content) {
        (Some(one), Some(other)) => one == other,
        (None, None) if one.kind != crate::tar::EntryKind::File => true,
        _ => one.modified_s == other.modified_s,
    };
    content
        && one.kind == other.kind
        && one.size == other.size
        && one.mode == other.mode
        && (one.uid, one.gid) == (other.uid, other.gid)
        && a.link == b.link
}
