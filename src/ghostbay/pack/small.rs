//! The pack that small bodies share: the committer appends a whole batch with one sync.

use std::io;

use bytes::Bytes;

use super::extent::Extent;
use super::record::{Header, Trailer, body_offset, record_end, trailer_offset};
use super::space::{Lease, PackSpace};
use crate::digest::Digest;
use crate::ghostbay::catalog::SmallBodies;

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

/// The committer's own pack. It is never cut while the store runs: a batch that failed leaves
/// its bytes behind, and the next start cuts them off.
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
        if let Some(lease) = &mut self.lease
            && lease.tail() + bytes > self.space.options().pack_bytes_max
        {
            lease.retire();
            self.lease = None;
        }
        let lease = match &mut self.lease {
            Some(lease) => lease,
            none => none.insert(self.space.lease()?),
        };
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
        lease.pack().file.write_at(&buffer, start)?;
        lease.pack().file.sync_data()?;
        lease.advance(start + buffer.len() as u64);
        lease.commit();
        Ok(extents)
    }
}

impl SmallBodies for SharedPack {
    fn append(&mut self, bodies: &[&SmallBody]) -> io::Result<Vec<Extent>> {
        let result = self.append_to_lease(bodies);
        if result.is_err()
            && let Some(mut lease) = self.lease.take()
        {
            // After a failed sync nobody knows what of the pack is on the disk.
            lease.retire();
        }
        result
    }
}
