//! Pieces that the kernel sends from the page cache by itself.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::ghostbay::error::StorageError;
use crate::ghostbay::mapped::Mapping;
use crate::ghostbay::pack::reader::{ExtentReader, ReadError};

use super::Reader;

/// The most that is given out at once, in bytes: what the kernel is asked to send with one call.
const PIECE_BYTES_MAX: u64 = 2 << 20;

/// An extent that is given out as places of its pack.
pub struct Mapped {
    opened: ExtentReader,
    mapping: Arc<Mapping>,
    /// All of the extent that is wanted, and where in it that begins.
    bytes: Bytes,
    begin: u64,
    /// A window that is being checked, by where it begins.
    ahead: Option<(u64, JoinHandle<Result<(), ReadError>>)>,
}

impl Mapped {
    /// `None` if the extent's pack cannot be mapped.
    pub fn new(reader: &Reader, opened: &ExtentReader, wanted: &Range<u64>) -> Option<Self> {
        let mapping = opened.map()?;
        let offset = opened.extent().offset;
        let part = offset + wanted.start..offset + wanted.end;
        reader.pin.sent();
        Some(Mapped {
            bytes: mapping.bytes(&part, reader.pin.clone())?,
            begin: wanted.start,
            opened: opened.clone(),
            mapping,
            ahead: None,
        })
    }

    /// The next piece of `rest`: what is in memory and was found right, up to a whole number of
    /// windows. Where nothing is, a window is read, and thereby both.
    pub async fn next(&mut self, reader: &Reader, rest: &Range<u64>) -> anyhow::Result<Bytes> {
        let window = self.opened.window(rest.start);
        match self.ahead.take() {
            Some((start, checked)) if start == window.start => {
                checked.await?.map_err(StorageError::Read)?;
            }
            _ if self.may_go(&window) => {}
            _ => self
                .check(reader, window.start)
                .await?
                .map_err(StorageError::Read)?,
        }
        let mut end = window.end;
        while end < rest.end {
            let next = self.opened.window(end);
            if !self.may_go(&next) {
                // It is looked at while this is on its way.
                self.ahead = Some((next.start, self.check(reader, next.start)));
                break;
            }
            if next.end - rest.start > PIECE_BYTES_MAX {
                break;
            }
            end = next.end;
        }
        let end = end.min(rest.end);
        let piece = (rest.start - self.begin) as usize..(end - self.begin) as usize;
        Ok(self.bytes.slice(piece))
    }

    /// Whether a window was found right and is in memory.
    fn may_go(&self, window: &Range<u64>) -> bool {
        let offset = self.opened.extent().offset;
        let place = offset + window.start..offset + window.end;
        self.opened.is_right(window.start) && self.mapping.is_resident(&place)
    }

    fn check(&self, reader: &Reader, at: u64) -> JoinHandle<Result<(), ReadError>> {
        let opened = self.opened.clone();
        reader.begin(move |_| opened.check(at))
    }
}
