//! Packs: append-only files of records. FORMAT.md shows every byte.
//!
//! * [`record`]: a record's header and trailer
//! * [`mod@file`]: a pack as a file
//! * [`space`]: all packs of a store, leased one by one to writers
//! * [`writer`], [`small`]: bodies going in, streamed or gathered
//! * [`reader`]: bodies coming out, checked; [`windows`]: what is known of them; `buffers`: what they
//!   are read into; [`pins`]: what is being read
//! * [`accounts`]: what the catalog knows of packs and extents; [`freed`]: of those without owners;
//!   `releases`: what could be freed

pub mod accounts;
pub mod buffers;
mod extent;
pub mod file;
pub mod freed;
pub mod pins;
pub mod reader;
pub mod record;
mod releases;
pub mod scan;
pub mod small;
pub mod space;
pub mod windows;
pub mod writer;

pub use extent::{Extent, PackId};
pub use releases::Releases;
pub use small::SmallBody;
pub use space::{PackOptions, PackSpace};

#[cfg(test)]
mod tests;
