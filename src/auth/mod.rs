//! Who is asking, and what they may do.
//!
//! * [`AuthService`]: whom a request comes from; [`Identity`]: what they may, asked anew each time
//! * [`Authority`]: the accounts and the policy of a store; `directory`: their state in memory
//! * [`policy`]: rules and decisions
//! * [`credentials`], [`password`], `verified`: the header, and what a login costs; [`htpasswd`]: accounts
//!   in a file
//! * [`ClientCertificate`]: whoever shows one instead of a password
//! * `throttle`: who fails to log in waits; [`rate`]: so many a while for each of many
//! * [`issuers`]: others whose word counts, such as a CI; `vouched`: who comes by it
//! * [`token`]: secrets for machines; [`access_key`]: those that requests are signed with; `bearer`, [`scope`], `keyring`: signed tokens of a few minutes
//! * `initial`, `secret`: what is made up, and where it lies
//! * [`accounts`], `rules`: making and changing them; [`tables`]: what is kept
//!
//! SECURITY.md says which test holds which of the cases that have broken other registries.

pub mod access_key;
pub mod accounts;
mod authority;
mod bearer;
mod certificate;
pub mod credentials;
mod directory;
pub mod htpasswd;
mod identity;
mod initial;
pub mod issuers;
mod keyring;
mod name;
pub mod password;
pub mod policy;
pub mod rate;
mod rules;
pub mod scope;
pub mod secret;
mod service;
pub mod tables;
mod throttle;
pub mod token;
mod verified;
mod vouched;

pub use authority::{AuthOptions, Authority, AuthorityError};
pub use bearer::{SignError, Signed};
pub use certificate::{ClientCertificate, ClientRule};
pub use identity::{Identity, OPERATOR};
pub use initial::INITIAL_PASSWORD_FILE;
pub use keyring::LIFETIME_MAX;
pub use name::{NAME_BYTES_MAX, Name, NameError};
pub use policy::{Action, Actions, Decision, Effect, Rule, Who};
pub use service::{AuthError, AuthService};
pub use throttle::BadLogins;
