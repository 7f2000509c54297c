//! Pieces that are read into memory.

use std::ops::Range;

use bytes::Bytes;

use crate::ghostbay::error::StorageError;
use crate::ghostbay::pack::buffers::{BUFFER_BYTES, Buffer};
use crate::ghostbay::pack::reader::ExtentReader;

use super::Reader;

/// An extent that is copied out.
pub struct Copied {
    opened: ExtentReader,
    state: State,
}

/// What is known of the window at hand.
#[derive(Clone, Copy)]
enum State {
    /// Nothing: it begins.
    New,
    /// It is given out whole; CRC-32C of what was.
    Whole(u32),
    /// A part of it is wanted, and all of it was checked.
    Checked,
}

impl Copied {
    pub fn new(opened: ExtentReader) -> Self {
        let state = State::New;
        Copied { opened, state }
    }

    /// The next piece of `rest`.
    pub async fn next(&mut self, reader: &Reader, rest: &Range<u64>) -> anyhow::Result<Bytes> {
        let at = rest.start;
        let window = self.opened.window(at);
        if let State::New = self.state {
            let whole = at == window.start && rest.end >= window.end;
            let in_one = window.end - window.start <= BUFFER_BYTES as u64;
            if !(whole && (in_one || self.opened.is_right(at))) {
                self.check(reader, at).await?;
            }
            self.state = if whole {
                State::Whole(0)
            } else {
                State::Checked
            };
        }
        let end = window.end.min(rest.end).min(at + BUFFER_BYTES as u64);
        let piece = self.read(reader, at, (end - at) as usize).await?;
        if let State::Whole(crc) = &mut self.state {
            *crc = crc32c::crc32c_append(*crc, &piece);
            if end == window.end {
                self.opened.compare(at, *crc).map_err(StorageError::Read)?;
            }
        }
        if end == window.end {
            self.state = State::New;
        }
        Ok(piece)
    }

    async fn check(&self, reader: &Reader, at: u64) -> anyhow::Result<()> {
        let opened = self.opened.clone();
        reader.wait(move |_| opened.check(at)).await
    }

    async fn read(&self, reader: &Reader, at: u64, length: usize) -> anyhow::Result<Bytes> {
        let mut buffer = Buffer::take(length);
        if self.opened.read_now(buffer.room(), at) {
            return Ok(buffer.freeze());
        }
        let opened = self.opened.clone();
        let read = move |_: &_| {
            opened.read(buffer.room(), at)?;
            Ok(buffer.freeze())
        };
        reader.wait(read).await
    }
}
