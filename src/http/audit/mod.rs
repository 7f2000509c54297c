//! What the audit log is told of a request: gathered on the request's way, told before its answer goes.
//!
//! * `about`: what the head of a request says
//! * `trail`: what becomes known on its way
//! * `watch`: what is told of it once it is answered, or its client has left

mod about;
mod trail;
mod watch;

pub use trail::Trail;
pub use watch::Watch;
