//! The pack that small bodies share: the committer appends a whole batch with one sync.

use std::io;

use bytes::Bytes;

use super::extent::Extent;
use super::file::PACK_HEADER_BYTES;
use super::record::{Header, Trailer, body_offset, record_end, trailer_offset};
use super::space::{Lease, PackSpace};
use crate::digest::Digest;
use crate::ghostbay::catalog::SmallBodies;
use crate::ghostbay::disk::SyncPoint;

/// Bodies up to this length are gathered in memory and appended by the committer.
pub const SMALL_BODY_BYTES_MAX: u64 = 256 << 10;

/// A body that is to be appended with the transaction that names it.
#[derive(Clone, Debug)]
pub struct SmallBody {
    /// The upload or object that it belongs to.
    pub owner: [u8; 16],
    /// Where it begins within its owner's stream of bytes.
    pub position: u64,
    /// The bytes; never empty.
    pub bytes: Bytes,
    /// Digest of the whole blob, if the body completes one.
    pub digest: Option<Digest>,
}

/// The committer's own pack. What was synced is never cut while the store runs: a batch whose
/// transaction failed leaves its bytes behind, and the next start cuts them off.
pub struct SharedPack {
    space: PackSpace,
    lease: Option<Lease>,
}

impl SharedPack {
    /// A shared pack of `space`, leased with the first body.
    pub fn new(space: PackSpace) -> Self {
        SharedPack { space, lease: None }
    }

    fn append_to_lease(&mut self, bodies: &[&SmallBody]) -> io::Result<Vec<Extent>> {
        let bytes: u64 = bodies
            .iter()
            .map(|body| record_end(0, body.bytes.len() as u64) + 128)
            .sum();
        let mut lease = self.lease_with_room(bytes)?;
        // One buffer, one write: the records of a batch lie one behind the other.
        let start = lease.tail();
        let mut buffer = Vec::with_capacity(bytes as usize);
        let mut extents = Vec::with_capacity(bodies.len());
        for body in bodies {
            let length = body.bytes.len() as u64;
            let offset = body_offset(start + buffer.len() as u64, false);
            let crc = crc32c::crc32c(&body.bytes);
            let header = Header {
                owner: body.owner,
                position: body.position,
                length,
                body_crc: crc,
                block_aligned: false,
            };
            let trailer = Trailer {
                windows: vec![crc],
                digest: body.digest,
            };
            buffer.extend_from_slice(&header.encode());
            buffer.extend_from_slice(&body.bytes);
            buffer.resize((trailer_offset(offset, length) - start) as usize, 0);
            buffer.extend_from_slice(&trailer.encode());
            buffer.resize((record_end(offset, length) - start) as usize, 0);
            extents.push(Extent {
                pack: lease.pack().id,
                offset,
                length,
            });
        }
        let file = lease.pack().file.clone();
        if let Err(error) = file.write_at(&buffer, start) {
            // Nothing names these bytes yet. Cut off, they give a full disk its space back.
            match file.truncate(start) {
                Ok(()) => self.lease = Some(lease),
                Err(_) => lease.retire(),
            }
            return Err(error);
        }
        if let Err(error) = file.sync_data(SyncPoint::SmallBodies) {
            // After a failed sync nobody knows what of the pack is on the disk.
            lease.retire();
            return Err(error);
        }
        lease.advance(start + buffer.len() as u64);
        lease.commit();
        self.lease = Some(lease);
        Ok(extents)
    }

    /// A lease with room for so many bytes. Packs without go back to the pool, where longer
    /// bodies fill them up; a new pack takes a batch of any length.
    fn lease_with_room(&mut self, bytes: u64) -> io::Result<Lease> {
        if self
            .lease
            .as_ref()
            .is_some_and(|lease| self.space.is_wanted(lease.pack().id))
        {
            self.lease = None;
        }
        let mut full = Vec::new();
        loop {
            let lease = match self.lease.take() {
                Some(lease) => lease,
                None => self.space.lease()?,
            };
            let end = lease.tail() + bytes;
            if end <= self.space.options().pack_bytes_max || lease.tail() == PACK_HEADER_BYTES {
                return Ok(lease);
            }
            full.push(lease);
        }
    }
}

impl SmallBodies for SharedPack {
    fn append(&mut self, bodies: &[&SmallBody]) -> io::Result<Vec<Extent>> {
        self.append_to_lease(bodies)
    }

    fn rest(&mut self) {
        self.lease = None;
    }
}
