//! A record of a pack: header, body, trailer. FORMAT.md shows the bytes.
//!
//! The header announces the body's length, so a walk goes from header to header and never looks
//! for a magic number inside bodies, which a client could forge.

use crate::digest::{Algorithm, Digest};

/// Length of a record's header.
pub const HEADER_BYTES: u64 = 64;
/// First bytes of a record's header.
pub const HEADER_MAGIC: [u8; 4] = *b"GBRc";
/// First bytes of a record's trailer.
pub const TRAILER_MAGIC: [u8; 4] = *b"GBTr";
/// Length of a trailer without windows and digest.
pub const TRAILER_FIXED_BYTES: u64 = 16;
/// Body bytes that one checksum of the trailer covers.
pub const WINDOW_BYTES: u64 = 1 << 20;
/// Bodies of this length and more begin on a block, so that their blocks can be freed.
pub const BLOCK_ALIGNED_FROM_BYTES: u64 = 64 << 10;
/// The block that long bodies begin on.
pub const BLOCK_BYTES: u64 = 4096;
/// Records begin on multiples of this.
pub const RECORD_ALIGN: u64 = 64;
/// Trailers begin on multiples of this.
const TRAILER_ALIGN: u64 = 8;

/// Kind of a record: a body, or a part of one.
const KIND_BODY: u8 = 1;
/// Flag: the body begins on the next block, not directly behind the header.
const FLAG_BLOCK_ALIGNED: u8 = 1;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than the part has.
    #[error("cut short")]
    Short,
    /// No record begins here.
    #[error("no record magic")]
    Magic,
    /// The checksum over the part itself is wrong.
    #[error("wrong checksum")]
    Checksum,
    /// The part is whole, but says something that this version does not write.
    #[error("unknown kind, flag or algorithm")]
    Unknown,
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The upload or object that the body was written for.
    pub owner: [u8; 16],
    /// Where the body begins within its owner's stream of bytes.
    pub position: u64,
    /// Length of the body in bytes.
    pub length: u64,
    /// CRC-32C of the body.
    pub body_crc: u32,
    /// Whether the body begins on the next block.
    pub block_aligned: bool,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[0..4].copy_from_slice(&HEADER_MAGIC);
        bytes[4] = KIND_BODY;
        bytes[5] = if self.block_aligned {
            FLAG_BLOCK_ALIGNED
        } else {
            0
        };
        bytes[8..24].copy_from_slice(&self.owner);
        bytes[24..32].copy_from_slice(&self.length.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.position.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header that `bytes` begin with.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let bytes = bytes
            .get(..HEADER_BYTES as usize)
            .ok_or(RecordError::Short)?;
        if bytes[0..4] != HEADER_MAGIC {
            return Err(RecordError::Magic);
        }
        if u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Err(RecordError::Checksum);
        }
        if bytes[4] != KIND_BODY || bytes[5] & !FLAG_BLOCK_ALIGNED != 0 {
            return Err(RecordError::Unknown);
        }
        let mut owner = [0; 16];
        owner.copy_from_slice(&bytes[8..24]);
        Ok(Header {
            owner,
            position: u64_at(bytes, 32),
            length: u64_at(bytes, 24),
            body_crc: u32_at(bytes, 40),
            block_aligned: bytes[5] & FLAG_BLOCK_ALIGNED != 0,
        })
    }
}

/// The trailer of a record: what its body is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// CRC-32C of each window of [`WINDOW_BYTES`], the last one shorter.
    pub windows: Vec<u32>,
    /// Digest of the whole blob, where the record is known to complete one.
    pub digest: Option<Digest>,
}

impl Trailer {
    /// Length of the encoded trailer.
    pub fn encoded_bytes(&self) -> u64 {
        let digest = self.digest.map_or(0, |digest| digest.raw().len());
        TRAILER_FIXED_BYTES + 4 * self.windows.len() as u64 + digest as u64
    }

