//! How many requests a client may send.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::auth::Identity;
use crate::auth::rate::{Rate, site_of};

/// What nobody has sent for so many seconds may come at once: a pull of many layers is a burst.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Requests a second on average; `None`: any number.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestLimits {
    /// From one address.
    pub by_address: Option<NonZeroU32>,
    /// By one account or token, from wherever.
    pub by_account: Option<NonZeroU32>,
}

/// Counts requests.
pub struct Limits {
    by_address: Option<Rate<IpAddr>>,
    by_account: Option<Rate<String>>,
}

impl Limits {
    /// Ones that have counted nothing yet.
    pub fn new(limits: RequestLimits) -> Self {
        Limits {
            by_address: limits
                .by_address
                .map(|share| Rate::per_second(share, BURST_SECONDS)),
            by_account: limits
                .by_account
                .map(|share| Rate::per_second(share, BURST_SECONDS)),
        }
    }

    /// Counts a request from there, before anything of it is looked at; how long to wait if it is one
    /// too many.
    pub fn count_from(&self, from: Option<IpAddr>) -> Result<(), Duration> {
        match (&self.by_address, from) {
            (Some(rate), Some(from)) => rate.take(&site_of(from)),
            _ => Ok(()),
        }
    }

    /// Counts a request by somebody who has logged in.
    pub fn count_by(&self, caller: &Identity) -> Result<(), Duration> {
        match (&self.by_account, caller.actor()) {
            (Some(rate), Some(actor)) if !caller.is_anonymous() => rate.take(&actor),
            _ => Ok(()),
        }
    }
}
