//! A tar that is made, entry by entry.

use std::io;

use bytes::Bytes;
use tar::{Builder, Header};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::tar::{BLOCK, padding};

/// Writes a tar. The same entries make the same bytes: no entry has an owner or a time.
pub struct TarWriter<W> {
    inner: W,
    /// What the entry that was begun still lacks, in bytes.
    left: u64,
    padding: u64,
}

impl<W: AsyncWrite + Unpin> TarWriter<W> {
    /// Onto the end of `inner`.
    pub fn new(inner: W) -> Self {
        TarWriter {
            inner,
            left: 0,
            padding: 0,
        }
    }

    /// Begins a file of that length, in bytes.
    pub async fn begin(&mut self, name: &str, length: u64) -> io::Result<()> {
        if self.left > 0 {
            let left = self.left;
            return Err(io::Error::other(format!(
                "the entry before lacks {left} bytes"
            )));
        }
        let mut header = Header::new_gnu();
        header.set_size(length);
        header.set_mode(0o644);
        header.set_mtime(0);
        // The header with what stands before it where the name is long; the content comes in pieces.
        let mut made = Builder::new(Vec::new());
        made.append_data(&mut header, name, io::empty())?;
        self.inner.write_all(made.get_ref()).await?;
        self.left = length;
        self.padding = padding(length);
        self.pad().await
    }

    /// The next bytes of the file.
    pub async fn write(&mut self, piece: Bytes) -> io::Result<()> {
        let Some(left) = self.left.checked_sub(piece.len() as u64) else {
            return Err(io::Error::other("the entry is longer than was said"));
        };
        self.inner.write_all(&piece).await?;
        self.left = left;
        self.pad().await
    }

    async fn pad(&mut self) -> io::Result<()> {
        if self.left == 0 {
            let padding = std::mem::take(&mut self.padding) as usize;
            self.inner
                .write_all(&[0; BLOCK as usize][..padding])
                .await?;
        }
        Ok(())
    }

    /// A whole file.
    pub async fn file(&mut self, name: &str, content: Bytes) -> io::Result<()> {
        self.begin(name, content.len() as u64).await?;
        match content.is_empty() {
            true => Ok(()),
            false => self.write(content).await,
        }
    }

    /// Ends the tar, and gives what it was written to, with nothing left unwritten.
    pub async fn finish(&mut self) -> io::Result<&mut W> {
        if self.left > 0 {
            return Err(io::Error::other("the last entry is not whole"));
        }
        self.inner.write_all(&[0; 2 * BLOCK as usize]).await?;
        self.inner.flush().await?;
        Ok(&mut self.inner)
    }
}
