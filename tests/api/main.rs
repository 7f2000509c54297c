//! The registry API over real sockets, against the program itself.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod backup;
mod blobs;
mod certificates;
mod client;
mod collector;
mod delivery;
mod http2;
mod listings;
mod log;
mod manifests;
mod paths;
mod policy;
mod retention;
mod space;
mod start;
mod stop;
mod tls;
mod transport;
mod uploads;
