//! Walking a pack without the index: from header to header, never searching bodies, which clients
//! choose.

use std::io;

use super::extent::Extent;
use super::file::{PACK_HEADER_BYTES, PackFile};
use super::record::{
    HEADER_BYTES, Header, Trailer, body_offset, record_end, trailer_bytes_max, trailer_offset,
};
use super::writer::RECORD_BODY_BYTES_MAX;
use crate::digest::Digest;

/// A record whose header and trailer are whole. Its body was not looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What its header says.
    pub header: Header,
    /// Where its body lies.
    pub extent: Extent,
    /// The blob that it completes, if its trailer names one.
    pub digest: Option<Digest>,
}

/// What a walk found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walk {
    /// The records, in the order of their places. One whose trailer is damaged is left out.
    pub records: Vec<Record>,
    /// Where the walk ended: behind it no record's header follows.
    pub end: u64,
    /// Length of the pack's file.
    pub length: u64,
}

/// Walks a pack to the first place where no header lies.
pub fn walk(pack: &PackFile) -> io::Result<Walk> {
    let length = pack.file.length()?;
    let mut records = Vec::new();
    let mut at = PACK_HEADER_BYTES;
    loop {
        let mut bytes = Vec::new();
        pack.file.read_at(&mut bytes, at, HEADER_BYTES as usize)?;
        let header = match Header::decode(&bytes) {
            Ok(header) if (1..=RECORD_BODY_BYTES_MAX).contains(&header.length) => header,
            _ => break,
        };
        let extent = Extent {
            pack: pack.id,
            offset: body_offset(at, header.block_aligned),
            length: header.length,
        };
        bytes.clear();
        let trailer = trailer_offset(extent.offset, extent.length);
        let longest = trailer_bytes_max(extent.length) as usize;
        pack.file.read_at(&mut bytes, trailer, longest)?;
        if let Ok(trailer) = Trailer::decode(&bytes, extent.length) {
            records.push(Record {
                header,
                extent,
                digest: trailer.digest,
            });
        }
        at = record_end(extent.offset, extent.length);
    }
    Ok(Walk {
        records,
        end: at.min(length),
        length,
    })
}
