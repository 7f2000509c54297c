//! GhostBay: the embedded object store. It knows buckets, keys and bytes; no OCI, no HTTP.
pub mod catalog;
pub mod disk;
pub mod pack;
