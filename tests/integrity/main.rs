//! Bytes on the disk that are not those that were written: no wrong byte is served, `verify` names
//! what is hit, only that is lost, and a push heals it.

#[path = "../support/mod.rs"]
mod support;

mod flips;
mod image;
mod load;
mod server;
