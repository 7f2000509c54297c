//! The bytes of one file.

use std::io::{self, Read};

use super::bounds::Bounds;
use super::unpack::Unpacked;

/// What lies at a place of what a layer unpacks to. Getting there takes the time that there is; from there on whoever
/// reads takes theirs.
pub fn open<'a>(
    packed: impl Read + 'a,
    offset: u64,
    length: u64,
    bounds: &'a Bounds,
) -> io::Result<impl Read + 'a> {
    let mut unpacked = Unpacked::new(packed, bounds)?;
    let passed = io::copy(&mut unpacked.by_ref().take(offset), &mut io::sink())?;
    if passed < offset {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bounds.without_deadline();
    Ok(unpacked.take(length))
}