    /// The trailer's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_bytes() as usize);
        bytes.extend_from_slice(&TRAILER_MAGIC);
        bytes.extend_from_slice(&(self.windows.len() as u32).to_le_bytes());
        bytes.push(self.digest.map_or(0, |digest| digest.algorithm().code()));
        bytes.extend_from_slice(&[0; 7]);
        for window in &self.windows {
            bytes.extend_from_slice(&window.to_le_bytes());
        }
        if let Some(digest) = &self.digest {
            bytes.extend_from_slice(digest.raw());
        }
        // The checksum covers everything, itself as zeros.
        let crc = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The trailer that `bytes` begin with, of a body of `length` bytes.
    pub fn decode(bytes: &[u8], length: u64) -> Result<Self, RecordError> {
        let fixed = bytes
            .get(..TRAILER_FIXED_BYTES as usize)
            .ok_or(RecordError::Short)?;
        if fixed[0..4] != TRAILER_MAGIC {
            return Err(RecordError::Magic);
        }
        let count = u32_at(fixed, 4);
        if u64::from(count) != length.div_ceil(WINDOW_BYTES) {
            return Err(RecordError::Checksum);
        }
        let algorithm = match fixed[8] {
            0 => None,
            code => Some(Algorithm::from_code(code).ok_or(RecordError::Unknown)?),
        };
        let digest_bytes = algorithm.map_or(0, Algorithm::digest_bytes);
        let windows_end = TRAILER_FIXED_BYTES as usize + 4 * count as usize;
        let whole = bytes
            .get(..windows_end + digest_bytes)
            .ok_or(RecordError::Short)?;
        let crc = crc32c::crc32c(&fixed[..12]);
        let crc = crc32c::crc32c_append(crc, &[0; 4]);
        let crc = crc32c::crc32c_append(crc, &whole[16..]);
        if u32_at(fixed, 12) != crc {
            return Err(RecordError::Checksum);
        }
        let windows = whole[16..windows_end]
            .chunks_exact(4)
            .map(|window| u32_at(window, 0))
            .collect();
        let digest =
            algorithm.and_then(|algorithm| Digest::from_raw(algorithm, &whole[windows_end..]));
        Ok(Trailer { windows, digest })
    }
}

/// The most bytes that the trailer of a body of `length` bytes can have.
pub fn trailer_bytes_max(length: u64) -> u64 {
    TRAILER_FIXED_BYTES
        + 4 * length.div_ceil(WINDOW_BYTES)
        + Algorithm::Sha512.digest_bytes() as u64
}

/// Where the body of a record that begins at `record` begins.
pub fn body_offset(record: u64, block_aligned: bool) -> u64 {
    let behind_header = record + HEADER_BYTES;
    if block_aligned {
        behind_header.next_multiple_of(BLOCK_BYTES)
    } else {
        behind_header
    }
}

/// Where the trailer of a body begins.
pub fn trailer_offset(body_offset: u64, length: u64) -> u64 {
    (body_offset + length).next_multiple_of(TRAILER_ALIGN)
}

/// Where the window that holds byte `position` of a body ends, if the body goes on that far.
pub fn window_end(position: u64) -> u64 {
    (position / WINDOW_BYTES + 1) * WINDOW_BYTES
}

/// Where the next record begins, behind a body of that place. Room for the longest trailer is
/// kept, so that an extent alone says how much of its pack it takes.
pub fn record_end(body_offset: u64, length: u64) -> u64 {
    (trailer_offset(body_offset, length) + trailer_bytes_max(length)).next_multiple_of(RECORD_ALIGN)
}

/// The bytes of a pack that a record with a body of that place takes, header to trailer.
pub fn footprint(body_offset: u64, length: u64) -> u64 {
    record_end(body_offset, length) - body_offset + HEADER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            owner: [7; 16],
            position: 3 << 33,
            length: 5 << 32 | 9,
            body_crc: 0xdead_beef,
            block_aligned: true,
        }
    }

    fn trailer(length: u64, digest: Option<Digest>) -> Trailer {
        Trailer {
            windows: (0..length.div_ceil(WINDOW_BYTES) as u32).collect(),
            digest,
        }
    }

    #[test]
    fn headers_come_back_and_no_flipped_bit_goes_unseen() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Ok(header()));
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&damaged).is_err(), "bit {bit}");
        }
        assert_eq!(Header::decode(&bytes[..63]), Err(RecordError::Short));
        assert_eq!(Header::decode(&[0; 64]), Err(RecordError::Magic));
    }

    #[test]
    fn trailers_come_back_and_no_flipped_bit_goes_unseen() {
        for digest in [
            None,
            Some(Digest::of(Algorithm::Sha256, b"x")),
            Some(Digest::of(Algorithm::Sha512, b"x")),
        ] {
            for length in [1, WINDOW_BYTES, WINDOW_BYTES + 1, 64 * WINDOW_BYTES] {
                let trailer = trailer(length, digest);
                let bytes = trailer.encode();
                assert_eq!(bytes.len() as u64, trailer.encoded_bytes());
                assert!(trailer.encoded_bytes() <= trailer_bytes_max(length));
                assert_eq!(Trailer::decode(&bytes, length), Ok(trailer));
                for bit in 0..8 * bytes.len() {
                    let mut damaged = bytes.clone();
                    damaged[bit / 8] ^= 1 << (bit % 8);
                    assert!(Trailer::decode(&damaged, length).is_err(), "bit {bit}");
                }
                assert!(Trailer::decode(&bytes[..bytes.len() - 1], length).is_err());
            }
        }
    }

    #[test]
    fn records_lie_one_behind_the_other_on_their_alignment() {
        assert_eq!(body_offset(4096, false), 4160);
        assert_eq!(body_offset(4096, true), 8192);
        assert_eq!(body_offset(8192 - 64, true), 8192);
        let end = record_end(4160, 5);
        assert_eq!(end % RECORD_ALIGN, 0);
        assert!(end >= 4168 + TRAILER_FIXED_BYTES + 4 + 64);
        assert_eq!(footprint(4160, 5), end - 4096);
    }
}
