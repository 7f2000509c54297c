//! Tokens for machines: a random secret, shown once and kept as a hash, that is good for some actions
//! in some repositories until it expires. It goes where a password goes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio_util::sync::CancellationToken;

use super::access_key;
use super::accounts::unknown;
use super::authority::{Authority, AuthorityError, now_ms};
use super::name::Name;
use super::policy::Actions;
use super::secret::{self, NoRandomness};
use super::tables::{ACCESS_KEY_BIT, ACCOUNTS, TOKEN_USES, TOKENS, TokenRow, TokenUseRow};
use crate::ghostbay::catalog::{Rows, Transaction};
use crate::oci::Pattern;

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

/// A token that is to be made.
pub struct NewToken {
    /// Its name.
    pub name: Name,
    /// SHA-256 of its secret.
    pub secret: [u8; 32],
    /// The account that it is for; without one it stands for itself.
    pub owner: Option<Name>,
    /// What it is for.
    pub actions: Actions,
    /// The repositories that it is for.
    pub repositories: Vec<Pattern>,
    /// When it ends, in milliseconds since 1970; `None` for never.
    pub expires_ms: Option<u64>,
}

/// A token, as an administrator sees it. Times are milliseconds since 1970.
#[derive(PartialEq, Eq, Debug)]
pub struct TokenSeen {
    /// Its name.
    pub name: Name,
    /// The account that it is for.
    pub owner: Option<String>,
    /// What it is for.
    pub actions: Actions,
    /// The repositories that it is for.
    pub repositories: Vec<String>,
    /// When it ends.
    pub expires_ms: Option<u64>,
    /// When it was last used, to a minute.
    pub used_ms: Option<u64>,
    /// The id that requests are sent with, if it is an access key.
    pub access_key: Option<String>,
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

    /// Makes a token.
    pub async fn create_token(&self, token: NewToken) -> Result<(), AuthorityError> {
        self.put_token(token, false).await
    }

    /// Makes a token, or an access key.
    pub(super) async fn put_token(
        &self,
        token: NewToken,
        is_access_key: bool,
    ) -> Result<(), AuthorityError> {
        let invalid = |reason: &str| Err(AuthorityError::Invalid(reason.to_owned()));
        if token.actions.is_empty() || token.repositories.is_empty() {
            return invalid("a token is for at least one action and one repository");
        }
        if token
            .expires_ms
            .is_some_and(|expires_ms| expires_ms <= now_ms())
        {
            return invalid("a token expires in the future");
        }
        let row = TokenRow {
            secret: token.secret,
            owner: token.owner.as_ref().map(Name::to_string),
            actions: token.actions.bits() | if is_access_key { ACCESS_KEY_BIT } else { 0 },
            repositories: token.repositories.into_iter().map(String::from).collect(),
            created_ms: now_ms(),
            expires_ms: token.expires_ms,
        };
        let (name, owner) = (token.name, token.owner);
        let create = move |transaction: &mut Transaction<'_>| {
            if transaction.contains(&TOKENS, &name)? {
                return Err(AuthorityError::Taken {
                    what: "token",
                    name: name.to_string(),
                });
            }
            if let Some(owner) = &owner
                && !transaction.contains(&ACCOUNTS, owner)?
            {
                return Err(unknown(owner));
            }
            Ok(transaction.put(&TOKENS, &name, &row)?)
        };
        self.change(create).await
    }

    /// The tokens, by name.
    pub fn tokens(&self) -> Result<Vec<TokenSeen>, AuthorityError> {
        let rows = self.catalog.read()?;
        let mut tokens = Vec::new();
        for row in rows.scan_sound(&TOKENS, &[], None)? {
            let (name, row) = row?;
            let used = rows.get_sound(&TOKEN_USES, &name)?;
            let is_access_key = row.actions & ACCESS_KEY_BIT != 0;
            tokens.push(TokenSeen {
                owner: row.owner,
                actions: Actions::of_bits(row.actions & !ACCESS_KEY_BIT).unwrap_or_default(),
                access_key: is_access_key.then(|| access_key::id(&row.secret)),
                repositories: row.repositories,
                expires_ms: row.expires_ms,
                used_ms: used.map(|used| used.used_ms),
                name,
            });
        }
        Ok(tokens)
    }

    /// Takes a token out.
    pub async fn revoke_token(&self, name: Name) -> Result<(), AuthorityError> {
        let revoke = move |transaction: &mut Transaction<'_>| {
            transaction.delete(&TOKEN_USES, &name)?;
            match transaction.delete(&TOKENS, &name)? {
                true => Ok(()),
                false => Err(AuthorityError::Unknown {
                    what: "token",
                    name: name.to_string(),
                }),
            }
        };
        self.change(revoke).await
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
        let write = move |transaction: &mut Transaction<'_>| {
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

/// The tokens that were made for an account.
pub(super) fn tokens_of(rows: &impl Rows, owner: &Name) -> Result<Vec<Name>, AuthorityError> {
    let mut tokens = Vec::new();
    for row in rows.scan_sound(&TOKENS, &[], None)? {
        let (name, row) = row?;
        if row.owner.as_deref() == Some(owner.as_str()) {
            tokens.push(name);
        }
    }
    Ok(tokens)
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
