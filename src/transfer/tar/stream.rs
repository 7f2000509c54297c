//! A tar that comes by a pipe: what is in it is known as it comes, and only once.

use std::io::{self, Read};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::header::{Entry, Kind, TarError, TarReader};

/// Bytes that are read at once, and such pieces that wait to be taken.
const PIECE_BYTES: usize = 256 * 1024;
const PIECES_WAITING_MAX: usize = 4;

/// What has come of a tar.
#[derive(Debug)]
pub enum Arrived {
    /// A file begins.
    File(Entry),
    /// Some bytes of it.
    Piece(Bytes),
    /// It is not read any further. Without this the tar has ended.
    Broken(TarError),
}

/// Reads a tar on a thread of its own, which waits while nothing is taken. Nobody waits for its end: it may
/// stand in the middle of a read that nothing comes for.
pub fn arriving(input: impl Read + Send + 'static) -> io::Result<mpsc::Receiver<Arrived>> {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    let work = move || {
        let mut reader = TarReader::new(input);
        if let Err(error) = read(&mut reader, &sender) {
            let _ = sender.blocking_send(Arrived::Broken(error));
        }
    };
    std::thread::Builder::new()
        .name("tar".to_owned())
        .spawn(work)?;
    Ok(receiver)
}

fn read<R: Read>(
    reader: &mut TarReader<R>,
    sender: &mpsc::Sender<Arrived>,
) -> Result<(), TarError> {
    while let Some(entry) = reader.next(pass_over)? {
        if entry.kind != Kind::File {
            continue;
        }
        let is_gone = sender.blocking_send(Arrived::File(entry.clone())).is_err();
        if is_gone {
            return Ok(());
        }
        loop {
            let mut piece = vec![0; PIECE_BYTES.min(entry.length as usize)];
            let read = reader.read(&entry, &mut piece)?;
            piece.truncate(read);
            if read == 0 {
                break;
            }
            if sender.blocking_send(Arrived::Piece(piece.into())).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn pass_over(input: &mut impl Read, bytes: u64) -> io::Result<()> {
    let passed = io::copy(&mut input.take(bytes), &mut io::sink())?;
    match passed < bytes {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(()),
    }
}
