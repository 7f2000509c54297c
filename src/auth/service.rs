//! Decides on requests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::authority::{Authority, LoginRefused};
use super::certificate::ClientCertificate;
use super::credentials::Credentials;
use super::identity::{self, Identity, Principal};
use super::token::TOKEN_PREFIX;

/// Decides on requests.
#[derive(Debug)]
pub struct AuthService {
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Closed,
    Open(Option<Arc<Authority>>),
    Login(Arc<Authority>),
}

/// Why a request is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthError {
    /// No credentials, or none that are known.
    #[error("authentication required")]
    Unauthenticated,
    /// Too many others log in.
    #[error("too many logins at once; try again")]
    Busy,
    /// Whoever is to vouch for them cannot be asked.
    #[error("the keys of the token's issuer cannot be had at present; try again")]
    Unavailable,
    /// Too many logins from there, or to that account, have failed.
    #[error("too many logins have failed; wait for {} s", .0.as_secs() + 1)]
    Throttled(Duration),
}

impl From<LoginRefused> for AuthError {
    fn from(refused: LoginRefused) -> Self {
        match refused {
            LoginRefused::Busy => AuthError::Busy,
            LoginRefused::Throttled(wait) => AuthError::Throttled(wait),
        }
    }
}

impl AuthService {
    /// A service without users or secrets: it denies everything. An open registry never comes
    /// about by leaving something out.
    #[expect(
        clippy::new_without_default,
        reason = "which service it is should be said"
    )]
    pub fn new() -> Self {
        AuthService { mode: Mode::Closed }
    }

    /// A service that permits everything to everybody: login is switched off.
    pub fn open() -> Self {
        AuthService {
            mode: Mode::Open(None),
        }
    }

    /// The same, which knows the access keys of a store: a request that is signed has to be signed well
    /// also where everything is permitted.
    pub fn open_with(authority: Arc<Authority>) -> Self {
        AuthService {
            mode: Mode::Open(Some(authority)),
        }
    }

    /// A service that goes by the accounts and the policy of a store.
    pub fn with(authority: Arc<Authority>) -> Self {
        AuthService {
            mode: Mode::Login(authority),
        }
    }

    /// Whom logins are looked up with; `None` where login is switched off.
    /// How many logins were found good a short while before, and how many had to be looked at.
    pub fn logins_known(&self) -> (u64, u64) {
        match &self.mode {
            Mode::Login(authority) => authority.verified.asked(),
            Mode::Closed | Mode::Open(_) => (0, 0),
        }
    }

    fn authority(&self) -> Result<Option<&Arc<Authority>>, AuthError> {
        match &self.mode {
            Mode::Closed => Err(AuthError::Unauthenticated),
            Mode::Open(_) => Ok(None),
            Mode::Login(authority) => Ok(Some(authority)),
        }
    }

    /// Who is behind a request with this `Authorization` header, which came `from` there. Without one
    /// it is somebody who has not logged in, and may do what the policy lets strangers do.
    pub async fn check(
        &self,
        authorization: Option<&str>,
        from: Option<IpAddr>,
    ) -> Result<Identity, AuthError> {
        let Some(authority) = self.authority()? else {
            return Ok(Identity::everything());
        };
        let Some(authorization) = authorization else {
            return Ok(Identity::of(authority.clone(), Principal::Anonymous));
        };
        match Credentials::parse(authorization) {
            None => Err(AuthError::Unauthenticated),
            Some(Credentials::Basic { name, password }) => {
                self.log_in(&name, &password, from).await
            }
            Some(Credentials::Bearer(token)) => match authority.verify(&token) {
                Some(identity) => Ok(identity),
                None => authority.vouched_directly(&token, from).await,
            },
        }
    }

    /// Who is behind a request without an `Authorization` header, on a connection that began with this
    /// certificate. One that is no account's is as good as none.
    pub fn check_certificate(
        &self,
        certificate: &ClientCertificate,
    ) -> Result<Identity, AuthError> {
        let Some(authority) = self.authority()? else {
            return Ok(Identity::everything());
        };
        let known = authority.of_certificate(certificate);
        Ok(known.unwrap_or_else(|| Identity::of(authority.clone(), Principal::Anonymous)))
    }

    /// Who logs in by a name and a password. A token may stand in for the password, ours or that of an
    /// issuer whose word counts, and then the name can be any.
    pub async fn log_in(
        &self,
        name: &str,
        password: &str,
        from: Option<IpAddr>,
    ) -> Result<Identity, AuthError> {
        let Some(authority) = self.authority()? else {
            return Ok(Identity::everything());
        };
        if let Some(known) = authority.issuers.of(password) {
            return authority.vouched(known, password, from).await;
        }
        let mut is_fresh = false;
        let principal = match password.starts_with(TOKEN_PREFIX) {
            true => {
                let known = authority.token(password);
                if known.is_none() {
                    authority.throttle.failed(from, None);
                }
                known.map(|(name, secret)| {
                    let stamp = identity::stamp_of(&secret);
                    Principal::Token { name, stamp }
                })
            }
            false => {
                let known = authority.login(name, password, from).await?;
                known.map(|(name, stamp, fresh)| {
                    is_fresh = fresh;
                    Principal::Account { name, stamp }
                })
            }
        };
        let principal = principal.ok_or(AuthError::Unauthenticated)?;
        let identity = Identity::of(authority.clone(), principal);
        Ok(match is_fresh {
            true => identity.by_login(),
            false => identity,
        })
    }

    /// Who comes with a token of an issuer whose word counts.
    pub async fn exchange(&self, token: &str, from: Option<IpAddr>) -> Result<Identity, AuthError> {
        let Some(authority) = self.authority()? else {
            return Ok(Identity::everything());
        };
        let known = authority.vouched_for(token, from).await;
        known.map(Identity::by_login)
    }

    /// The secret of an access key that holds, and who signs with it.
    pub fn access_key(&self, id: &str) -> Option<(String, Identity)> {
        match &self.mode {
            Mode::Closed | Mode::Open(None) => None,
            Mode::Open(Some(authority)) => {
                let (secret, _) = authority.access_key(id)?;
                Some((secret, Identity::everything()))
            }
            Mode::Login(authority) => {
                let (secret, principal) = authority.access_key(id)?;
                Some((secret, Identity::of(authority.clone(), principal)))
            }
        }
    }

    fn keys(&self) -> Option<&Arc<Authority>> {
        match &self.mode {
            Mode::Closed => None,
            Mode::Open(authority) => authority.as_ref(),
            Mode::Login(authority) => Some(authority),
        }
    }

    /// Whether another bad signature may come from there, or has to wait for so long.
    pub fn admit_bad_signature(&self, from: Option<IpAddr>) -> Result<(), Duration> {
        let keys = self.keys();
        keys.map_or(Ok(()), |authority| authority.throttle.admit_from(from))
    }

    /// Notes what a signature by that access key came to. Of a bad one counts where it came from, and not
    /// whose it was to be: a secret of 256 bits is not guessed, and its id stands in every presigned URL,
    /// so that whoever saw one could lock its owner out.
    pub fn signed(&self, id: &str, from: Option<IpAddr>, is_good: bool) {
        let Some(authority) = self.keys() else { return };
        match is_good {
            true => authority.access_key_used(id),
            false => authority.throttle.failed(from, None),
        }
    }

    /// Whether tokens are made here, so that clients are to ask for one.
    pub fn makes_tokens(&self) -> bool {
        matches!(self.mode, Mode::Login(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Action;

    #[tokio::test]
    async fn a_new_service_denies_whatever_is_presented() {
        for header in [None, Some(""), Some("Basic YTpi"), Some("Bearer x")] {
            let denied = AuthService::new().check(header, None).await;
            assert_eq!(denied.err(), Some(AuthError::Unauthenticated));
        }
    }

    #[tokio::test]
    async fn an_open_service_permits_everything() {
        let identity = AuthService::open().check(None, None).await.unwrap();
        let repository = "a/b".parse().unwrap();
        for action in Action::ALL {
            assert!(identity.may(action, &repository));
        }
    }
}
