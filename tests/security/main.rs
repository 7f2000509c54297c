//! What has broken other registries, tried on this one: the program itself, over real sockets.
//! `src/auth/SECURITY.md` says which test holds which case.

#[path = "../support/s3.rs"]
mod s3_client;
#[path = "../support/mod.rs"]
mod support;

#[path = "../api/certificates.rs"]
mod certificates;
#[path = "../api/client.rs"]
mod client;

mod audit;
mod client_certificates;
mod commands;
mod hostile;
mod isolation;
mod issuer;
mod limits;
mod logins;
mod machines;
mod matrix;
mod metrics;
mod noninterference;
mod oidc;
mod oidc_forged;
mod oidc_keys;
mod oracle;
mod place;
mod rights;
mod s3;
mod s3_registry;
mod s3_streams;
mod spellings;
mod tokens;
