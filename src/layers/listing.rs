//! What a layer holds.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::bounds::{Bounds, Cut, ENTRIES_MAX, LISTING_BYTES_MAX, NAME_BYTES_MAX};
use super::name;
use super::unpack::Unpacked;
use crate::tar::{BLOCK, Entry as TarEntry, EntryKind, TarError, TarReader};

/// Bytes of a content that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A file, directory or link of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    path: Span,
    link: Span,
    /// What it is.
    pub kind: EntryKind,
    /// The length of the file that it becomes, in bytes.
    pub size: u64,
    /// Its permissions, with the bits above them.
    pub mode: u32,
    /// Whose it is.
    pub uid: u64,
    /// And which group's.
    pub gid: u64,
    /// When it was changed, in seconds since 1970.
    pub modified_s: i64,
    /// Where its content begins in what the layer unpacks to, in bytes.
    pub offset: u64,
    /// The first half of the SHA-256 of its content; `None` of what is no file, or was not read to its end.
    pub content: Option<[u8; 16]>,
}

/// Where a name lies among the names.
#[derive(Clone, Copy, Debug)]
struct Span {
    begin: u32,
    end: u32,
}

/// What a layer holds, in the order of the paths' bytes. Of a path that it has twice, the last counts, as it does for
/// whoever unpacks it.
#[derive(Debug, Default)]
pub struct Listing {
    names: String,
    entries: Vec<Entry>,
    /// Entries that are left out, since their names are too long.
    pub left_out: u64,
    /// Why there is no more.
    pub cut: Option<Cut>,
}

impl Listing {
    /// One without entries, and why.
    pub fn empty(cut: Cut) -> Self {
        Listing {
            cut: Some(cut),
            ..Listing::default()
        }
    }

    /// Reads a layer.
    pub fn read(packed: impl Read, bounds: &Bounds) -> Self {
        let mut listing = Listing::default();
        if let Err(ended) = listing.fill(packed, bounds) {
            listing.cut = Some(bounds.take_cut().unwrap_or(ended));
        }
        let names = &listing.names;
        // The sort leaves those of one path in their order.
        listing.entries.sort_by(|a, b| {
            let (a, b) = (text(names, a.path), text(names, b.path));
            a.cmp(b)
        });
        let mut kept: Vec<Entry> = Vec::with_capacity(listing.entries.len());
        for entry in &listing.entries {
            match kept.last_mut() {
                Some(last) if text(names, last.path) == text(names, entry.path) => *last = *entry,
                _ => kept.push(*entry),
            }
        }
        listing.entries = kept;
        listing.names.shrink_to_fit();
        listing
    }

    fn fill(&mut self, packed: impl Read, bounds: &Bounds) -> Result<(), Cut> {
        let unpacked =
            Unpacked::new(packed, bounds).map_err(|error| Cut::Broken(error.to_string()))?;
        let mut reader = TarReader::new(unpacked);
        let mut piece = vec![0; PIECE_BYTES];
        while let Some(entry) = reader.next(pass_over).map_err(cut_by)? {
            let at = self.put(&entry)?;
            let mut hash = (entry.kind == EntryKind::File).then(Sha256::new);
            loop {
                let read = reader.read(&entry, &mut piece).map_err(cut_by)?;
                match (&mut hash, read) {
                    (_, 0) => break,
                    (Some(hash), read) => hash.update(&piece[..read]),
                    (None, _) => {}
                }
            }
            if let (Some(at), Some(hash)) = (at, hash) {
                let mut half = [0; 16];
                half.copy_from_slice(&hash.finalize()[..16]);
                self.entries[at].content = Some(half);
            }
        }
        Ok(())
    }

    /// Takes an entry in; `None` if it is left out.
    fn put(&mut self, entry: &TarEntry) -> Result<Option<usize>, Cut> {
        if self.entries.len() == ENTRIES_MAX {
            return Err(Cut::Entries);
        }
        if entry.name.len() > NAME_BYTES_MAX || entry.link.len() > NAME_BYTES_MAX {
            self.left_out += 1;
            return Ok(None);
        }
        let Some(path) = name::path(&entry.name) else {
            return Ok(None);
        };
        let link = match entry.kind {
            EntryKind::HardLink | EntryKind::Symlink => name::text(&entry.link),
            _ => String::new(),
        };
        if self.bytes() + size_of::<Entry>() + path.len() + link.len() > LISTING_BYTES_MAX {
            return Err(Cut::Memory);
        }
        self.entries.push(Entry {
            path: span(&mut self.names, &path),
            link: span(&mut self.names, &link),
            kind: entry.kind,
            size: entry.size,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            modified_s: entry.modified_s,
            offset: entry.offset,
            content: None,
        });
        Ok(Some(self.entries.len() - 1))
    }

    /// The memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.names.len() + self.entries.len() * size_of::<Entry>()
    }

    /// Its entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// An entry's path.
    pub fn path(&self, entry: &Entry) -> &str {
        text(&self.names, entry.path)
    }

    /// Where a link leads, as it says; nothing of what is none.
    pub fn link(&self, entry: &Entry) -> &str {
        text(&self.names, entry.link)
    }
}

fn span(names: &mut String, name: &str) -> Span {
    // There are at most LISTING_BYTES_MAX bytes of names.
    let begin = names.len() as u32;
    names.push_str(name);
    Span {
        begin,
        end: names.len() as u32,
    }
}

fn text(names: &str, span: Span) -> &str {
    names
        .get(span.begin as usize..span.end as usize)
        .unwrap_or_default()
}

fn pass_over(input: &mut impl Read, bytes: u64) -> io::Result<()> {
    let passed = io::copy(&mut input.take(bytes), &mut io::sink())?;
    match passed < bytes {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(()),
    }
}

/// What a tar that is not read any further comes to. One that has no header at its very beginning is none.
fn cut_by(error: TarError) -> Cut {
    match error {
        TarError::Header { at: 0, .. } => Cut::NoTar("its first bytes are no header".to_owned()),
        TarError::Truncated { at, .. } if at < BLOCK => Cut::NoTar(format!(
            "it has {at} bytes, and a tar has at least {}",
            BLOCK
        )),
        TarError::Compressed => {
            Cut::NoTar("it is packed by something that is not read here".to_owned())
        }
        TarError::TooMany => Cut::Entries,
        error => Cut::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
