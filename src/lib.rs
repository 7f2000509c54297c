#![doc = include_str!("ARCHITECTURE.md")]

#[cfg(feature = "server")]
pub mod auth;
pub mod digest;
pub mod ghostbay;
#[path = "../migrations/mod.rs"]
pub mod migrations;
pub mod oci;
pub mod range;
#[cfg(feature = "server")]
pub mod registry;
