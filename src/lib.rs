//! Drift: an OCI registry on its own embedded object store, GhostBay.
//!
//! * [`ghostbay`]: the object store
//! * [`oci`]: the vocabulary of the OCI specifications
//! * [`auth`]: who may do what
//! * [`registry`]: the rules of an OCI registry
//! * [`digest`], [`range`]: what the two share

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
