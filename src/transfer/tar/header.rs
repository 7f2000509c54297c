//! From one entry of a tar to the next, of which none leads out of it.

use std::io::{self, Read};

use crate::tar::{self, EntryKind};
use crate::transfer::files::is_plain;

/// Why a tar is not read any further.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It is none, or not whole.
    #[error(transparent)]
    Unreadable(#[from] tar::TarError),
    /// An entry's name leads out of the tar.
    #[error("the tar has an entry {0:?}, whose name leads out of it: nothing of it is taken")]
    Outside(String),
    /// A file with holes.
    #[error("the tar has a file with holes, {0:?}: make the tar without --sparse")]
    Sparse(String),
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A file.
    File,
    /// A link to another entry, by its name in the tar.
    Link(String),
    /// Anything else, which nobody here wants.
    Other,
}

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name, which stays within the tar.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where its content begins, in bytes.
    pub offset: u64,
    /// Its length, in bytes.
    pub length: u64,
    read: tar::Entry,
}

/// Reads a tar from its first byte to its last.
pub struct TarReader<R>(tar::TarReader<R>);

impl<R: Read> TarReader<R> {
    /// From the beginning.
    pub fn new(inner: R) -> Self {
        TarReader(tar::TarReader::new(inner))
    }

    /// The next entry, passing over what was not read of the one before by `skip`; `None` at the end.
    pub fn next(
        &mut self,
        skip: impl Fn(&mut R, u64) -> io::Result<()>,
    ) -> Result<Option<Entry>, TarError> {
        self.0.next(skip)?.map(within).transpose()
    }

    /// Bytes of the entry that was given last: as many as fit, none behind its last.
    pub fn read(&mut self, entry: &Entry, buffer: &mut [u8]) -> Result<usize, TarError> {
        Ok(self.0.read(&entry.read, buffer)?)
    }
}

/// The entry, if it stays within the tar.
fn within(entry: tar::Entry) -> Result<Entry, TarError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let named = text(&entry.name);
    let shown = || named.chars().take(200).collect();
    let name = named.trim_start_matches("./").trim_end_matches('/');
    if entry.kind == EntryKind::Sparse {
        return Err(TarError::Sparse(shown()));
    }
    if !name.is_empty() && name != "." && !is_plain(name) {
        return Err(TarError::Outside(shown()));
    }
    let kind = match entry.kind {
        EntryKind::File => Kind::File,
        EntryKind::Symlink | EntryKind::HardLink => {
            let to = text(&entry.link);
            let target = match entry.kind {
                EntryKind::HardLink => Some(to.trim_start_matches("./").to_owned()),
                _ => beside(name, &to),
            };
            let Some(target) = target.filter(|it| is_plain(it)) else {
                return Err(TarError::Outside(format!("{name} -> {to}")));
            };
            Kind::Link(target)
        }
        _ => Kind::Other,
    };
    Ok(Entry {
        name: name.to_owned(),
        kind,
        offset: entry.offset,
        length: entry.length,
        read: entry,
    })
}

/// The name that a symbolic link beside `name` leads to; `None` if it leads out.
fn beside(name: &str, to: &str) -> Option<String> {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    if to.starts_with('/') {
        return None;
    }
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_a_name_within() {
        for (name, to, target) in [
            ("a/layer.tar", "../b/layer.tar", Some("b/layer.tar")),
            ("a/b", "c", Some("a/c")),
            ("a", "./b", Some("b")),
            ("a/b", "../../c", None),
            ("a/b", "/etc/passwd", None),
        ] {
            assert_eq!(beside(name, to).as_deref(), target, "{name} -> {to}");
        }
    }
}
