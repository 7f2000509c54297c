//! GhostBay through its public face, on a real directory.

mod damage;
mod multipart;
mod objects;
mod rebuild;
mod restart;
mod support;
mod uploads;
