//! Who fails to log in waits, by where they come from and by the account that they try.
//!
//! A failure takes one of a share, and whoever has none left is refused before a password is looked at,
//! until there is one again. What was verified a short while ago, and signed tokens, are not asked: those
//! who are in go on, also from an address or to an account that is being tried.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::rate::{Rate, site_of};

/// Those that wait, at once. Of more the ones that wait least are let in.
const WAITING_MAX: usize = 64 * 1024;

/// How many failures a minute are borne; `None`: any number.
#[derive(Clone, Copy, Debug, Default)]
pub struct BadLogins {
    /// From one address.
    pub by_address: Option<NonZeroU32>,
    /// To one account, from wherever.
    pub by_account: Option<NonZeroU32>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Tried {
    From(IpAddr),
    Account(String),
}

/// Counts failures.
pub struct Throttle {
    by_address: Option<Rate<IpAddr>>,
    by_account: Option<Rate<String>>,
    waiting: Mutex<HashMap<Tried, Instant>>,
}

impl Throttle {
    /// One that has counted nothing yet.
    pub fn new(borne: BadLogins) -> Self {
        Throttle {
            by_address: borne.by_address.map(Rate::per_minute),
            by_account: borne.by_account.map(Rate::per_minute),
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Tried, Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a password may be tried; else how long not.
    pub fn admit(&self, from: Option<IpAddr>, account: &str) -> Result<(), Duration> {
        let account = Some(Tried::Account(account.to_owned()));
        self.admit_all(
            from.map(site_of)
                .map(Tried::From)
                .into_iter()
                .chain(account),
        )
    }

    /// Whether somebody may try from there who names no account; else how long not.
    pub fn admit_from(&self, from: Option<IpAddr>) -> Result<(), Duration> {
        self.admit_all(from.map(site_of).map(Tried::From))
    }

    fn admit_all(&self, tried: impl IntoIterator<Item = Tried>) -> Result<(), Duration> {
        let mut waiting = self.waiting();
        let now = Instant::now();
        for tried in tried {
            match waiting.get(&tried) {
                Some(until) if *until > now => return Err(*until - now),
                Some(_) => drop(waiting.remove(&tried)),
                None => {}
            }
        }
        Ok(())
    }

    /// Notes a failure. `account` is what was tried if it could be an account.
    pub fn failed(&self, from: Option<IpAddr>, account: Option<&str>) {
        if let (Some(rate), Some(from)) = (&self.by_address, from.map(site_of))
            && let Err(wait) = rate.take(&from)
        {
            tracing::warn!(%from, ?wait, "too many bad logins from one address");
            self.wait(Tried::From(from), wait);
        }
        if let (Some(rate), Some(account)) = (&self.by_account, account)
            && let Err(wait) = rate.take(&account.to_owned())
        {
            tracing::warn!(account, ?wait, "too many bad logins to one account");
            self.wait(Tried::Account(account.to_owned()), wait);
        }
    }

    fn wait(&self, tried: Tried, wait: Duration) {
        let mut waiting = self.waiting();
        let now = Instant::now();
        if waiting.len() >= WAITING_MAX {
            waiting.retain(|_, until| *until > now);
        }
        if waiting.len() >= WAITING_MAX
            && let Some(soonest) = waiting.iter().min_by_key(|(_, until)| **until)
        {
            let soonest = soonest.0.clone();
            waiting.remove(&soonest);
        }
        waiting.insert(tried, now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn borne(by_address: u32, by_account: u32) -> Throttle {
        Throttle::new(BadLogins {
            by_address: NonZeroU32::new(by_address),
            by_account: NonZeroU32::new(by_account),
        })
    }

    #[test]
    fn an_address_that_fails_waits_and_others_do_not() {
        let throttle = borne(3, 0);
        let [one, other] = [1, 2].map(|last| Some(IpAddr::from([192, 0, 2, last])));
        for _ in 0..3 {
            throttle.admit(one, "alice").unwrap();
            throttle.failed(one, Some("alice"));
        }
        throttle.admit(one, "alice").unwrap();
        throttle.failed(one, Some("alice"));
        let wait = throttle.admit(one, "bob").unwrap_err();
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        throttle.admit(other, "alice").unwrap();
    }

    #[test]
    fn an_account_that_is_tried_from_everywhere_waits_and_others_do_not() {
        let throttle = borne(0, 5);
        for last in 0..6 {
            let from = Some(IpAddr::from([192, 0, 2, last]));
            throttle.admit(from, "alice").unwrap();
            throttle.failed(from, Some("alice"));
        }
        let fresh = Some(IpAddr::from([198, 51, 100, 1]));
        throttle.admit(fresh, "alice").unwrap_err();
        throttle.admit(fresh, "bob").unwrap();
    }

    #[test]
    fn where_nothing_is_set_nobody_waits() {
        let throttle = borne(0, 0);
        for _ in 0..1000 {
            throttle.failed(Some(IpAddr::from([192, 0, 2, 1])), Some("alice"));
        }
        throttle
            .admit(Some(IpAddr::from([192, 0, 2, 1])), "alice")
            .unwrap();
    }
}
