//! A layer's bytes without what packs them.

use std::cell::Cell;
use std::io::{self, BufReader, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::bounds::{Bounds, Cut, RATIO_FREE_BYTES, RATIO_MAX};

/// Bytes that are read of what is packed at once.
const PACKED_BYTES: usize = 64 * 1024;

/// The largest window of zstd that is taken, as a power of two: 64 MiB, which is memory of ours. Of the levels that
/// the tool has, only the last asks for more.
const WINDOW_LOG_MAX: u32 = 26;

/// What is unpacked, within bounds.
pub struct Unpacked<'a> {
    inner: Box<dyn Read + 'a>,
    bounds: &'a Bounds,
    packed: Rc<Cell<u64>>,
    unpacked: u64,
}

impl<'a> Unpacked<'a> {
    /// By the first bytes of what is packed, which cannot be wrong as a media type can.
    pub fn new(mut packed: impl Read + 'a, bounds: &'a Bounds) -> io::Result<Self> {
        let mut first = Vec::with_capacity(4);
        packed.by_ref().take(4).read_to_end(&mut first)?;
        let count = Rc::new(Cell::new(0));
        let counted = Counted {
            inner: Cursor::new(first.clone()).chain(packed),
            bounds,
            count: count.clone(),
        };
        let buffered = BufReader::with_capacity(PACKED_BYTES, counted);
        let inner: Box<dyn Read + 'a> = match first.as_slice() {
            // RFC 1952, 2.3.1.
            [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(buffered)),
            // RFC 8878, 3.1.1 and 3.1.2.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                let mut decoder = zstd::Decoder::with_buffer(buffered)?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
            _ => Box::new(buffered),
        };
        Ok(Unpacked {
            inner,
            bounds,
            packed: count,
            unpacked: 0,
        })
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bounds.check()?;
        let read = self.inner.read(buffer)?;
        self.bounds.count(read as u64)?;
        self.unpacked += read as u64;
        let most = self.packed.get().saturating_mul(RATIO_MAX);
        if self.unpacked > most.max(RATIO_FREE_BYTES) {
            return Err(self.bounds.end(Cut::Ratio));
        }
        Ok(read)
    }
}

/// What is packed. It is here that a request ends of which nothing comes out.
struct Counted<'a, R> {
    inner: R,
    bounds: &'a Bounds,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bounds.check()?;
        let read = self.inner.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}
