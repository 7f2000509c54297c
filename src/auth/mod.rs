//! Who is asking, and what they may do.
//!
//! * [`AuthService`]: whom a request comes from; [`Identity`]: what they may, asked anew each time
//! * [`Authority`]: the accounts and the policy of a store; `directory`: their state in memory
//! * [`policy`]: rules and decisions
//! * `credentials`, `password`, `verified`: the header, and what a login costs
//! * `initial`, `secret`: what is made up, and where it lies
//! * [`command`]: what an operator may ask; [`tables`]: what is kept
//!
//! SECURITY.md says which test holds which of the cases that have broken other registries.

mod authority;
pub mod command;
mod credentials;
mod directory;
mod identity;
mod initial;
mod name;
pub mod password;
pub mod policy;
pub mod secret;
mod service;
pub mod tables;
mod verified;

pub use authority::{AuthOptions, Authority, AuthorityError};
pub use identity::Identity;
pub use initial::INITIAL_PASSWORD_FILE;
pub use name::{Name, NameError};
pub use policy::{Action, Actions, Decision, Effect, Rule, Who};
pub use service::{AuthError, AuthService};
