//! Drift library.
pub mod digest;
pub mod ghostbay;
pub mod oci;
pub mod range;
