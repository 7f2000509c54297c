//! Reading extents: every window is checked against its record's trailer before a byte of it is
//! given out.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::buffers::{BUFFER_BYTES, Buffer};
use super::extent::Extent;
use super::file::PackFile;
use super::record::{
    BLOCK_BYTES, HEADER_BYTES, Header, RECORD_ALIGN, Trailer, WINDOW_BYTES, trailer_bytes_max,
    trailer_offset, window_end,
};
use super::space::PackSpace;
use super::windows::Windows;
use crate::digest::Digest;
use crate::ghostbay::mapped::Mapping;

/// Why an extent could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("pack {} cannot be read at {}: {source}", extent.pack, extent.offset)]
    Io {
        /// The extent that was asked for.
        extent: Extent,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not those that were written.
    #[error("pack {} is damaged at {}, length {}: {what}", extent.pack, extent.offset, extent.length)]
    Damaged {
        /// The extent that was asked for.
        extent: Extent,
        /// What does not fit.
        what: &'static str,
    },
}

impl ReadError {
    fn io(extent: &Extent) -> impl Fn(io::Error) -> Self + Copy + use<> {
        let extent = *extent;
        move |source| ReadError::Io { extent, source }
    }

    fn damaged(extent: &Extent) -> impl Fn(&'static str) -> Self + Copy + use<> {
        let extent = *extent;
        move |what| ReadError::Damaged { extent, what }
    }
}

/// Windows behind the one that is read which the system may read as well.
const READ_AHEAD_WINDOWS: usize = 2;

const ENDS_WITHIN: &str = "the pack ends within the body";
const WRONG_CHECKSUM: &str = "the checksum of a window does not match";

/// What a record says of its body beside the bytes: whose they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The upload or object that the body was written for.
    pub owner: [u8; 16],
    /// Where the body begins within its owner's stream of bytes.
    pub position: u64,
    /// Digest of the blob that the body completes, where it is known to complete one.
    pub digest: Option<Digest>,
}

/// Reads a record's header and trailer. Blocks on the disk.
pub fn read_frame(space: &PackSpace, extent: &Extent) -> Result<Frame, ReadError> {
    let (io, damaged) = (ReadError::io(extent), ReadError::damaged(extent));
    let pack = space.pack(extent.pack).map_err(io)?;
    let trailer = read_trailer(&pack, extent)?;
    let mut bytes = Vec::new();
    let from = extent.offset.saturating_sub(header_reach(extent.offset));
    let before = (extent.offset - from) as usize;
    pack.file.read_at(&mut bytes, from, before).map_err(io)?;
    let header = header_before(&bytes, |header| header.length == extent.length)
        .ok_or_else(|| damaged("the record's header is not valid"))?;
    Ok(Frame {
        owner: header.owner,
        position: header.position,
        digest: trailer.digest,
    })
}

/// How far before a body its header can begin, in bytes.
pub fn header_reach(body_offset: u64) -> u64 {
    match body_offset % BLOCK_BYTES {
        0 => BLOCK_BYTES + HEADER_BYTES,
        _ => HEADER_BYTES,
    }
}

/// The header of the body that begins behind `bytes`, if `is_its` says so. A body that begins on a
/// block lies up to a block behind its header, and what lies between them is zeros: the header is the
/// last of it that is not.
pub fn header_before(bytes: &[u8], is_its: impl Fn(&Header) -> bool) -> Option<Header> {
    (HEADER_BYTES..=bytes.len() as u64)
        .step_by(RECORD_ALIGN as usize)
        .find_map(|back| {
            let header = Header::decode(&bytes[bytes.len() - back as usize..]).ok()?;
            is_its(&header).then_some(header)
        })
}

/// The trailer of an extent's record. Blocks on the disk.
fn read_trailer(pack: &PackFile, extent: &Extent) -> Result<Trailer, ReadError> {
    let (io, damaged) = (ReadError::io(extent), ReadError::damaged(extent));
    let at = trailer_offset(extent.offset, extent.length);
    let length = trailer_bytes_max(extent.length) as usize;
    let mut bytes = Vec::new();
    pack.file.read_at(&mut bytes, at, length).map_err(io)?;
    Trailer::decode(&bytes, extent.length).map_err(|_| damaged("the record's trailer is not valid"))
}

/// The next bytes of an extent: those of `range` (within the body) that lie in its first window.
///
/// Reads at most [`WINDOW_BYTES`] of body and the trailer. Blocks on the disk.
pub fn read_window(
    space: &PackSpace,
    extent: &Extent,
    range: &Range<u64>,
) -> Result<Bytes, ReadError> {
    debug_assert!(range.start < range.end && range.end <= extent.length);
    let (io, damaged) = (ReadError::io(extent), ReadError::damaged(extent));
    let pack = space.pack(extent.pack).map_err(io)?;
    let window = range.start / WINDOW_BYTES;
    let start = window * WINDOW_BYTES;
    let length = WINDOW_BYTES.min(extent.length - start);
    let trailer_at = trailer_offset(extent.offset, extent.length);
    let trailer_length = trailer_bytes_max(extent.length) as usize;

    let mut bytes = Vec::new();
    let trailer = if start + length == extent.length {
        // The last window and the trailer behind it in one read.
        let behind = (trailer_at - (extent.offset + start)) as usize;
        pack.file
            .read_at(&mut bytes, extent.offset + start, behind + trailer_length)
            .map_err(io)?;
        let trailer = bytes.get(behind..).unwrap_or_default();
        let trailer = Trailer::decode(trailer, extent.length)
            .map_err(|_| damaged("the record's trailer is not valid"))?;
        bytes.truncate(length as usize);
        trailer
    } else {
        pack.file
            .read_at(&mut bytes, extent.offset + start, length as usize)
            .map_err(io)?;
        read_trailer(&pack, extent)?
    };
    if bytes.len() as u64 != length {
        return Err(damaged(ENDS_WITHIN));
    }
    if trailer.windows.get(window as usize) != Some(&crc32c::crc32c(&bytes)) {
        return Err(damaged(WRONG_CHECKSUM));
    }
    let end = range.end.min(start + length);
    Ok(Bytes::from(bytes).slice((range.start - start) as usize..(end - start) as usize))
}

