//! The S3 endpoint as clients meet it: the program itself, over real sockets.

#[path = "../api/client.rs"]
mod client;
#[path = "../support/s3.rs"]
mod s3_client;
#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod conditions;
mod copies;
mod hosts;
mod lifecycle;
mod listings;
mod multipart;
mod objects;
mod parts;
mod repeated;
mod store_client;
mod uploads;
