//! GhostBay through its public face, on a real directory.

mod backup;
mod compact;
mod damage;
mod du;
mod full_copy;
mod multipart;
mod objects;
mod rebuild;
mod reclaim;
mod restart;
mod room;
mod salvage;
#[path = "../support/store.rs"]
mod store;
mod support;
mod uploads;
