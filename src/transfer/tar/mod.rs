//! Tars as ends of a transfer, over the reader that [`crate::tar`] is.
//!
//! * `header`: from one entry to the next, of which none leads out of the tar
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
