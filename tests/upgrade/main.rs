//! Stores of every schema that there was, opened by this version; and migrations that are killed.
//!
//! `DRIFT_WRITE_FIXTURE=1 cargo test --test upgrade opened` writes the newest schema's fixture anew,
//! for as long as that schema is not released.

mod cli;
mod fixture;
mod killed;
mod opened;
#[path = "../support/mod.rs"]
mod support;
#[path = "../crash/tracer.rs"]
mod tracer;