/// An extent, opened to be read piece by piece. Cheap to clone.
///
/// Places are within the body, in bytes.
#[derive(Clone)]
pub struct ExtentReader {
    extent: Extent,
    pack: Arc<PackFile>,
    windows: Arc<Windows>,
}

impl ExtentReader {
    /// Opens the extent, if its pack is open and its windows are known.
    pub fn known(space: &PackSpace, extent: &Extent) -> Option<Self> {
        Some(ExtentReader {
            extent: *extent,
            pack: space.open_pack(extent.pack)?,
            windows: space.known_windows().get(extent)?,
        })
    }

    /// Opens the extent. Blocks on the disk.
    pub fn open(space: &PackSpace, extent: &Extent) -> Result<Self, ReadError> {
        let pack = space.pack(extent.pack).map_err(ReadError::io(extent))?;
        let windows = match space.known_windows().get(extent) {
            Some(windows) => windows,
            None => {
                let windows = Windows::new(read_trailer(&pack, extent)?);
                space.known_windows().remember(extent, windows)
            }
        };
        Ok(ExtentReader {
            extent: *extent,
            pack,
            windows,
        })
    }

    /// The extent.
    pub fn extent(&self) -> &Extent {
        &self.extent
    }

    /// The extent's window that `at` lies in: where it begins and ends.
    pub fn window(&self, at: u64) -> Range<u64> {
        at / WINDOW_BYTES * WINDOW_BYTES..window_end(at).min(self.extent.length)
    }

    /// Whether the window that `at` lies in was found right before.
    pub fn is_right(&self, at: u64) -> bool {
        self.windows.is_right(at / WINDOW_BYTES)
    }

    /// Fills `bytes` from `at` on, if they are in memory; `false` otherwise. Does not wait.
    pub fn read_now(&self, bytes: &mut [u8], at: u64) -> bool {
        let read = self.pack.file.read_now(bytes, self.extent.offset + at);
        read.unwrap_or(false)
    }

    /// Fills `bytes` from `at` on. Blocks on the disk.
    pub fn read(&self, bytes: &mut [u8], at: u64) -> Result<(), ReadError> {
        self.forget_cold(at);
        self.fill(bytes, at)
    }

    /// The system reads on behind what is asked for. A window that comes into memory so is not the
    /// one that was found right, though it is there when it is looked at.
    fn forget_cold(&self, at: u64) {
        let Some(map) = self.map() else {
            // Nobody asks then whether a window is in memory.
            return;
        };
        let mut window = self.window(at);
        for _ in 0..=READ_AHEAD_WINDOWS {
            let place = self.extent.offset + window.start..self.extent.offset + window.end;
            if self.is_right(window.start) && !map.is_resident(&place) {
                self.windows.forget(window.start / WINDOW_BYTES);
            }
            if window.end == self.extent.length {
                break;
            }
            window = self.window(window.end);
        }
    }

    fn fill(&self, bytes: &mut [u8], at: u64) -> Result<(), ReadError> {
        let read = self.pack.file.read_exact_at(bytes, self.extent.offset + at);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::damaged(&self.extent)(ENDS_WITHIN),
            _ => ReadError::io(&self.extent)(error),
        })
    }

    /// Reads the window that `at` lies in and sees that it is as it was written; asks for the one
    /// behind it. Blocks on the disk.
    pub fn check(&self, at: u64) -> Result<(), ReadError> {
        let window = self.window(at);
        self.forget_cold(at);
        self.pack
            .file
            .start_reading(self.extent.offset + window.end, WINDOW_BYTES);
        let mut crc = 0;
        let mut at = window.start;
        while at < window.end {
            let mut buffer = Buffer::take((window.end - at).min(BUFFER_BYTES as u64) as usize);
            self.fill(buffer.room(), at)?;
            crc = crc32c::crc32c_append(crc, buffer.as_ref());
            at += buffer.as_ref().len() as u64;
        }
        self.compare(window.start, crc)
    }

    /// Sees that the window that `at` lies in has that CRC-32C.
    pub fn compare(&self, at: u64, crc: u32) -> Result<(), ReadError> {
        let window = at / WINDOW_BYTES;
        if self.windows.checksum(window) != Some(crc) {
            return Err(ReadError::damaged(&self.extent)(WRONG_CHECKSUM));
        }
        self.windows.found_right(window);
        Ok(())
    }

    /// The extent's pack as addresses, where it can be mapped.
    pub fn map(&self) -> Option<Arc<Mapping>> {
        self.pack.map(self.extent.offset + self.extent.length)
    }
}
