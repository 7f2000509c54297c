//! Whether a token is an issuer's, for us, and whose it is.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::external::{External, subject};
use super::fetch::Issuer;
use super::keys::{Keys, NoKey};
use super::trust::Trust;
use crate::auth::authority::now_ms;

/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// How far an issuer's clock may be before ours, in seconds. That ours is before theirs makes a token's
/// life shorter, never longer.
const LEEWAY_SECONDS: u64 = 60;

/// What may be signed with. HMAC is not among them: its key would be no secret.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Why a token lets nobody in. What it says of the token is for the log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Its header cannot be read, or says what is not taken.
    #[error("its header {0}")]
    Header(&'static str),
    /// The issuer has no such key.
    #[error("the issuer has no key of its kid")]
    UnknownKey,
    /// The issuer's keys are not to be had.
    #[error("the issuer's keys are not to be had")]
    Unavailable,
    /// Too many wait for the issuer's keys.
    #[error("too many wait for the issuer's keys")]
    Busy,
    /// Signature, times, audience or issuer.
    #[error("{0}")]
    Invalid(String),
    /// A claim has not its form.
    #[error("its claim {0} is missing, or has not its form")]
    Claim(&'static str),
    /// It was made in the future, as clocks here have it.
    #[error("its iat lies in the future")]
    Future,
    /// It has ended.
    #[error("it has expired")]
    Expired,
    /// No role is given to its claims.
    #[error("no [[auth.trust]] fits the claims of {0}")]
    NoTrust(String),
}

/// An issuer, its keys, and who gets a role for its word.
pub struct KnownIssuer {
    /// As it is configured.
    pub issuer: Issuer,
    /// Its keys.
    pub keys: Keys,
    /// The roles, each with its stamp.
    pub trust: Vec<(u64, Trust)>,
}

/// The issuer that a token says it is of. Nothing is believed of that but whose keys to look at.
pub fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        iss: String,
    }
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claimed: Claimed = serde_json::from_slice(&claims).ok()?;
    Some(claimed.iss)
}

/// The header of a token, if nothing in it asks for what is not done here.
pub fn header(token: &str) -> Result<(Header, String), Refused> {
    let header = decode_header(token).map_err(|_| Refused::Header("cannot be read"))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Refused::Header("has an alg that is not taken"));
    }
    // What has to be understood and is not makes a token invalid (RFC 7515, 4.1.11).
    if header.crit.is_some() {
        return Err(Refused::Header("has a crit"));
    }
    // A logout token or a proof is signed with the same keys, and says nothing of who comes.
    let kind = header.typ.as_deref().unwrap_or("JWT");
    if !["JWT", "at+jwt", "application/at+jwt"]
        .iter()
        .any(|it| it.eq_ignore_ascii_case(kind))
    {
        return Err(Refused::Header("has a typ other than JWT and at+jwt"));
    }
    match header.kid.clone().filter(|kid| !kid.is_empty()) {
        Some(kid) => Ok((header, kid)),
        None => Err(Refused::Header("has no kid")),
    }
}

impl KnownIssuer {
    /// Who comes with that token.
    pub async fn verify(&self, token: &str) -> Result<External, Refused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::Header("and all of it is too long"));
        }
        let (header, kid) = header(token)?;
        let keys = self.keys.with(&kid).await.map_err(|no| match no {
            NoKey::Unknown => Refused::UnknownKey,
            NoKey::Unavailable => Refused::Unavailable,
            NoKey::Busy => Refused::Busy,
        })?;
        let key = keys.of(&kid).ok_or(Refused::UnknownKey)?;
        if !key.takes(header.alg) {
            return Err(Refused::Header("has an alg that its key is not for"));
        }
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[self.issuer.url.as_str()]);
        validation.set_audience(&[self.issuer.audience.as_str()]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_SECONDS;
        let claims = decode::<Value>(token, key.verifies(), &validation)
            .map_err(|error| Refused::Invalid(error.to_string()))?
            .claims;
        self.admit(&claims, now_ms() / 1000)
    }

    /// What comes of claims that are the issuer's indeed.
    pub fn admit(&self, claims: &Value, now: u64) -> Result<External, Refused> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.url.as_str()) {
            return Err(Refused::Claim("iss"));
        }
        let who = claims.get("sub").and_then(Value::as_str);
        let who = who.filter(|sub| !sub.is_empty());
        let who = subject(who.ok_or(Refused::Claim("sub"))?);
        if let Some(issued) = claims.get("iat") {
            let issued = seconds(issued).ok_or(Refused::Claim("iat"))?;
            if issued > now.saturating_add(LEEWAY_SECONDS) {
                return Err(Refused::Future);
            }
        }
        // Leeway is for clocks that go before ours, not for a longer life.
        let expires = claims.get("exp").and_then(seconds);
        let expires = expires.ok_or(Refused::Claim("exp"))?;
        if expires <= now {
            return Err(Refused::Expired);
        }
        let fitting = self
            .trust
            .iter()
            .filter(|(_, trust)| trust.claims.hold(claims));
        let given: BTreeMap<_, _> = fitting
            .map(|(stamp, trust)| (trust.role.clone(), *stamp))
            .collect();
        if given.is_empty() {
            return Err(Refused::NoTrust(who));
        }
        let (roles, stamps) = given.into_iter().unzip();
        Ok(External {
            issuer: self.issuer.url.to_string(),
            subject: who,
            roles,
            stamps,
            expires,
        })
    }
}

