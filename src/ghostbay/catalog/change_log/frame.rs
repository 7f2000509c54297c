//! Frames: the rows of a transaction, or of a whole catalog, as checksummed bytes.
//!
//! A frame is its payload's length, a checksum chained to the frame before, and the payload: the
//! transaction's sequence number and time, whether it is the transaction's last frame and another
//! transaction belongs to the same state, and rows. What is chained cannot be put together from pieces
//! of other files, and a torn end is seen.

use crate::ghostbay::catalog::table::Change;

/// Length and checksum before a frame's payload, in bytes.
pub const FRAME_HEADER_BYTES: usize = 8;
/// A frame is closed when its payload has grown to this.
pub const FRAME_BYTES_TARGET: usize = 1 << 20;
/// The most bytes that a payload can have: the target and one row more, of the greatest length.
pub const FRAME_BYTES_MAX: usize = FRAME_BYTES_TARGET + (17 << 20);

/// Bytes of a payload before its rows: sequence, time and flags.
const PAYLOAD_FIXED_BYTES: usize = 17;
const FLAG_LAST: u8 = 1;
/// [`FLAG_LAST`], and another flag that says that more belongs to the state.
const FOLLOWED: u8 = FLAG_LAST | 2;
const ROW_DELETED: u8 = 0;
const ROW_PUT: u8 = 1;

/// Why a frame could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end within the frame.
    #[error("cut short")]
    Short,
    /// Length, checksum or rows are not what was written.
    #[error("damaged")]
    Damaged,
}

/// Writes frames, each chained to the one before.
pub struct FrameWriter {
    chain: u32,
}

impl FrameWriter {
    /// A writer whose first frame is chained to `chain`, the checksum of the file's header.
    pub fn new(chain: u32) -> Self {
        FrameWriter { chain }
    }

    /// Appends one transaction to `out`, as one frame or several. `time_ms` says when it was
    /// committed, in milliseconds since 1970.
    pub fn transaction(
        &mut self,
        sequence: u64,
        time_ms: u64,
        changes: &[Change],
        out: &mut Vec<u8>,
    ) {
        let mut payload = Payload::new(sequence, time_ms);
        for (key, value) in changes {
            if payload.bytes.len() >= FRAME_BYTES_TARGET {
                self.close(payload, End::Open, out);
                payload = Payload::new(sequence, time_ms);
            }
            payload.row(key, value.as_deref());
        }
        self.close(payload, End::Last, out);
    }

    /// Appends one frame.
    pub fn frame<'a>(
        &mut self,
        sequence: u64,
        time_ms: u64,
        rows: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
        end: End,
        out: &mut Vec<u8>,
    ) {
        let mut payload = Payload::new(sequence, time_ms);
        for (key, value) in rows {
            payload.row(key, value);
        }
        self.close(payload, end, out);
    }

    /// The checksum that the next frame is chained to.
    pub fn chain(&self) -> u32 {
        self.chain
    }

    fn close(&mut self, payload: Payload, end: End, out: &mut Vec<u8>) {
        let payload = payload.close(end);
        let length = (payload.len() as u32).to_le_bytes();
        self.chain = checksum(self.chain, length, &payload);
        out.extend_from_slice(&length);
        out.extend_from_slice(&self.chain.to_le_bytes());
        out.extend_from_slice(&payload);
    }
}

fn checksum(chain: u32, length: [u8; 4], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&chain.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &length), payload)
}

struct Payload {
    bytes: Vec<u8>,
}

impl Payload {
    fn new(sequence: u64, time_ms: u64) -> Self {
        let mut bytes = sequence.to_le_bytes().to_vec();
        bytes.extend_from_slice(&time_ms.to_le_bytes());
        bytes.push(0);
        Payload { bytes }
    }

    fn row(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.bytes.push(if value.is_some() {
            ROW_PUT
        } else {
            ROW_DELETED
        });
        for field in std::iter::once(key).chain(value) {
            self.bytes
                .extend_from_slice(&(field.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(field);
        }
    }

    fn close(mut self, end: End) -> Vec<u8> {
        self.bytes[PAYLOAD_FIXED_BYTES - 1] = match end {
            End::Open => 0,
            End::Last => FLAG_LAST,
            End::Followed => FOLLOWED,
        };
        self.bytes
    }
}

/// Whether a transaction ends with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It goes on in the next one.
    Open,
    /// It ends.
    Last,
    /// It ends, and is only a part of the checkpoint's state: the next transaction is one as well.
    Followed,
}

impl End {
    /// Whether the transaction ends.
    pub fn is_last(self) -> bool {
        self != End::Open
    }
}

/// A frame that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// The transaction that its rows belong to.
    pub sequence: u64,
    /// When the transaction was committed, in milliseconds since 1970.
    pub time_ms: u64,
    /// Whether the transaction ends with it.
    pub end: End,
    /// The rows.
    pub changes: Vec<Change>,
}

