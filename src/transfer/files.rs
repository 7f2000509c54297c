//! Files of a directory or an archive, found by name and read piece by piece.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use rustix::fs::{Mode, OFlags};

use super::end::ContentStream;
use super::error::TransferError;

/// Bytes of a file that are read at once. With four transfers a few MiB are on their way.
const PIECE_BYTES: u64 = 256 * 1024;

/// Files by name. Names have `/` between their parts and come from this crate, or were held against
/// [`is_plain`].
pub trait Files: Send + Sync + 'static {
    /// The place of a file; `None` if there is none.
    fn find(&self, name: &str) -> Result<Option<Region>, TransferError>;
}

/// A file, or the part of an archive that one is.
#[derive(Clone, Debug)]
pub struct Region {
    /// The file or the archive.
    pub file: Arc<File>,
    /// Where it is, for messages.
    pub path: Arc<Path>,
    /// Its first byte there.
    pub offset: u64,
    /// Its length, in bytes.
    pub length: u64,
}

/// Whether a name stays within where it is looked up: no empty part, none that leads upwards.
pub fn is_plain(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    !name.contains('\0') && name.split('/').all(is_part)
}

impl Region {
    /// The bytes from `from` on.
    pub fn stream(&self, from: u64) -> ContentStream {
        let region = self.clone();
        let pieces = futures::stream::unfold(from, move |at| {
            let region = region.clone();
            async move {
                let length = region.length.saturating_sub(at).min(PIECE_BYTES);
                if length == 0 {
                    return None;
                }
                let path = region.path.clone();
                let read = tokio::task::spawn_blocking(move || region.read(at, length as usize));
                let read = read
                    .await
                    .unwrap_or_else(|lost| Err(io::Error::other(lost)));
                match read {
                    Ok(piece) => Some((Ok(piece), at + length)),
                    Err(error) => {
                        let error = TransferError::io("read", &path, error);
                        Some((Err(error), u64::MAX))
                    }
                }
            }
        });
        pieces.boxed()
    }

    fn read(&self, at: u64, length: usize) -> io::Result<Bytes> {
        let mut piece = vec![0; length];
        self.file.read_exact_at(&mut piece, self.offset + at)?;
        Ok(piece.into())
    }

    /// Its first bytes, 8 at most.
    pub async fn begin(&self) -> Result<Bytes, TransferError> {
        let region = Region {
            length: self.length.min(8),
            ..self.clone()
        };
        region.whole(8, "the beginning").await
    }

    /// The whole file, if it has at most `bytes_max` bytes.
    pub async fn whole(&self, bytes_max: u64, what: &str) -> Result<Bytes, TransferError> {
        if self.length > bytes_max {
            return Err(TransferError::Unusable(format!(
                "{what} in {} has {} bytes, and at most {bytes_max} are taken",
                self.path.display(),
                self.length
            )));
        }
        let region = self.clone();
        let read = tokio::task::spawn_blocking(move || region.read(0, region.length as usize));
        let read = read
            .await
            .unwrap_or_else(|lost| Err(io::Error::other(lost)));
        read.map_err(|error| TransferError::io("read", &self.path, error))
    }
}

/// The files of a directory.
#[derive(Clone, Debug)]
pub struct Directory(pub PathBuf);

impl Files for Directory {
    fn find(&self, name: &str) -> Result<Option<Region>, TransferError> {
        if !is_plain(name) {
            return Ok(None);
        }
        let path = self.0.join(name);
        // A link would be somebody's way out of the directory, and a pipe never opens.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let cannot = |error: io::Error| TransferError::io("open", &path, error);
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => {
                let path = path.display();
                return Err(TransferError::Unusable(format!(
                    "{path} is a link, and links are not followed"
                )));
            }
            Err(error) => return Err(cannot(error.into())),
        };
        let metadata = file.metadata().map_err(cannot)?;
        if !metadata.is_file() {
            let path = path.display();
            return Err(TransferError::Unusable(format!("{path} is no file")));
        }
        Ok(Some(Region {
            file: Arc::new(file),
            length: metadata.len(),
            offset: 0,
            path: path.into(),
        }))
    }
}
