//! A tar in a file, whose entries are found by name.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::header::{Kind, TarError, TarReader};
use crate::transfer::error::TransferError;
use crate::transfer::files::{Files, Region};

/// Links are followed so often.
const LINKS_MAX: usize = 8;

enum Found {
    File { offset: u64, length: u64 },
    Link(String),
}

/// A tar in a file.
pub struct Archive {
    file: Arc<File>,
    path: Arc<Path>,
    entries: HashMap<String, Found>,
}

impl Archive {
    /// Reads the headers of the tar at `path`, and passes over what is between them. For a thread that may
    /// block.
    pub fn open(path: &Path) -> Result<Self, TransferError> {
        let file = File::open(path).map_err(|error| TransferError::io("open", path, error))?;
        Archive::of(file, path)
    }

    /// As [`Archive::open`], of a file that is open and is called `path`.
    pub fn of(mut file: File, path: &Path) -> Result<Self, TransferError> {
        let unusable =
            |error: TarError| TransferError::Unusable(format!("{}: {error}", path.display()));
        let cannot = |error: io::Error| TransferError::io("open", path, error);
        let end = file.metadata().map_err(cannot)?.len();
        file.seek(SeekFrom::Start(0)).map_err(cannot)?;
        let mut reader = TarReader::new(io::BufReader::with_capacity(4096, &mut file));
        // Behind the end a seek goes on as if there were something.
        let skip = |reader: &mut io::BufReader<&mut File>, bytes: u64| -> io::Result<()> {
            let bytes = i64::try_from(bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            reader.seek_relative(bytes)?;
            match reader.stream_position()? > end {
                true => Err(io::ErrorKind::UnexpectedEof.into()),
                false => Ok(()),
            }
        };
        let mut entries = HashMap::new();
        while let Some(entry) = reader.next(skip).map_err(unusable)? {
            let found = match entry.kind {
                Kind::Other => continue,
                Kind::Link(to) => Found::Link(to),
                Kind::File => Found::File {
                    offset: entry.offset,
                    length: entry.length,
                },
            };
            // As whoever unpacks it would have it, the last of a name counts.
            entries.insert(entry.name, found);
        }
        drop(reader);
        file.seek(SeekFrom::Start(0)).map_err(cannot)?;
        Ok(Archive {
            file: Arc::new(file),
            path: path.into(),
            entries,
        })
    }
}

impl Files for Archive {
    fn find(&self, name: &str) -> Result<Option<Region>, TransferError> {
        let mut name = name;
        for _ in 0..LINKS_MAX {
            match self.entries.get(name) {
                None => return Ok(None),
                Some(Found::Link(to)) => name = to,
                Some(Found::File { offset, length }) => {
                    return Ok(Some(Region {
                        file: self.file.clone(),
                        path: self.path.clone(),
                        offset: *offset,
                        length: *length,
                    }));
                }
            }
        }
        Err(TransferError::Unusable(format!(
            "{}: more than {LINKS_MAX} links lead from one to the next at {name:?}",
            self.path.display()
        )))
    }
}
