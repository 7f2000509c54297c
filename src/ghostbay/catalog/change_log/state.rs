//! A whole catalog as frames: what a checkpoint and a backup hold.
//!
//! A reader of the index holds back the pages of its state, and the file grows by all that is written
//! meanwhile. So no reader lives for longer than a frame: the rows are read in pieces, each as the index
//! stands then, and behind them comes every transaction from before the first piece to the last one, out
//! of the log. A transaction holds whole rows. Applied in order they leave each row as the last
//! of them has it, and what none of them touches was the same in every piece: together they are the
//! state behind the last transaction.

use std::io;

use super::file::{Kind, LogHeader, LogReadError, LogReader};
use super::follower::Follower;
use super::frame::{End, FRAME_BYTES_TARGET, Frame, FrameError, FrameWriter};
use super::history::From;
use crate::ghostbay::catalog::error::CatalogError;
use crate::ghostbay::catalog::schema;
use crate::ghostbay::catalog::table::{Rows, Snapshot};

/// What a checkpoint or a backup holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contents {
    /// Its header, with the transaction behind which its rows began to be read.
    pub header: LogHeader,
    /// The transaction that its state stands behind.
    pub sequence: u64,
    /// That one's time, or when the state was taken if nothing was committed meanwhile; in
    /// milliseconds since 1970.
    pub time_ms: u64,
}

impl Contents {
    /// Where the transactions begin that may follow on it.
    pub fn end(&self) -> From {
        From {
            sequence: self.sequence,
            time_ms: self.time_ms,
            schema: self.header.schema,
        }
    }
}

/// Takes a file's bytes, piece by piece.
pub type Out<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// Writes one state, that behind the header's transaction.
pub fn write(header: LogHeader, state: &Snapshot, out: Out<'_>) -> io::Result<Contents> {
    let mut writer = Writer::begin(header, out)?;
    loop {
        let piece = writer.read(state)?;
        let ended = piece.ended;
        writer.rows(piece, End::Last)?;
        if ended {
            return Ok(writer.contents);
        }
    }
}

/// Writes the state of an index that changes meanwhile, which `read` gives as it stands. `log` begins
/// behind the header's transaction, which the index holds. Holds a frame in memory, and no state of the
/// index for longer than it takes to read one.
pub fn write_changing(
    header: LogHeader,
    read: &dyn Fn() -> Result<Snapshot, CatalogError>,
    mut log: Follower,
    out: Out<'_>,
) -> io::Result<Contents> {
    let mut writer = Writer::begin(header, out)?;
    let mut reached = header.sequence;
    loop {
        log.check()?;
        let state = read().map_err(io::Error::other)?;
        let stands = schema::sequence(&state).map_err(io::Error::other)?;
        if stands < reached {
            return Err(io::Error::other(format!(
                "the index went back from transaction {reached} to {stands}"
            )));
        }
        reached = stands;
        let piece = writer.read(&state)?;
        drop(state);
        let ended = piece.ended;
        let end = match reached > header.sequence {
            true => End::Followed,
            false => End::Last,
        };
        writer.rows(piece, end)?;
        if ended {
            break;
        }
    }
    log.each(reached, |frame| writer.transaction(&frame, reached))?;
    Ok(writer.contents)
}

/// Some rows in the order of their keys.
struct Piece {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether none follow.
    ended: bool,
}

struct Writer<'a> {
    contents: Contents,
    frames: FrameWriter,
    frame: Vec<u8>,
    /// The key that the next piece begins behind.
    after: Option<Vec<u8>>,
    out: Out<'a>,
}

impl<'a> Writer<'a> {
    fn begin(header: LogHeader, out: Out<'a>) -> io::Result<Self> {
        let (bytes, chain) = header.encode();
        out(&bytes)?;
        Ok(Writer {
            contents: Contents {
                header,
                sequence: header.sequence,
                time_ms: header.time_ms,
            },
            frames: FrameWriter::new(chain),
            frame: Vec::new(),
            after: None,
            out,
        })
    }

    /// The next rows, for a frame.
    fn read(&mut self, state: &Snapshot) -> io::Result<Piece> {
        let from = self.after.as_deref().unwrap_or_default();
        let rest = state.raw().range(from, self.after.is_some(), &[u8::MAX]);
        let mut piece = Piece {
            rows: Vec::new(),
            ended: true,
        };
        let mut bytes = 0;
        for row in rest.map_err(io::Error::other)? {
            let (key, value) = row.map_err(io::Error::other)?;
            bytes += key.len() + value.len();
            piece.rows.push((key, value));
            if bytes >= FRAME_BYTES_TARGET {
                piece.ended = false;
                break;
            }
        }
        if let Some((key, _)) = piece.rows.last() {
            self.after = Some(key.clone());
        }
        Ok(piece)
    }

    /// Writes a piece; `end` counts if it is the last one.
    fn rows(&mut self, piece: Piece, end: End) -> io::Result<()> {
        let rows = piece.rows.iter();
        let rows = rows.map(|(key, value)| (key.as_slice(), Some(value.as_slice())));
        let end = match piece.ended {
            true => end,
            false => End::Open,
        };
        let Contents {
            sequence, time_ms, ..
        } = self.contents;
        self.frame.clear();
        self.frames
            .frame(sequence, time_ms, rows, end, &mut self.frame);
        (self.out)(&self.frame)
    }

    /// Writes a frame of the log, of a transaction up to number `last`.
    fn transaction(&mut self, frame: &Frame, last: u64) -> io::Result<()> {
        let end = match frame.end.is_last() {
            true if frame.sequence < last => End::Followed,
            true => End::Last,
            false => End::Open,
        };
        let rows = frame.changes.iter();
        let rows = rows.map(|(key, value)| (key.as_slice(), value.as_deref()));
        self.frame.clear();
        self.frames
            .frame(frame.sequence, frame.time_ms, rows, end, &mut self.frame);
        (self.contents.sequence, self.contents.time_ms) = (frame.sequence, frame.time_ms);
        (self.out)(&self.frame)
    }
}

/// Why a checkpoint gave no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError<E> {
    /// It is torn, damaged or cannot be read.
    #[error(transparent)]
    Log(#[from] LogReadError),
    /// Whoever took its frames failed.
    #[error(transparent)]
    Taken(E),
}

/// Reads a checkpoint or a backup to its end and gives its frames to `take`, whose rows are to be
/// applied in order. What was given counts only if the end is reached: a file that ends before is an
/// error.
pub fn read<E>(
    reader: &mut LogReader,
    mut take: impl FnMut(Frame) -> Result<(), E>,
) -> Result<Contents, StateError<E>> {
    let header = reader.header;
    let damaged = || StateError::Log(FrameError::Damaged.into());
    if header.kind != Kind::Checkpoint {
        return Err(damaged());
    }
    let mut sequence = header.sequence;
    loop {
        let frame = reader
            .next_frame()?
            .ok_or(StateError::Log(FrameError::Short.into()))?;
        if frame.sequence != sequence {
            return Err(damaged());
        }
        let (end, time_ms) = (frame.end, frame.time_ms);
        take(frame).map_err(StateError::Taken)?;
        match end {
            End::Open => {}
            End::Followed => sequence += 1,
            // Nothing follows the end mark.
            End::Last => {
                return match reader.next_frame()? {
                    None => Ok(Contents {
                        header,
                        sequence,
                        time_ms,
                    }),
                    Some(_) => Err(damaged()),
                };
            }
        }
    }
}
