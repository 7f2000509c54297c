//! Packs: append-only files of records.
mod extent;
pub use extent::{Extent, PackId};
