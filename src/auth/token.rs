//! Tokens for machines: a random secret, shown once and kept as a hash, that is good for some actions
//! in some repositories until it expires. It goes where a password goes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio_util::sync::CancellationToken;

use super::authority::{Authority, AuthorityError, now_ms};
use super::name::Name;
use super::secret::{self, NoRandomness};
use super::tables::{TOKEN_USES, TOKENS, TokenUseRow};
use crate::ghostbay::catalog::Rows;

/// What every token begins with, so that it is known for one where it should not be.
pub const TOKEN_PREFIX: &str = "drift_";

/// How often what was used is written down.
const USES_INTERVAL: Duration = Duration::from_secs(60);

/// A new secret: 256 random bits.
pub fn new_secret() -> Result<String, NoRandomness> {
    let random = URL_SAFE_NO_PAD.encode(secret::bytes::<32>()?);
    Ok(format!("{TOKEN_PREFIX}{random}"))
}

/// What is kept of a secret. It is random and long, so that nothing slower is needed.
pub fn hash(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
    hash
}

/// When tokens were used, since that was last written down.
#[derive(Default)]
pub(super) struct TokenUses(Mutex<HashMap<Name, u64>>);

impl TokenUses {
    /// Notes that a token is used now.
    pub fn note(&self, name: &Name) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match uses.get_mut(name) {
            Some(used_ms) => *used_ms = now_ms(),
            None => drop(uses.insert(name.clone(), now_ms())),
        }
    }

    fn take(&self) -> HashMap<Name, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Authority {
    /// The name of the token with that secret, if it holds.
    pub(super) fn token(&self, secret: &str) -> Option<(Name, [u8; 32])> {
        let directory = self.directory();
        let hash = hash(secret);
        let name = directory.secrets.get(&hash)?;
        if !directory.tokens.get(name)?.is_good(&directory, now_ms()) {
            return None;
        }
        self.uses.note(name);
        Some((name.clone(), hash))
    }

    /// Writes down once a minute, and when `stop` is cancelled, when tokens were last used.
    pub async fn keep_uses(&self, stop: CancellationToken) {
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(USES_INTERVAL) => false,
            };
            if let Err(error) = self.write_uses().await {
                tracing::warn!("when tokens were used is not written down: {error}");
            }
            if stopped {
                return;
            }
        }
    }

    async fn write_uses(&self) -> Result<(), AuthorityError> {
        let uses = self.uses.take();
        if uses.is_empty() {
            return Ok(());
        }
        let write = move |transaction: &mut crate::ghostbay::catalog::Transaction<'_>| {
            for (name, used_ms) in &uses {
                // One that was revoked meanwhile leaves nothing.
                if transaction.contains(&TOKENS, name)? {
                    let row = TokenUseRow { used_ms: *used_ms };
                    transaction.put(&TOKEN_USES, name, &row)?;
                }
            }
            Ok(())
        };
        self.catalog.transact(write).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_random_and_known_for_what_they_are() {
        let secret = new_secret().unwrap();
        assert!(
            secret.starts_with("drift_") && secret.len() == 6 + 43,
            "{secret}"
        );
        assert_ne!(secret, new_secret().unwrap());
        assert_ne!(hash(&secret), hash("drift_"));
    }
}
