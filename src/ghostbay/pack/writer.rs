//! Writing a body: a stream of bytes becomes one record or several.

use std::io;
use std::sync::Arc;

use super::accounts::Written;
use super::extent::Extent;
use super::file::PackFile;
use super::record::{
    BLOCK_ALIGNED_FROM_BYTES, Header, Trailer, WINDOW_BYTES, body_offset, record_end,
    trailer_bytes_max, trailer_offset,
};
use super::space::{Lease, PackSpace};
use crate::digest::Digest;
use crate::ghostbay::disk::SyncPoint;

/// A record's body is cut after this many bytes, and the next record goes on with it.
pub const RECORD_BODY_BYTES_MAX: u64 = 64 << 20;

/// Written bytes are handed to the disk in steps of this, so that the last sync is short.
const WRITEBACK_BYTES: u64 = 8 << 20;

/// A record whose body is being written.
struct Record {
    header_offset: u64,
    body_offset: u64,
    length: u64,
    length_max: u64,
    block_aligned: bool,
    windows: Vec<u32>,
    window_crc: u32,
    window_length: u64,
    body_crc: u32,
    written_back: u64,
}

impl Record {
    fn take_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (WINDOW_BYTES - self.window_length) as usize;
            let (now, rest) = bytes.split_at(bytes.len().min(room));
            self.window_crc = crc32c::crc32c_append(self.window_crc, now);
            self.window_length += now.len() as u64;
            self.length += now.len() as u64;
            if self.window_length == WINDOW_BYTES {
                self.close_window();
            }
            bytes = rest;
        }
    }

    fn close_window(&mut self) {
        self.body_crc = if self.windows.is_empty() {
            self.window_crc
        } else {
            crc32c::crc32c_combine(self.body_crc, self.window_crc, self.window_length as usize)
        };
        self.windows.push(self.window_crc);
        self.window_crc = 0;
        self.window_length = 0;
    }
}

/// Writes one owner's bytes to packs that it leases, one after the other.
///
/// Dropping it without [`BodyWriter::commit`] cuts away what was not committed.
pub struct BodyWriter {
    space: PackSpace,
    owner: [u8; 16],
    position: u64,
    /// Bytes still to come, where known.
    remaining: Option<u64>,
    lease: Option<Lease>,
    record: Option<Record>,
    /// Leases whose packs are full, kept until what they hold is committed.
    filled: Vec<Lease>,
    unsynced: Vec<Arc<PackFile>>,
    written: Written,
}

impl BodyWriter {
    /// A writer for `owner`, whose next byte is number `position` of its stream.
    pub fn new(space: PackSpace, owner: [u8; 16], position: u64, remaining: Option<u64>) -> Self {
        BodyWriter {
            space,
            owner,
            position,
            remaining,
            lease: None,
            record: None,
            filled: Vec::new(),
            unsynced: Vec::new(),
            written: Written::default(),
        }
    }

    /// Goes on with bytes of another owner, in a record of their own: `length` of them, from number
    /// `position` of its stream on. The record before is sealed.
    pub fn begin_stream(&mut self, owner: [u8; 16], position: u64, length: u64) {
        debug_assert!(self.record.is_none(), "two owners in one record");
        self.owner = owner;
        self.position = position;
        self.remaining = Some(length);
    }

    /// The sealed records that were not committed yet; they may not be durable yet.
    pub fn sealed(&self) -> &[Extent] {
        &self.written.extents
    }

