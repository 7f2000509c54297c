//! The S3 endpoint as clients meet it: the program itself, over real sockets.

#[path = "../api/client.rs"]
mod client;
#[path = "../support/s3.rs"]
mod s3_client;
#[path = "../support/mod.rs"]
mod support;

mod conditions;
mod listings;
mod multipart;
mod objects;
mod store_client;
