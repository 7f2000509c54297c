//! GhostBay through its public face, on a real directory.

mod backup;
mod damage;
mod multipart;
mod objects;
mod rebuild;
mod restart;
mod salvage;
mod support;
mod uploads;
