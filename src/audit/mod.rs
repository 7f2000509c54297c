//! Who did what, from where, and what decided: a line for each in a file, and a row in the index.
//!
//! * [`event`]: what is said of one thing that was done or refused
//! * [`log`]: where events go in; `writer`: the one thread that writes them down
//! * `repeats`: refusals of the same kind become one line
//! * `file`: lines of JSON in a file that rotates; [`table`]: the newest of them in the index
//! * [`query`]: reading them back
//!
//! No secret comes here: events are made of names, digests and reasons, never of headers or bodies.

pub mod event;
pub mod file;
pub mod log;
pub mod query;
mod repeats;
pub mod table;
mod writer;

pub use event::{Event, Verdict};
pub use file::FileOptions;
pub use log::{AuditError, AuditLog, AuditOptions, Detail};
pub use query::Query;