impl Frame {
    /// What it takes in the file, header and all, in bytes.
    pub fn stored_bytes(&self) -> u64 {
        let field = |bytes: &[u8]| size_of::<u32>() + bytes.len();
        let row = |(key, value): &Change| 1 + field(key) + value.as_deref().map_or(0, field);
        let rows: usize = self.changes.iter().map(row).sum();
        (FRAME_HEADER_BYTES + PAYLOAD_FIXED_BYTES + rows) as u64
    }
}

/// Length of the payload that a frame's header announces.
pub fn payload_bytes(header: &[u8; FRAME_HEADER_BYTES]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    if (PAYLOAD_FIXED_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        Ok(length)
    } else {
        Err(FrameError::Damaged)
    }
}

/// Reads a frame that is chained to `chain`, and moves the chain on.
pub fn decode(
    chain: &mut u32,
    header: &[u8; FRAME_HEADER_BYTES],
    payload: &[u8],
) -> Result<Frame, FrameError> {
    let length = [header[0], header[1], header[2], header[3]];
    let stored = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    if payload.len() != payload_bytes(header)? || checksum(*chain, length, payload) != stored {
        return Err(FrameError::Damaged);
    }
    *chain = stored;
    let (sequence, rest) = payload.split_first_chunk().ok_or(FrameError::Damaged)?;
    let (time_ms, rest) = rest.split_first_chunk().ok_or(FrameError::Damaged)?;
    let (flags, mut rest) = rest.split_first().ok_or(FrameError::Damaged)?;
    let mut changes = Vec::new();
    while let Some((kind, fields)) = rest.split_first() {
        rest = fields;
        let key = field(&mut rest)?.to_vec();
        let value = match *kind {
            ROW_PUT => Some(field(&mut rest)?.to_vec()),
            ROW_DELETED => None,
            _ => return Err(FrameError::Damaged),
        };
        changes.push((key, value));
    }
    Ok(Frame {
        sequence: u64::from_le_bytes(*sequence),
        time_ms: u64::from_le_bytes(*time_ms),
        end: match *flags {
            0 => End::Open,
            FLAG_LAST => End::Last,
            FOLLOWED => End::Followed,
            _ => return Err(FrameError::Damaged),
        },
        changes,
    })
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], FrameError> {
    let (length, behind) = rest.split_first_chunk().ok_or(FrameError::Damaged)?;
    let (field, behind) = behind
        .split_at_checked(u32::from_le_bytes(*length) as usize)
        .ok_or(FrameError::Damaged)?;
    *rest = behind;
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8], mut chain: u32) -> Result<Vec<Frame>, FrameError> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (header, rest) = bytes.split_first_chunk().ok_or(FrameError::Short)?;
            let (payload, rest) = rest
                .split_at_checked(payload_bytes(header)?)
                .ok_or(FrameError::Short)?;
            frames.push(decode(&mut chain, header, payload)?);
            bytes = rest;
        }
        Ok(frames)
    }

    #[test]
    fn transactions_come_back_and_long_ones_in_several_frames() {
        let short = vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)];
        let long: Vec<Change> = (0..40u8)
            .map(|n| (vec![n], Some(vec![n; 100_000])))
            .collect();
        let mut writer = FrameWriter::new(7);
        let mut bytes = Vec::new();
        writer.transaction(1, 10, &short, &mut bytes);
        writer.transaction(2, 20, &long, &mut bytes);
        let frames = read(&bytes, 7).unwrap();
        assert_eq!(frames[0].changes, short);
        assert!(frames[0].end.is_last());
        assert_eq!((frames[0].time_ms, frames[1].time_ms), (10, 20));
        assert!(frames.len() > 3);
        let rest: Vec<Change> = frames[1..]
            .iter()
            .flat_map(|frame| frame.changes.clone())
            .collect();
        assert_eq!(rest, long);
        let lasts = frames[1..]
            .iter()
            .filter(|frame| frame.end.is_last())
            .count();
        assert_eq!(lasts, 1);
        assert!(frames[1..].iter().all(|frame| frame.sequence == 2));
        let stored: u64 = frames.iter().map(Frame::stored_bytes).sum();
        assert_eq!(stored, bytes.len() as u64);
    }

    #[test]
    fn no_flipped_bit_goes_unseen_and_no_frame_can_be_moved() {
        let mut writer = FrameWriter::new(7);
        let mut bytes = Vec::new();
        writer.transaction(1, 10, &[(b"k".to_vec(), Some(b"v".to_vec()))], &mut bytes);
        let one = bytes.len();
        writer.transaction(2, 20, &[(b"k".to_vec(), None)], &mut bytes);
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&damaged, 7).is_err(), "bit {bit}");
        }
        assert!(read(&bytes, 8).is_err(), "another file's chain");
        assert!(read(&bytes[one..], 7).is_err(), "a frame out of its place");
    }
}
