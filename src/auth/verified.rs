//! Logins that were verified a short while ago, so that not each request of a push costs a hash.
//!
//! What is kept is a keyed hash of name, password and stamp of the account, by a key that is never
//! written anywhere. The stamp changes with the account, so that what was verified before does not
//! count any more from that moment on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use super::secret::{self, NoRandomness};

/// For how long a login counts as verified.
const KEPT: Duration = Duration::from_secs(60);

/// Logins that are kept. Of more the oldest go.
const LOGINS_MAX: usize = 4096;

/// The logins.
pub struct VerifiedLogins {
    key: hmac::Key,
    logins: Mutex<HashMap<Login, Instant>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// A login that may have been verified.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Login([u8; 32]);

impl VerifiedLogins {
    /// None yet.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(VerifiedLogins {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret::bytes::<32>()?),
            logins: Mutex::default(),
            hits: AtomicU64::default(),
            misses: AtomicU64::default(),
        })
    }

    /// The login by a password to an account of that stamp.
    pub fn login(&self, name: &str, password: &str, stamp: u64) -> Login {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&stamp.to_le_bytes());
        // Where the name ends is said, or another split would be the same login.
        context.update(&(name.len() as u64).to_le_bytes());
        context.update(name.as_bytes());
        context.update(password.as_bytes());
        let mut login = [0; 32];
        login.copy_from_slice(context.sign().as_ref());
        Login(login)
    }

    /// A number that belongs to the name, and that nobody can guess.
    pub fn number_of(&self, name: &str) -> u64 {
        let mut number = [0; 8];
        number.copy_from_slice(&hmac::sign(&self.key, name.as_bytes()).as_ref()[..8]);
        u64::from_le_bytes(number)
    }

    /// Whether it was verified a short while ago.
    pub fn has(&self, login: &Login) -> bool {
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        let has = logins.get(login).is_some_and(|at| at.elapsed() < KEPT);
        drop(logins);
        let count = if has { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        has
    }

    /// How often one was asked for that was verified a short while ago, and one that was not.
    pub fn asked(&self) -> (u64, u64) {
        let (hits, misses) = (&self.hits, &self.misses);
        (hits.load(Ordering::Relaxed), misses.load(Ordering::Relaxed))
    }

    /// Notes that it was verified now.
    pub fn note(&self, login: Login) {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        if logins.len() >= LOGINS_MAX {
            logins.retain(|_, at| at.elapsed() < KEPT);
        }
        if logins.len() >= LOGINS_MAX
            && let Some(oldest) = logins.iter().min_by_key(|(_, at)| **at).map(|it| *it.0)
        {
            logins.remove(&oldest);
        }
        logins.insert(login, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_name_password_and_stamp() {
        let verified = VerifiedLogins::new().unwrap();
        verified.note(verified.login("alice", "secret", 1));
        assert!(verified.has(&verified.login("alice", "secret", 1)));
        for (name, password, stamp) in [
            ("alice", "secret", 2),
            ("alice", "Secret", 1),
            ("alic", "esecret", 1),
            ("bob", "secret", 1),
        ] {
            assert!(!verified.has(&verified.login(name, password, stamp)));
        }
    }

    #[test]
    fn they_never_grow_beyond_their_bound() {
        let verified = VerifiedLogins::new().unwrap();
        for stamp in 0..LOGINS_MAX as u64 + 10 {
            verified.note(verified.login("alice", "secret", stamp));
        }
        assert_eq!(verified.logins.lock().unwrap().len(), LOGINS_MAX);
        let newest = verified.login("alice", "secret", LOGINS_MAX as u64 + 9);
        assert!(verified.has(&newest));
        assert!(!verified.has(&verified.login("alice", "secret", 0)));
    }
}
