//! Files of the change log: names, headers, and reading them frame by frame.

use std::io;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::frame::{self, FRAME_HEADER_BYTES, Frame, FrameError};
use crate::ghostbay::disk::{Disk, DiskFile};

/// First bytes of a file of the log.
pub const LOG_MAGIC: [u8; 8] = *b"GhostLog";
/// Version of the log's format.
pub const LOG_VERSION: u32 = 2;
/// Length of a file's header, in bytes.
pub const LOG_HEADER_BYTES: usize = 80;
/// Ending of the names of files that hold transactions.
pub const CHANGES_SUFFIX: &str = ".changes";
/// Ending of the names of files that hold a whole catalog.
pub const CHECKPOINT_SUFFIX: &str = ".checkpoint";
/// Ending of the name of a checkpoint that is being written.
pub const TEMPORARY_SUFFIX: &str = ".checkpoint.tmp";

/// What a file of the log holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Transactions, from that of the header's sequence number on.
    Changes,
    /// The whole catalog as it was after that transaction, or after a later one that it ends with.
    Checkpoint,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Changes => 1,
            Kind::Checkpoint => 2,
        }
    }
}

/// The header of a file of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogHeader {
    /// What the file holds.
    pub kind: Kind,
    /// Version of the catalog's schema.
    pub schema: u32,
    /// The store.
    pub store: Uuid,
    /// First transaction that the file may hold, or the one behind which a checkpoint was begun.
    pub sequence: u64,
    /// When the file of changes or the checkpoint was begun, in milliseconds since 1970.
    pub time_ms: u64,
    /// The branch of the store's history: another one from each restore on.
    pub branch: u64,
}

impl LogHeader {
    /// The header's bytes, and the checksum that the first frame is chained to.
    pub fn encode(&self) -> ([u8; LOG_HEADER_BYTES], u32) {
        let mut bytes = [0; LOG_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&LOG_MAGIC);
        bytes[8..12].copy_from_slice(&LOG_VERSION.to_le_bytes());
        bytes[12] = self.kind.code();
        bytes[16..20].copy_from_slice(&self.schema.to_le_bytes());
        bytes[24..40].copy_from_slice(self.store.as_bytes());
        bytes[40..48].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.branch.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..76]);
        bytes[76..80].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// The header that these bytes are, and the checksum that the first frame is chained to.
    pub fn decode(bytes: &[u8; LOG_HEADER_BYTES]) -> Result<(Self, u32), FrameError> {
        let number = |at: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(field)
        };
        let crc = crc32c::crc32c(&bytes[..76]);
        let kind = match bytes[12] {
            1 => Kind::Changes,
            2 => Kind::Checkpoint,
            _ => return Err(FrameError::Damaged),
        };
        let mut store = [0; 16];
        store.copy_from_slice(&bytes[24..40]);
        let header = LogHeader {
            kind,
            schema: number(16) as u32,
            store: Uuid::from_bytes(store),
            sequence: number(40),
            time_ms: number(48),
            branch: number(56),
        };
        // What was read is written again and compared: magic, version, zeros and checksum alike.
        if header.encode().0 != *bytes {
            return Err(FrameError::Damaged);
        }
        Ok((header, crc))
    }
}

/// The name of a file of the log.
pub fn file_name(kind: Kind, sequence: u64) -> String {
    let suffix = match kind {
        Kind::Changes => CHANGES_SUFFIX,
        Kind::Checkpoint => CHECKPOINT_SUFFIX,
    };
    format!("{sequence:016x}{suffix}")
}

/// What a file name stands for.
pub fn parse_file_name(name: &str) -> Option<(Kind, u64)> {
    let (kind, digits) = if let Some(digits) = name.strip_suffix(CHANGES_SUFFIX) {
        (Kind::Changes, digits)
    } else {
        (Kind::Checkpoint, name.strip_suffix(CHECKPOINT_SUFFIX)?)
    };
    let sequence = u64::from_str_radix(digits, 16).ok()?;
    (file_name(kind, sequence) == name).then_some((kind, sequence))
}

