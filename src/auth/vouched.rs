//! Logins by the word of an issuer: its token in place of a password, exchanged for one of ours, or,
//! where that is configured, as it is.

use std::net::IpAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::authority::Authority;
use super::identity::{Identity, Principal};
use super::issuers::{KnownIssuer, Refused};
use super::service::AuthError;

impl Authority {
    /// Fetches the issuers' keys whenever it is time, until told to stop.
    pub async fn keep_issuer_keys(&self, stop: CancellationToken) {
        self.issuers.keep(&stop).await;
    }

    /// Who comes with that token.
    pub(super) async fn vouched_for(
        self: &Arc<Self>,
        token: &str,
        from: Option<IpAddr>,
    ) -> Result<Identity, AuthError> {
        match self.issuers.of(token) {
            Some(known) => self.vouched(known, token, from).await,
            None => {
                self.admit_from(from)?;
                self.throttle.failed(from, None);
                Err(AuthError::Unauthenticated)
            }
        }
    }

    /// Who comes with that token, if its issuer's are taken as they are.
    pub(super) async fn vouched_directly(
        self: &Arc<Self>,
        token: &str,
        from: Option<IpAddr>,
    ) -> Result<Identity, AuthError> {
        match self.issuers.of(token).filter(|known| known.issuer.direct) {
            Some(known) => self.vouched(known, token, from).await,
            None => Err(AuthError::Unauthenticated),
        }
    }

    /// Who comes with a token that says it is of this issuer. Where too many logins have failed it is not
    /// looked at, unless it was found good a short while ago, as it is with passwords.
    pub(super) async fn vouched(
        self: &Arc<Self>,
        known: &KnownIssuer,
        token: &str,
        from: Option<IpAddr>,
    ) -> Result<Identity, AuthError> {
        let issuer = known.issuer.url.as_str();
        let login = self.verified.login(issuer, token, 0);
        if !self.verified.has(&login) {
            self.admit_from(from)?;
        }
        match known.verify(token).await {
            Ok(external) => {
                self.verified.note(login);
                let principal = Principal::External(Arc::new(external));
                Ok(Identity::of(self.clone(), principal))
            }
            // Not the caller's fault, and nothing was tried.
            Err(Refused::Unavailable) => Err(AuthError::Unavailable),
            Err(Refused::Busy) => Err(AuthError::Busy),
            Err(refused) => {
                tracing::info!(issuer, "a token of the issuer lets nobody in: {refused}");
                self.throttle.failed(from, None);
                Err(AuthError::Unauthenticated)
            }
        }
    }

    fn admit_from(&self, from: Option<IpAddr>) -> Result<(), AuthError> {
        self.throttle.admit_from(from).map_err(AuthError::Throttled)
    }
}
