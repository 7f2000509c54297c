//! Drift library.
pub mod digest;