/// Why a file of the log could not be read on.
#[derive(Debug, thiserror::Error)]
pub enum LogReadError {
    /// The system's error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What is there is not what was written. At the end of the newest file of transactions
    /// this is the mark of a power cut.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A file of the log is read in steps of this, in bytes.
const READ_BYTES: usize = 1 << 20;

/// Reads a file of the log, in bounded memory.
pub struct LogReader {
    file: Arc<dyn DiskFile>,
    /// What was read and not given out yet.
    buffer: Vec<u8>,
    /// How much of the buffer was given out.
    taken: usize,
    /// Where the file goes on behind the buffer.
    offset: u64,
    /// Where the next frame begins.
    at: u64,
    /// The file's header.
    pub header: LogHeader,
    chain: u32,
}

impl LogReader {
    /// Opens a file and reads its header.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, LogReadError> {
        let file = disk.open(path)?;
        let mut buffer = Vec::new();
        file.read_at(&mut buffer, 0, READ_BYTES)?;
        let bytes = buffer.first_chunk().ok_or(FrameError::Short)?;
        let (header, chain) = LogHeader::decode(bytes)?;
        Ok(LogReader {
            file,
            offset: buffer.len() as u64,
            buffer,
            taken: LOG_HEADER_BYTES,
            at: LOG_HEADER_BYTES as u64,
            header,
            chain,
        })
    }

    /// The next frame; `None` at the end of the file.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, LogReadError> {
        self.fill(FRAME_HEADER_BYTES)?;
        if self.taken == self.buffer.len() {
            return Ok(None);
        }
        let header: [u8; FRAME_HEADER_BYTES] = *self.buffer[self.taken..]
            .first_chunk()
            .ok_or(FrameError::Short)?;
        let length = frame::payload_bytes(&header)?;
        self.fill(FRAME_HEADER_BYTES + length)?;
        let payload = self.buffer[self.taken + FRAME_HEADER_BYTES..]
            .get(..length)
            .ok_or(FrameError::Short)?;
        let frame = frame::decode(&mut self.chain, &header, payload)?;
        self.taken += FRAME_HEADER_BYTES + length;
        self.at += (FRAME_HEADER_BYTES + length) as u64;
        Ok(Some(frame))
    }

    /// Goes on with the frame at `offset`, which is chained to `chain`.
    pub(super) fn go_to(&mut self, offset: u64, chain: u32) {
        self.buffer.clear();
        self.taken = 0;
        (self.offset, self.at, self.chain) = (offset, offset, chain);
    }

    /// Where the next frame begins, in bytes from the file's start: behind an error, where what
    /// cannot be read begins.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The file's length, in bytes.
    pub fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    /// Sees that the buffer holds so many bytes more, if the file does.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        if self.buffer.len() - self.taken >= bytes {
            return Ok(());
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let missing = bytes - self.buffer.len();
        let before = self.buffer.len();
        self.file
            .read_at(&mut self.buffer, self.offset, missing.max(READ_BYTES))?;
        self.offset += (self.buffer.len() - before) as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_no_flipped_bit_goes_unseen() {
        let header = LogHeader {
            kind: Kind::Checkpoint,
            schema: 1,
            store: Uuid::from_u128(5),
            sequence: 77,
            time_ms: 1_700_000_000_000,
            branch: 3,
        };
        let (bytes, chain) = header.encode();
        assert_eq!(LogHeader::decode(&bytes), Ok((header, chain)));
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(LogHeader::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn only_the_names_that_are_written_are_read() {
        let name = file_name(Kind::Changes, 0x2a);
        assert_eq!(name, "000000000000002a.changes");
        assert_eq!(parse_file_name(&name), Some((Kind::Changes, 0x2a)));
        let name = file_name(Kind::Checkpoint, 1);
        assert_eq!(parse_file_name(&name), Some((Kind::Checkpoint, 1)));
        for name in ["2a.changes", "000000000000002A.changes", "x.checkpoint.tmp"] {
            assert_eq!(parse_file_name(name), None);
        }
    }
}
