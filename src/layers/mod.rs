//! The files of layers, read as they lie packed: nothing is unpacked to a disk, no link is followed, and a name is
//! text whatever it holds. Blocking, in bounded time and memory.
//!
//! * [`bounds`]: how much is read at most, and what ends it
//! * [`unpack`]: gzip, zstd or neither, as the first bytes say
//! * [`listing`]: what a layer holds; [`name`]: names as text
//! * [`tree`]: a layer, or the layers of an image one upon the other, as directories
//! * [`difference`]: what differs between two of these
//! * [`content`]: the bytes of one file

pub mod bounds;
pub mod content;
pub mod difference;
pub mod listing;
pub mod name;
pub mod tree;
pub mod unpack;

pub use bounds::{Bounds, Cut};
pub use listing::{Entry, Listing};
pub use tree::{Child, Node, Tree};
