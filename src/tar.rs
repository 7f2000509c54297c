//! A tar, from one entry to the next: POSIX pax and ustar, and what GNU made of them. The blocks are those of
//! the crate `tar`; which come in which order, and how much of them is believed, is decided here, since that
//! crate reads a name of any length into memory. What a name means is for whoever reads.

use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

/// The unit of a tar, in bytes.
pub const BLOCK: u64 = 512;

/// What fills a content of that length up to whole blocks, in bytes.
pub fn padding(length: u64) -> u64 {
    (BLOCK - length % BLOCK) % BLOCK
}

/// The longest extension header that is read, in bytes. Names and numbers are all that is wanted of it.
const EXTENSION_BYTES_MAX: u64 = 64 * 1024;

/// The most entries of a tar. Each costs memory, and half a KiB in the tar.
pub const ENTRIES_MAX: u64 = 1_000_000;

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
    /// More entries than are taken.
    #[error("the tar has more than {ENTRIES_MAX} entries")]
    TooMany,
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A file.
    File,
    /// A file with holes, whose content lies in pieces behind a map.
    Sparse,
    /// Another name of an entry.
    HardLink,
    /// A name that leads to another.
    Symlink,
    /// A directory.
    Directory,
    /// A device of characters.
    Character,
    /// A device of blocks.
    Block,
    /// A pipe.
    Pipe,
    /// Something else, with content perhaps.
    Other,
}

impl EntryKind {
    fn of(kind: EntryType) -> Self {
        match kind {
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::GNUSparse => EntryKind::Sparse,
            EntryType::Link => EntryKind::HardLink,
            EntryType::Symlink => EntryKind::Symlink,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Char => EntryKind::Character,
            EntryType::Block => EntryKind::Block,
            EntryType::Fifo => EntryKind::Pipe,
            _ => EntryKind::Other,
        }
    }
}

/// An entry, as it says.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name, whatever that holds.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Where a link leads, whatever that holds.
    pub link: Vec<u8>,
    /// Where its content begins, in bytes.
    pub offset: u64,
    /// The length of its content in the tar, in bytes.
    pub length: u64,
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
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    length: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified_s: Option<i64>,
    /// Of a file with holes, as pax has it: its name, and the length that it becomes.
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
    is_sparse: bool,
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
        let mut kind = EntryKind::of(kind);
        let mut size = extended.sparse_size;
        if kind == EntryKind::Sparse {
            let gnu = header.as_gnu();
            size = gnu.and_then(|it| it.real_size().ok());
            if gnu.is_some_and(|it| it.is_extended()) {
                self.sparse_map()?;
            }
        }
        if extended.is_sparse && kind == EntryKind::File {
            kind = EntryKind::Sparse;
        }
        let name = extended.sparse_name.or(extended.name);
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        if kind == EntryKind::File && name.ends_with(b"/") {
            // As tars of before POSIX have it.
            kind = EntryKind::Directory;
        }
        let length = match kind {
            // What these say of a length is no content of theirs (POSIX, pax, "ustar Interchange Format").
            EntryKind::HardLink
            | EntryKind::Symlink
            | EntryKind::Directory
            | EntryKind::Character
            | EntryKind::Block
            | EntryKind::Pipe => 0,
            _ => extended.length.unwrap_or(length),
        };
        let shown = String::from_utf8_lossy(&name).chars().take(200).collect();
        let Some(left) = length.checked_add(padding(length)) else {
            return Err(TarError::Header {
                at: self.at,
                reason: format!("{shown:?} has a length that no file has"),
            });
        };
        let link = header.link_name_bytes().map(|it| it.into_owned());
        let modified_s = header.mtime().ok().and_then(|it| i64::try_from(it).ok());
        self.left = left;
        self.name = shown;
        Ok(Entry {
            name,
            kind,
            link: extended.link.or(link).unwrap_or_default(),
            offset: self.at,
            length,
            size: size.unwrap_or(length),
            mode: header.mode().unwrap_or(0) & 0o7777,
            uid: extended.uid.or(header.uid().ok()).unwrap_or(0),
            gid: extended.gid.or(header.gid().ok()).unwrap_or(0),
            modified_s: extended.modified_s.or(modified_s).unwrap_or(0),
        })
    }

    /// Passes over the blocks that go on with the map of a file with holes.
    fn sparse_map(&mut self) -> Result<(), TarError> {
        loop {
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return Err(TarError::TooMany);
            }
            let block = self.extension(BLOCK)?;
            // Its last field says whether another follows (GNU tar, "sparse_header").
            if block.get(504) != Some(&1) {
                return Ok(());
            }
        }
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

    fn text(&mut self, length: u64) -> Result<Vec<u8>, TarError> {
        let mut content = self.extension(length)?;
        let end = content.iter().position(|byte| *byte == 0);
        content.truncate(end.unwrap_or(content.len()));
        Ok(content)
    }

    fn pax(&mut self, length: u64, extended: &mut Extended) -> Result<(), TarError> {
        let at = self.at;
        let content = self.extension(length)?;
        for extension in PaxExtensions::new(&content) {
            let bad = |reason: String| TarError::Header { at, reason };
            let extension = extension.map_err(|error| bad(error.to_string()))?;
            let (Ok(key), value) = (extension.key(), extension.value_bytes()) else {
                continue;
            };
            let text = std::str::from_utf8(value).unwrap_or_default();
            match key {
                "path" => extended.name = Some(value.to_vec()),
                "linkpath" => extended.link = Some(value.to_vec()),
                "size" => {
                    let size = text.parse();
                    extended.length = Some(size.map_err(|_| bad(format!("its size is {text:?}")))?);
                }
                "uid" => extended.uid = text.parse().ok(),
                "gid" => extended.gid = text.parse().ok(),
                "mtime" => {
                    let seconds = text.split('.').next().unwrap_or_default();
                    extended.modified_s = seconds.parse().ok();
                }
                "GNU.sparse.name" => extended.sparse_name = Some(value.to_vec()),
                "GNU.sparse.size" | "GNU.sparse.realsize" => {
                    extended.sparse_size = text.parse().ok();
                    extended.is_sparse = true;
                }
                "GNU.sparse.major" | "GNU.sparse.map" => extended.is_sparse = true,
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
