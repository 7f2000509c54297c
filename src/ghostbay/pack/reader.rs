//! Reading extents: every window is checked against its record's trailer before a byte of it is
//! given out.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::extent::Extent;
use super::record::{
    BLOCK_BYTES, HEADER_BYTES, Header, RECORD_ALIGN, Trailer, WINDOW_BYTES, trailer_bytes_max,
    trailer_offset,
};
use super::space::PackSpace;
use crate::digest::Digest;

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
    let mut bytes = Vec::new();
    let length = trailer_bytes_max(extent.length) as usize;
    let trailer = trailer_offset(extent.offset, extent.length);
    pack.file.read_at(&mut bytes, trailer, length).map_err(io)?;
    let trailer = Trailer::decode(&bytes, extent.length)
        .map_err(|_| damaged("the record's trailer is not valid"))?;
    bytes.clear();
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
        let trailer = Trailer::decode(trailer, extent.length);
        bytes.truncate(length as usize);
        trailer
    } else {
        let mut trailer = Vec::new();
        pack.file
            .read_at(&mut trailer, trailer_at, trailer_length)
            .map_err(io)?;
        pack.file
            .read_at(&mut bytes, extent.offset + start, length as usize)
            .map_err(io)?;
        Trailer::decode(&trailer, extent.length)
    };
    let trailer = trailer.map_err(|_| damaged("the record's trailer is not valid"))?;
    if bytes.len() as u64 != length {
        return Err(damaged("the pack ends within the body"));
    }
    if trailer.windows.get(window as usize) != Some(&crc32c::crc32c(&bytes)) {
        return Err(damaged("the checksum of a window does not match"));
    }
    let end = range.end.min(start + length);
    Ok(Bytes::from(bytes).slice((range.start - start) as usize..(end - start) as usize))
}
