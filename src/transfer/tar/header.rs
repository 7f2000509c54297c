//! From one entry of a tar to the next.

use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

use super::{BLOCK, padding};
use crate::transfer::files::is_plain;

/// The longest extension header that is read, in bytes. Names and lengths are all that is wanted of it.
const EXTENSION_BYTES_MAX: u64 = 64 * 1024;

/// The most entries of a tar. Each costs memory, and half a KiB in the tar.
pub(super) const ENTRIES_MAX: u64 = 1_000_000;

/// How a compressed file begins: gzip, zstd, xz, bzip2.
const COMPRESSED: [&[u8]; 4] = [
    &[0x1f, 0x8b],
    &[0x28, 0xb5, 0x2f, 0xfd],
    b"\xfd7zXZ",
    b"BZh",
];

/// Why a tar is not read any further.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It cannot be read, or ends too soon.
    #[error("the tar cannot be read at byte {at}: {source}")]
    Io {
        /// How far it was read.
        at: u64,
        /// What the system said.
        source: io::Error,
    },
    /// It ends within an entry.
    #[error("the tar ends at byte {at}, in the middle of {name:?}: it is not whole")]
    Truncated {
        /// Its length, in bytes.
        at: u64,
        /// The entry.
        name: String,
    },
    /// What should be a header is none.
    #[error("at byte {at} of the tar there is no header: {reason}")]
    Header {
        /// Where it should be.
        at: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// It is compressed.
    #[error(
        "this is a compressed file and no tar: uncompress it first, such as by `gzip -d` or `zstd -d`"
    )]
    Compressed,
    /// An entry's name leads out of the tar.
    #[error("the tar has an entry {0:?}, whose name leads out of it: nothing of it is taken")]
    Outside(String),
    /// More entries than are taken.
    #[error("the tar has more than {ENTRIES_MAX} entries")]
    TooMany,
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
}

/// Reads a tar from its first byte to its last.
pub struct TarReader<R> {
    inner: R,
    at: u64,
    /// What is left of the entry that was given last, with what fills its last block.
    left: u64,
    name: String,
    entries: u64,
}

/// What extension headers say of the entry behind them.
#[derive(Default)]
struct Extended {
    name: Option<String>,
    link: Option<String>,
    length: Option<u64>,
}

impl<R: Read> TarReader<R> {
    /// From the beginning.
    pub fn new(inner: R) -> Self {
        TarReader {
            inner,
            at: 0,
            left: 0,
            name: String::new(),
            entries: 0,
        }
    }

    /// The next entry, passing over what was not read of the one before by `skip`; `None` at the end.
    pub fn next(
        &mut self,
        skip: impl Fn(&mut R, u64) -> io::Result<()>,
    ) -> Result<Option<Entry>, TarError> {
        let mut extended = Extended::default();
        loop {
            let left = std::mem::take(&mut self.left);
            skip(&mut self.inner, left).map_err(|source| self.broken(source))?;
            self.at += left;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return Err(TarError::TooMany);
            }
            let kind = header.entry_type();
            let bad = |at: u64, error: io::Error| TarError::Header {
                at,
                reason: error.to_string(),
            };
            if kind == EntryType::GNUSparse {
                return Err(TarError::Header {
                    at: self.at,
                    reason: "a file with holes: make the tar without --sparse".to_owned(),
                });
            }
            let length = header.entry_size().map_err(|error| bad(self.at, error))?;
            match kind {
                EntryType::GNULongName => extended.name = Some(self.text(length)?),
                EntryType::GNULongLink => extended.link = Some(self.text(length)?),
                EntryType::XHeader => self.pax(length, &mut extended)?,
                EntryType::XGlobalHeader => {
                    self.extension(length)?;
                }
                _ => return self.entry(&header, kind, length, extended).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        length: u64,
        extended: Extended,
    ) -> Result<Entry, TarError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let named = extended.name.unwrap_or_else(|| text(&header.path_bytes()));
        let name = named.trim_start_matches("./").trim_end_matches('/');
        if !name.is_empty() && name != "." && !is_plain(name) {
            return Err(TarError::Outside(named.chars().take(200).collect()));
        }
        let link = || {
            let link = header.link_name_bytes().map(|it| text(&it));
            extended.link.or(link).unwrap_or_default()
        };
        let (kind, length) = match kind {
            EntryType::Regular | EntryType::Continuous => {
                (Kind::File, extended.length.unwrap_or(length))
            }
            EntryType::Symlink | EntryType::Link => {
                let to = link();
                let is_hard = kind == EntryType::Link;
                let target = match is_hard {
                    true => Some(to.trim_start_matches("./").to_owned()),
                    false => beside(name, &to),
                };
                let Some(target) = target.filter(|it| is_plain(it)) else {
                    return Err(TarError::Outside(format!("{name} -> {to}")));
                };
                (Kind::Link(target), extended.length.unwrap_or(length))
            }
            _ => (Kind::Other, extended.length.unwrap_or(length)),
        };
        let Some(left) = length.checked_add(padding(length)) else {
            return Err(TarError::Header {
                at: self.at,
                reason: format!("{name:?} has a length that no file has"),
            });
        };
        self.left = left;
        self.name = name.to_owned();
        Ok(Entry {
            name: name.to_owned(),
            kind,
            offset: self.at,
            length,
        })
    }

