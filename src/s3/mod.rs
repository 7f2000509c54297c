//! The store as an object store of its own: an endpoint that speaks S3, over `s3s` and GhostBay.
//!
//! * `endpoint`: from a request to an operation and back; [`strict`]: what is refused unread
//! * [`service`]: the operations; `access`: what each of them needs; `caller`: who asks
//! * `buckets`, `objects`, `listing`, `copy`, `multipart`, `part_copy`, `tags`: what they do
//! * `attributes`: what is said of an object, and how it is kept; `conditions`: headers that begin with If
//! * `checksums`: whether a body is what was said of it; `joined`: that of parts that were joined
//! * `chunks`, `body`: bodies on their way in and out
//! * `view`: what the registry owns
//! * [`lifecycle`]: objects and uploads that have an end
//! * `audit`: who did what; `error`: errors as codes of S3
//!
//! README.md of the project says what is not implemented.

mod access;
mod attributes;
mod audit;
mod body;
mod boundaries;
mod buckets;
mod caller;
mod checksums;
mod chunks;
mod conditions;
mod copy;
mod endpoint;
mod error;
mod hosts;
mod joined;
pub mod lifecycle;
mod listing;
mod multipart;
mod objects;
mod part_copy;
mod reads;
pub mod service;
pub mod strict;
mod tags;
mod uploads;
mod view;
mod xml;

pub use endpoint::{S3Options, router};
pub use hosts::Hosts;
pub use lifecycle::LifecycleRule;
pub use service::ObjectStore;