/// A time in whole seconds since 1970, of which some write a fraction (RFC 7519, 2).
fn seconds(time: &Value) -> Option<u64> {
    time.as_u64().or_else(|| {
        let time = time.as_f64().filter(|time| (0.0..1e15).contains(time))?;
        Some(time as u64)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use serde_json::json;

    use super::super::fetch::{Fetch, FetchError, Fetched};
    use super::super::url::HttpsUrl;
    use super::*;

    const URL: &str = "https://issuer.example.com";

    #[derive(Debug)]
    struct Nothing;

    #[async_trait]
    impl Fetch for Nothing {
        async fn fetch(&self, _: &HttpsUrl) -> Result<Fetched, FetchError> {
            Err("there is nothing".into())
        }
    }

    fn known(trust: &[(&str, Value)]) -> KnownIssuer {
        let trust = trust.iter().map(|(role, claims)| {
            let json = json!({ "issuer": URL, "role": role, "claims": claims });
            let trust: Trust = serde_json::from_value(json).unwrap();
            (trust.stamp("drift"), trust)
        });
        KnownIssuer {
            trust: trust.collect(),
            issuer: Issuer {
                url: URL.parse().unwrap(),
                audience: "drift".to_owned(),
                jwks: None,
                direct: false,
                fetch: Arc::new(Nothing),
            },
            keys: Keys::new(),
        }
    }

    #[test]
    fn claims_get_the_roles_of_every_trust_that_fits_them() {
        let known = known(&[
            ("ci", json!({ "sub": "repo:acme/**" })),
            (
                "release",
                json!({ "sub": "repo:acme/app:**", "ref": "refs/tags/*" }),
            ),
            ("ci", json!({ "ref": "refs/tags/*" })),
            ("other", json!({ "sub": "repo:other/**" })),
        ]);
        let claims = json!({
            "iss": URL, "sub": "repo:acme/app:ref:x", "exp": 200.9, "iat": 160, "ref": "refs/tags/v1",
        });
        let external = known.admit(&claims, 100).unwrap();
        assert_eq!(
            external.to_string(),
            format!("oidc:{URL}#repo:acme/app:ref:x (role ci, release)")
        );
        assert_eq!((external.stamps.len(), external.expires), (2, 200));
        let with = |name: &str, value: Value| {
            let mut changed = claims.clone();
            changed[name] = value;
            known.admit(&changed, 100)
        };
        assert_eq!(with("exp", json!(100)), Err(Refused::Expired));
        assert_eq!(with("exp", json!("200")), Err(Refused::Claim("exp")));
        assert_eq!(with("exp", json!(-1)), Err(Refused::Claim("exp")));
        assert_eq!(with("iat", json!(161)), Err(Refused::Future));
        assert_eq!(with("iat", json!("160")), Err(Refused::Claim("iat")));
        assert_eq!(with("sub", json!("")), Err(Refused::Claim("sub")));
        assert_eq!(with("iss", json!([URL])), Err(Refused::Claim("iss")));
        assert!(matches!(with("sub", json!("repo:acmex/app")), Ok(it) if it.roles.len() == 1));
        let neither = json!({ "iss": URL, "sub": "x", "exp": 200 });
        assert_eq!(
            known.admit(&neither, 100),
            Err(Refused::NoTrust("x".to_owned()))
        );
    }

    #[test]
    fn a_header_asks_for_nothing_that_is_not_done() {
        let token = |header: Value| {
            let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
            format!("{}.{}.", part(header), part(json!({ "iss": URL })))
        };
        let good = token(json!({ "alg": "RS256", "kid": "a" }));
        assert_eq!(header(&good).unwrap().1, "a");
        assert_eq!(claimed_issuer(&good).as_deref(), Some(URL));
        header(&token(json!({ "alg": "EdDSA", "kid": "a", "typ": "jwt" }))).unwrap();
        for refused in [
            json!({ "alg": "HS256", "kid": "a" }),
            json!({ "alg": "none", "kid": "a" }),
            json!({ "alg": "RS256" }),
            json!({ "alg": "RS256", "kid": "" }),
            json!({ "alg": "RS256", "kid": 1 }),
            json!({ "alg": "RS256", "kid": "a", "crit": ["b64"], "b64": false }),
            json!({ "alg": "RS256", "kid": "a", "crit": [] }),
            json!({ "alg": "RS256", "kid": "a", "typ": "logout+jwt" }),
            json!({ "alg": "RS256", "kid": "a", "typ": "dpop+jwt" }),
        ] {
            assert!(header(&token(refused.clone())).is_err(), "{refused}");
        }
        let long = format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX));
        for text in ["", "a.b", "..", "a.b.c.d", &long, &good.replace('.', "")] {
            assert_eq!(claimed_issuer(text), None, "{text}");
        }
    }
}
