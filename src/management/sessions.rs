//! Logins of the page: a cookie's secret, and whoever it stands for.
//!
//! They lie in memory and end with the process, after `IDLE` without a request, and `LIFETIME` after the
//! login. An identity asks for its account's rights anew each time, so that a session of somebody
//! who was removed or switched off can do nothing from then on.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Caller, Management};
use crate::audit::event::shown;
use crate::auth::secret::{self, NoRandomness};
use crate::auth::{AuthError, Identity, NAME_BYTES_MAX};
use crate::http::error::ApiError;

/// A session that nobody uses ends after this.
const IDLE: Duration = Duration::from_secs(8 * 3600);

/// The longest that a session lasts.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Sessions at once. Whoever logs in beyond that ends the one that was used least lately.
const SESSIONS_MAX: usize = 10_000;

/// The sessions of a server.
#[derive(Default)]
pub struct Sessions {
    all: Mutex<HashMap<[u8; 32], Session>>,
}

struct Session {
    identity: Identity,
    began: Instant,
    used: Instant,
}

impl Session {
    fn holds(&self, now: Instant) -> bool {
        now.duration_since(self.began) < LIFETIME && now.duration_since(self.used) < IDLE
    }
}

impl Sessions {
    fn all(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session; its secret, 64 digits of hex.
    pub fn begin(&self, identity: Identity) -> Result<String, NoRandomness> {
        let secret: [u8; 32] = secret::bytes()?;
        let now = Instant::now();
        let mut all = self.all();
        if all.len() >= SESSIONS_MAX {
            all.retain(|_, session| session.holds(now));
        }
        if all.len() >= SESSIONS_MAX
            && let Some(oldest) = all
                .iter()
                .min_by_key(|(_, it)| it.used)
                .map(|(key, _)| *key)
        {
            all.remove(&oldest);
        }
        let session = Session {
            identity,
            began: now,
            used: now,
        };
        all.insert(secret, session);
        Ok(secret.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Whoever a secret stands for, if it still does.
    pub fn of(&self, secret: &str) -> Option<Identity> {
        let key = key(secret)?;
        let now = Instant::now();
        let mut all = self.all();
        let session = all.get_mut(&key)?;
        if !session.holds(now) || session.identity.is_gone() {
            all.remove(&key);
            return None;
        }
        session.used = now;
        Some(session.identity.clone())
    }

    /// Ends a session.
    pub fn end(&self, secret: &str) {
        if let Some(key) = key(secret) {
            self.all().remove(&key);
        }
    }
}

fn key(secret: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if secret.len() != 64 || !secret.is_ascii() {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(secret.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(key)
}

impl Management {
    /// Logs somebody in by name and password, and gives the secret of their session.
    pub async fn log_in(
        &self,
        caller: &Caller,
        name: &str,
        password: &str,
    ) -> Result<String, ApiError> {
        let api = &self.api;
        let known = api.auth.log_in(name, password, caller.from).await;
        api.metrics.login(known.is_ok());
        let known = match known {
            // A name and a password that nobody has, given where none is needed, are no login.
            Ok(known) if known.is_anonymous() => Err(AuthError::Unauthenticated),
            other => other,
        };
        match known {
            Ok(identity) => {
                let who = identity.to_string();
                let secret = self.sessions.begin(identity).map_err(ApiError::internal)?;
                self.logged_in(caller, who, None).await;
                Ok(secret)
            }
            Err(error) => {
                // A token that was typed where the name goes is not written down.
                let who = match name.contains(crate::auth::token::TOKEN_PREFIX) {
                    true => "tried:(a token)".to_owned(),
                    false => format!("tried:{}", shown(name, NAME_BYTES_MAX)),
                };
                self.logged_in(caller, who, Some(&error.to_string())).await;
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::AuthService;

    #[tokio::test]
    async fn a_session_is_its_secrets_until_it_ends() {
        let sessions = Sessions::default();
        let identity = AuthService::open().check(None, None).await.unwrap();
        let secret = sessions.begin(identity.clone()).unwrap();
        let other = sessions.begin(identity).unwrap();
        assert_ne!(secret, other);
        assert!(sessions.of(&secret).is_some());
        for wrong in ["", "zz", &secret[1..], &"é".repeat(32), &"0".repeat(64)] {
            assert!(sessions.of(wrong).is_none(), "{wrong:?}");
        }
        sessions.end(&secret);
        assert!(sessions.of(&secret).is_none());
        assert!(sessions.of(&other).is_some());
    }

    #[tokio::test]
    async fn no_more_are_kept_than_the_bound() {
        let sessions = Sessions::default();
        let identity = AuthService::open().check(None, None).await.unwrap();
        let first = sessions.begin(identity.clone()).unwrap();
        for _ in 0..SESSIONS_MAX {
            sessions.begin(identity.clone()).unwrap();
        }
        assert_eq!(sessions.all().len(), SESSIONS_MAX);
        assert!(sessions.of(&first).is_none());
    }
}
