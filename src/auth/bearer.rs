//! Signed tokens (RFC 7519): short-lived, for some repositories, and worth nothing once the account
//! behind them has changed.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};

use super::authority::{Authority, now_ms};
use super::identity::{Identity, Principal};
use super::name::Name;
use super::scope::Scope;
use super::secret;

/// Who signs, and for whom.
const ISSUER: &str = "drift";

/// How far the clock may have been put back between making and use, in seconds.
const LEEWAY_SECONDS: u64 = 5;

/// Longest token that is looked at, in bytes: one for [`super::scope::REPOSITORIES_MAX`] repositories
/// of the longest names stays below.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    /// `anonymous`, `user:NAME`, `token:NAME` or `oidc:SUBJECT`.
    sub: String,
    /// Times in seconds since 1970.
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
    /// What the account or token was when this was signed, or which trusts gave the roles.
    stamp: String,
    scope: Scope,
}

/// A token that was signed.
pub struct Signed {
    /// The token.
    pub token: String,
    /// For how long it holds.
    pub lifetime: Duration,
    /// When it was made, in seconds since 1970.
    pub issued: u64,
}

/// No token can be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// There is no key.
    #[error("there is no key to sign with")]
    NoKey,
    /// The system has no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] secret::NoRandomness),
    /// The key does not sign.
    #[error("the token could not be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

impl Authority {
    /// A token for somebody, for what of the scope they may do.
    pub(super) fn sign(&self, principal: &Principal, scope: Scope) -> Result<Signed, SignError> {
        let keyring = self.keyring();
        let key = keyring.as_ref().and_then(|ring| ring.signing());
        let key = key.ok_or(SignError::NoKey)?;
        let issued = now_ms() / 1000;
        // Whom an issuer vouches for it vouches for until then, and no longer.
        let lifetime = match principal.expires() {
            None => self.token_lifetime(),
            Some(expires) => {
                let left = Duration::from_secs(expires.saturating_sub(issued));
                left.min(self.token_lifetime())
            }
        };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
            sub: principal.subject(),
            iat: issued,
            nbf: issued,
            exp: issued + lifetime.as_secs(),
            jti: format!("{:016x}", secret::number()?),
            stamp: principal.stamp(),
            scope,
        };
        let header = Header {
            kid: Some(key.id.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        Ok(Signed {
            token: encode(&header, &claims, &key.signs)?,
            lifetime,
            issued,
        })
    }

    /// Whom a token was signed for, if it was signed here, holds, and they still are what they were.
    /// Its header says which of our keys it claims to be signed by, and is believed in nothing else
    /// (CVE-2025-24976).
    pub(super) fn verify(self: &Arc<Self>, token: &str) -> Option<Identity> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let keyring = self.keyring();
        let key = keyring
            .as_ref()?
            .of(decode_header(token).ok()?.kid.as_deref()?)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_SECONDS;
        let claims = decode::<Claims>(token, &key.verifies, &validation)
            .ok()?
            .claims;
        // Leeway is for clocks, not for a longer life.
        if claims.exp <= now_ms() / 1000 {
            return None;
        }
        let principal = match claims.sub.strip_prefix("oidc:") {
            Some(subject) => {
                let again = self.issuers.again(subject, &claims.stamp, claims.exp);
                Principal::External(Arc::new(again?))
            }
            None => principal(&claims.sub, &claims.stamp)?,
        };
        principal
            .is_still(&self.directory())
            .then(|| Identity::scoped(self.clone(), principal, claims.scope))
    }
}

fn principal(subject: &str, stamp: &str) -> Option<Principal> {
    let name = |text: &str| text.parse::<Name>().ok();
    match subject.split_once(':') {
        None if subject == "anonymous" => Some(Principal::Anonymous),
        Some(("user", text)) => Some(Principal::Account {
            name: name(text)?,
            stamp: stamp.parse().ok()?,
        }),
        Some(("token", text)) => Some(Principal::Token {
            name: name(text)?,
            stamp: stamp.parse().ok()?,
        }),
        _ => None,
    }
}