    /// Bytes of the entry that was given last: as many as fit, none behind its last.
    pub fn read(&mut self, entry: &Entry, buffer: &mut [u8]) -> Result<usize, TarError> {
        let done = self.at - entry.offset;
        let want = (entry.length - done).min(buffer.len() as u64) as usize;
        if want == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..want]);
        let read = read.map_err(|source| self.broken(source))?;
        if read == 0 {
            return Err(TarError::Truncated {
                at: self.at,
                name: self.name.clone(),
            });
        }
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }

    /// The next block as a header; `None` where the tar ends, by a block of zeros or at once.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let mut block = [0; BLOCK as usize];
        let mut filled = 0;
        while filled < block.len() {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 && self.at > 0 => return Ok(None),
                Ok(0) => {
                    return Err(TarError::Truncated {
                        at: self.at + filled as u64,
                        name: self.name.clone(),
                    });
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.broken(source)),
            }
        }
        let at = self.at;
        self.at += BLOCK;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if at == 0 && COMPRESSED.iter().any(|magic| block.starts_with(magic)) {
            return Err(TarError::Compressed);
        }
        let header = Header::from_byte_slice(&block).clone();
        // The sum of all bytes, with spaces for the sum itself (POSIX, pax, "ustar Header Block").
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| match (148..156).contains(&at) {
                true => u32::from(b' '),
                false => u32::from(*byte),
            })
            .sum();
        match header.cksum() {
            Ok(said) if said == sum => Ok(Some(header)),
            _ => Err(TarError::Header {
                at,
                reason: "its checksum is not that of its bytes".to_owned(),
            }),
        }
    }

    /// The content of an extension header.
    fn extension(&mut self, length: u64) -> Result<Vec<u8>, TarError> {
        if length > EXTENSION_BYTES_MAX {
            return Err(TarError::Header {
                at: self.at,
                reason: format!(
                    "an extension of {length} bytes, and at most {EXTENSION_BYTES_MAX} are taken"
                ),
            });
        }
        let mut content = vec![0; (length + padding(length)) as usize];
        let read = self.inner.read_exact(&mut content);
        read.map_err(|source| self.broken(source))?;
        self.at += content.len() as u64;
        content.truncate(length as usize);
        Ok(content)
    }

    fn text(&mut self, length: u64) -> Result<String, TarError> {
        let content = self.extension(length)?;
        let end = content.iter().position(|byte| *byte == 0);
        let text = &content[..end.unwrap_or(content.len())];
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn pax(&mut self, length: u64, extended: &mut Extended) -> Result<(), TarError> {
        let at = self.at;
        let content = self.extension(length)?;
        for extension in PaxExtensions::new(&content) {
            let bad = |reason: String| TarError::Header { at, reason };
            let extension = extension.map_err(|error| bad(error.to_string()))?;
            let (Ok(key), Ok(value)) = (extension.key(), extension.value()) else {
                continue;
            };
            match key {
                "path" => extended.name = Some(value.to_owned()),
                "linkpath" => extended.link = Some(value.to_owned()),
                "size" => {
                    let size = value.parse();
                    extended.length =
                        Some(size.map_err(|_| bad(format!("its size is {value:?}")))?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn broken(&self, source: io::Error) -> TarError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => TarError::Truncated {
                at: self.at,
                name: self.name.clone(),
            },
            _ => TarError::Io {
                at: self.at,
                source,
            },
        }
    }
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
