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

/// How far ahead windows are looked at, in bytes, and how many in one go: each go wakes a thread.
const AHEAD_BYTES: u64 = 4 << 20;

/// An extent that is given out as places of its pack.
pub struct Mapped {
    opened: ExtentReader,
    mapping: Arc<Mapping>,
    /// All of the extent that is wanted, and where in it that begins.
    bytes: Bytes,
    begin: u64,
    ahead: Option<Ahead>,
}

/// Windows that are being checked, one after the other.
struct Ahead {
    windows: Range<u64>,
    checked: JoinHandle<Result<(), ReadError>>,
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
        if !self.may_go(&window) {
            let ahead = match self.ahead.take() {
                Some(ahead) if ahead.windows.contains(&window.start) => ahead,
                _ => self.check(reader, window.clone()),
            };
            let outcome = ahead.checked.await?;
            // It may be one behind this that is not as it was written.
            if !self.opened.is_right(window.start) {
                outcome.map_err(StorageError::Read)?;
            }
        }
        let mut end = window.end;
        while end < rest.end {
            let next = self.opened.window(end);
            if next.end - rest.start > PIECE_BYTES_MAX || !self.may_go(&next) {
                break;
            }
            end = next.end;
        }
        self.look_ahead(reader, end, rest.end);
        let end = end.min(rest.end);
        let piece = (rest.start - self.begin) as usize..(end - self.begin) as usize;
        Ok(self.bytes.slice(piece))
    }

    /// Has what is not ready soon behind `at` be looked at while the piece before is on its way.
    fn look_ahead(&mut self, reader: &Reader, mut at: u64, end: u64) {
        self.ahead.take_if(|ahead| ahead.windows.end <= at);
        if self.ahead.is_some() {
            return;
        }
        let far = end.min(at + AHEAD_BYTES);
        while at < far {
            let window = self.opened.window(at);
            if !self.may_go(&window) {
                let windows = window.start..end.min(window.start + AHEAD_BYTES);
                self.ahead = Some(self.check(reader, windows));
                return;
            }
            at = window.end;
        }
    }

    /// Whether a window was found right and is in memory.
    fn may_go(&self, window: &Range<u64>) -> bool {
        let offset = self.opened.extent().offset;
        let place = offset + window.start..offset + window.end;
        self.opened.is_right(window.start) && self.mapping.is_resident(&place)
    }

    /// Begins to check the windows of a range, up to the first that is not as it was written.
    fn check(&self, reader: &Reader, windows: Range<u64>) -> Ahead {
        let (opened, range) = (self.opened.clone(), windows.clone());
        let checked = reader.begin(move |_| {
            let mut at = range.start;
            while at < range.end {
                opened.check(at)?;
                at = opened.window(at).end;
            }
            Ok(())
        });
        Ahead { windows, checked }
    }
}
