#![doc = include_str!("ARCHITECTURE.md")]

#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod config;
pub mod digest;
pub mod ghostbay;
#[cfg(feature = "server")]
pub mod http;
#[path = "../migrations/mod.rs"]
pub mod migrations;
pub mod oci;
pub mod range;
#[cfg(feature = "server")]
pub mod registry;
