//! A registry as an end, by the API of the distribution specification.
//!
//! * `ask`: one question, and what its answer's status means; `login`: who we are to whom
//! * `pull`: as a source; `pages`: lists that come in parts
//! * `push`: as a sink; `probe`: for who wants to see its answers

mod ask;
mod login;
mod pages;
mod probe;
mod pull;
mod push;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use url::Url;

use self::login::Authorizer;

use super::error::TransferError;
use crate::http::exchange::Exchange;

pub use self::login::Login;
pub use self::probe::{Asked, Probe, challenges};

/// How often an upload is taken up again without getting any further.
const ATTEMPTS: u32 = 6;

/// A registry.
pub struct RegistryEnd {
    name: String,
    /// Scheme and host. Paths of answers are resolved against it, and lead nowhere else.
    base: Url,
    exchange: Arc<dyn Exchange>,
    /// How often an upload is taken up again without getting any further.
    attempts: u32,
    /// Whether it is ours.
    is_own: bool,
    /// Whether things are written to it.
    is_sink: bool,
    /// How it is told who we are; `None`: it knows.
    authorizer: Option<Authorizer>,
    /// Whether it was seen to have no list of referrers.
    lists_no_referrers: AtomicBool,
}

impl RegistryEnd {
    /// Our own, whoever reaches it.
    pub fn own(exchange: Arc<dyn Exchange>) -> Result<Self, TransferError> {
        // The host is nobody's: `exchange` knows where it is.
        let base = Url::parse("http://admin.sock/");
        Ok(RegistryEnd {
            name: "this registry".to_owned(),
            base: base.map_err(|error| TransferError::Unusable(error.to_string()))?,
            exchange,
            // It does not break by itself.
            attempts: 1,
            is_own: true,
            is_sink: true,
            authorizer: None,
            lists_no_referrers: AtomicBool::new(false),
        })
    }

    /// One elsewhere, at a base such as `https://registry.example.com/`.
    pub fn elsewhere(
        base: Url,
        exchange: Arc<dyn Exchange>,
        login: Option<Login>,
        is_sink: bool,
    ) -> Self {
        RegistryEnd {
            name: base.as_str().trim_end_matches('/').to_owned(),
            base,
            exchange,
            attempts: ATTEMPTS,
            is_own: false,
            is_sink,
            authorizer: Some(Authorizer::new(login)),
            lists_no_referrers: AtomicBool::new(false),
        }
    }
}
