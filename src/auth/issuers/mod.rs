//! Others whose word counts: issuers of OpenID Connect, such as a CI that gives each job a token of its
//! own, so that no secret has to lie there.
//!
//! * `url`: where they are; `fetch`: how their keys are come by; `jwks`, `keys`: the keys, and for how long
//! * `claims`, `pattern`: what a token has to say; `trust`: the role that is given for it
//! * `verify`: whose token it is; `external`: who that is here

mod claims;
mod external;
mod fetch;
mod jwks;
mod keys;
mod pattern;
mod trust;
mod url;
mod verify;

pub use claims::{ClaimName, Conditions};
pub use fetch::{Fetch, FetchError, Fetched, Issuer, keys_url};
pub use jwks::KeySet;
pub use pattern::{ClaimPattern, ClaimPatternError};
pub use trust::{Trust, TrustError};
pub use url::{HttpsUrl, HttpsUrlError};
pub use verify::{claimed_issuer, header};

pub(super) use external::External;
pub(super) use verify::{KnownIssuer, Refused};

use tokio_util::sync::CancellationToken;

/// All issuers that there are.
pub(super) struct Issuers(Vec<KnownIssuer>);

impl Issuers {
    /// Those that are configured, and what is given for their word.
    pub fn new(issuers: Vec<Issuer>, trust: &[Trust]) -> Self {
        let known = issuers.into_iter().map(|issuer| KnownIssuer {
            trust: trust
                .iter()
                .filter(|trust| trust.issuer == issuer.url)
                .map(|trust| (trust.stamp(&issuer.audience), trust.clone()))
                .collect(),
            keys: keys::Keys::new(),
            issuer,
        });
        Issuers(known.collect())
    }

    /// The issuer that a token says it is of, if it is one of ours.
    pub fn of(&self, token: &str) -> Option<&KnownIssuer> {
        if self.0.is_empty() {
            return None;
        }
        let claimed = claimed_issuer(token)?;
        self.0
            .iter()
            .find(|known| known.issuer.url.as_str() == claimed)
    }

    /// Who it was to whom a token of ours was given, as [`External`] says it; `None` once a role of it is
    /// given for nothing any more.
    pub fn again(&self, subject: &str, stamps: &str, expires: u64) -> Option<External> {
        let stamps: Option<Vec<u64>> = stamps
            .split(',')
            .map(|stamp| u64::from_str_radix(stamp, 16).ok())
            .collect();
        let stamps = stamps?;
        let (mut issuer, mut roles) = (None, Vec::new());
        for stamp in &stamps {
            let (known, trust) = self.0.iter().find_map(|known| {
                let (_, trust) = known.trust.iter().find(|(it, _)| it == stamp)?;
                Some((known, trust))
            })?;
            issuer = Some(known.issuer.url.to_string());
            roles.push(trust.role.clone());
        }
        Some(External {
            issuer: issuer?,
            subject: subject.to_owned(),
            roles,
            stamps,
            expires,
        })
    }

    /// Fetches the keys of all of them whenever it is time, until told to stop.
    pub async fn keep(&self, stop: &CancellationToken) {
        let each = self
            .0
            .iter()
            .map(|known| known.keys.keep(&known.issuer, stop));
        futures::future::join_all(each).await;
    }
}