    /// Appends bytes. A record that has reached its greatest length is sealed on the way.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.record.is_none() {
                self.begin()?;
            }
            let (Some(record), Some(lease)) = (&mut self.record, &mut self.lease) else {
                unreachable!("a record is open, and so is its pack");
            };
            let room = record.length_max - record.length;
            let (now, rest) = bytes.split_at(bytes.len().min(room as usize));
            let at = record.body_offset + record.length;
            let known_end = self.remaining.map(|remaining| {
                record_end(record.body_offset, record.length + remaining.min(room))
            });
            lease.reserve(at + now.len() as u64, known_end)?;
            lease.pack().file.write_at(now, at)?;
            record.take_in(now);
            if record.length - record.written_back >= WRITEBACK_BYTES {
                lease.pack().file.start_writeback(
                    record.body_offset + record.written_back,
                    record.length - record.written_back,
                );
                record.written_back = record.length;
            }
            if let Some(remaining) = &mut self.remaining {
                *remaining = remaining.saturating_sub(now.len() as u64);
            }
            if record.length == record.length_max {
                self.seal(None)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        loop {
            let lease = match self.lease.take() {
                Some(lease) => lease,
                None => self.space.lease()?,
            };
            let length = self.remaining.unwrap_or(RECORD_BODY_BYTES_MAX);
            let block_aligned = length >= BLOCK_ALIGNED_FROM_BYTES;
            let header_offset = lease.tail();
            let body_offset = body_offset(header_offset, block_aligned);
            // What the trailer and its alignment may take behind the body.
            let behind = trailer_bytes_max(RECORD_BODY_BYTES_MAX) + 128;
            let room = self
                .space
                .options()
                .pack_bytes_max
                .saturating_sub(body_offset + behind);
            if room < BLOCK_ALIGNED_FROM_BYTES {
                self.fill(lease);
                continue;
            }
            self.record = Some(Record {
                header_offset,
                body_offset,
                length: 0,
                length_max: room.min(RECORD_BODY_BYTES_MAX),
                block_aligned,
                windows: Vec::new(),
                window_crc: 0,
                window_length: 0,
                body_crc: 0,
                written_back: 0,
            });
            self.lease = Some(lease);
            return Ok(());
        }
    }

    /// Puts a lease aside whose pack has no room for a record.
    fn fill(&mut self, lease: Lease) {
        self.written.full.push(lease.pack().id);
        self.filled.push(lease);
    }

    /// Ends the open record, if there is one: trailer, then header. `digest` is given when the
    /// record completes a blob. The record is durable after the next [`BodyWriter::sync`].
    pub fn seal(&mut self, digest: Option<Digest>) -> io::Result<()> {
        let (Some(mut record), Some(lease)) = (self.record.take(), &mut self.lease) else {
            return Ok(());
        };
        if record.window_length > 0 {
            record.close_window();
        }
        let file = &lease.pack().file;
        let trailer = Trailer {
            windows: record.windows,
            digest,
        };
        // The room behind the trailer is written too, so that the file reaches its tail: a cut
        // to a length that lies behind a file's end gives no reserved block back.
        let trailer_offset = trailer_offset(record.body_offset, record.length);
        let end = record_end(record.body_offset, record.length);
        let mut trailer = trailer.encode();
        trailer.resize((end - trailer_offset) as usize, 0);
        file.write_at(&trailer, trailer_offset)?;
        // The length is known only now; the pack is ours alone, so nobody has looked yet.
        let header = Header {
            owner: self.owner,
            position: self.position,
            length: record.length,
            body_crc: record.body_crc,
            block_aligned: record.block_aligned,
        };
        file.write_at(&header.encode(), record.header_offset)?;
        self.written.extents.push(Extent {
            pack: lease.pack().id,
            offset: record.body_offset,
            length: record.length,
        });
        self.position += record.length;
        if !self.unsynced.iter().any(|pack| pack.id == lease.pack().id) {
            self.unsynced.push(lease.pack().clone());
        }
        lease.advance(end);
        Ok(())
    }

    /// Makes all sealed records durable (ORDERING.md, O1).
    pub fn sync(&mut self) -> io::Result<()> {
        for pack in self.unsynced.drain(..) {
            pack.file.sync_data(SyncPoint::Bodies)?;
        }
        Ok(())
    }

    /// The sealed records that were not committed yet. Sync first.
    pub fn written(&self) -> &Written {
        debug_assert!(
            self.unsynced.is_empty(),
            "records named before they are durable"
        );
        &self.written
    }

    /// The records in [`BodyWriter::written`] are in the index now.
    pub fn commit(&mut self) {
        self.written = Written::default();
        for mut lease in self.filled.drain(..) {
            lease.commit();
            lease.trim();
            lease.retire();
        }
        if let Some(lease) = &mut self.lease {
            lease.commit();
        }
    }

    /// Whether the records in [`BodyWriter::written`] are in the index is not known, or a pack
    /// failed: nothing of them is cut, and the packs are left alone until the next start.
    pub fn abandon(mut self) {
        for lease in self.filled.iter_mut().chain(&mut self.lease) {
            lease.retire();
        }
    }
}
