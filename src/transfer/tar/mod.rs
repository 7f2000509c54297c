//! Tars: POSIX pax and ustar, and what GNU made of them. The blocks are those of the crate `tar`; which
//! come in which order, and how much of them is believed, is decided here, since that crate reads a
//! name of any length into memory.
//!
//! * `header`: from one entry to the next, as bytes come in order
//! * `archive`: a file whose entries are found by name
//! * `stream`: one that comes by a pipe; `writer`: one that is made

mod archive;
mod header;
mod stream;
mod writer;

pub use archive::Archive;
pub use header::{Entry, Kind, TarError, TarReader};
pub use stream::{Arrived, arriving};
pub use writer::TarWriter;

/// The unit of a tar, in bytes.
const BLOCK: u64 = 512;

/// What fills a content of that length up to whole blocks, in bytes.
fn padding(length: u64) -> u64 {
    (BLOCK - length % BLOCK) % BLOCK
}
