//! Whom of an issuer's a role is given to.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::claims::{AnyOf, ClaimName, Conditions};
use super::pattern::ClaimPattern;
use super::url::HttpsUrl;
use crate::auth::name::Name;

/// Claims that are the same for all of an issuer's or that whoever asks for a token may choose: a
/// condition on them keeps nobody out.
const SAYS_NOT_WHO: [&str; 6] = ["iss", "aud", "exp", "iat", "nbf", "jti"];

/// Issuers of everybody's tokens, and the claims that say whose one is. A branch or a workflow's name says
/// nothing there: anybody can have one of that name.
const EVERYBODYS: [(&str, &[&str]); 3] = [
    (
        "https://token.actions.githubusercontent.com",
        &[
            "sub",
            "repository",
            "repository_id",
            "repository_owner",
            "repository_owner_id",
            "job_workflow_ref",
            "workflow_ref",
            "enterprise",
            "enterprise_id",
        ],
    ),
    (
        "https://gitlab.com",
        &[
            "sub",
            "project_path",
            "project_id",
            "namespace_path",
            "namespace_id",
        ],
    ),
    ("https://accounts.google.com", &["sub", "email", "hd"]),
];

/// A role for those of an issuer's whose claims say this.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// The issuer's URL.
    pub issuer: HttpsUrl,
    /// What the claims have to say, all of it.
    pub claims: Conditions,
    /// The role, as rules name it with `role:`.
    pub role: Name,
}

/// A trust that would let in whoever comes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrustError {
    /// Nobody of that URL is an issuer.
    #[error(
        "{issuer} (role {role}) is none of [[auth.issuers]]: give the url of one, letter by letter"
    )]
    UnknownIssuer {
        /// The URL.
        issuer: HttpsUrl,
        /// The role.
        role: Name,
    },
    /// No condition says who.
    #[error(
        "role {role} would be given to everybody who has a token of {issuer}: say in claims who it is for, \
         such as {{ sub = \"...\" }}; a pattern of stars alone, and iss, aud, exp, iat, nbf and jti, say nothing"
    )]
    NoCondition {
        /// The URL.
        issuer: HttpsUrl,
        /// The role.
        role: Name,
    },
    /// The issuer is everybody's, and no condition says whose.
    #[error(
        "role {role} would be given to strangers: everybody can have tokens of {issuer}, so that claims has \
         to say whose, by one of {} without a star, or with none before its first / but in it",
        claims.join(", ")
    )]
    NoTenant {
        /// The URL.
        issuer: HttpsUrl,
        /// The role.
        role: Name,
        /// The claims that would do.
        claims: &'static [&'static str],
    },
    /// A claim may say nothing that fits.
    #[error("role {role}: the claim {claim:?} has an empty list of patterns, which nothing fits")]
    EmptyList {
        /// The role.
        role: Name,
        /// The claim.
        claim: String,
    },
}

impl Trust {
    /// Refuses what would let in more than anybody can mean.
    pub fn check<'a>(
        &self,
        issuers: impl IntoIterator<Item = &'a HttpsUrl>,
    ) -> Result<(), TrustError> {
        let (issuer, role) = (self.issuer.clone(), self.role.clone());
        if !issuers.into_iter().any(|known| *known == issuer) {
            return Err(TrustError::UnknownIssuer { issuer, role });
        }
        let conditions = &self.claims.0;
        if let Some((claim, _)) = conditions.iter().find(|(_, any)| any.patterns().is_empty()) {
            let claim = claim.as_str().to_owned();
            return Err(TrustError::EmptyList { role, claim });
        }
        let says_who = |(name, any): (&ClaimName, &AnyOf)| {
            !SAYS_NOT_WHO.contains(&name.top().as_str())
                && any.patterns().iter().all(ClaimPattern::says_something)
        };
        if !conditions.iter().any(says_who) {
            return Err(TrustError::NoCondition { issuer, role });
        }
        let url = issuer.as_str().trim_end_matches('/');
        let everybodys = EVERYBODYS.iter().find(|(known, _)| *known == url);
        let Some((_, claims)) = everybodys else {
            return Ok(());
        };
        let says_whose = |(name, any): (&ClaimName, &AnyOf)| {
            claims.contains(&name.top().as_str()) && any.patterns().iter().all(names_one)
        };
        match conditions.iter().any(says_whose) {
            true => Ok(()),
            false => Err(TrustError::NoTenant {
                issuer,
                role,
                claims,
            }),
        }
    }

    /// What tells it from any other: a token that was given for it is good for nothing once the
    /// configuration has no such trust any more.
    pub fn stamp(&self, audience: &str) -> u64 {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut add = |text: &str| {
            // Where each ends is said, or another split would be the same trust.
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        add(self.issuer.as_str());
        add(audience);
        add(self.role.as_str());
        for (name, any) in &self.claims.0 {
            add(name.as_str());
            add(&any.patterns().len().to_string());
            for pattern in any.patterns() {
                add(pattern.as_str());
            }
        }
        let mut stamp = [0; 8];
        stamp.copy_from_slice(&hash.finish().as_ref()[..8]);
        u64::from_le_bytes(stamp)
    }
}

/// Whether it fits one owner's alone: `acme/*`, `repo:acme/app:**`, `acme`.
fn names_one(pattern: &ClaimPattern) -> bool {
    !pattern.has_wildcard() || pattern.before_wildcards().contains('/')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const GITHUB: &str = "https://token.actions.githubusercontent.com";
    const OWN: &str = "https://gitlab.example.com";

    fn trust(issuer: &str, claims: Value) -> Trust {
        serde_json::from_value(json!({ "issuer": issuer, "claims": claims, "role": "ci" })).unwrap()
    }

    fn check(issuer: &str, claims: Value) -> Result<(), TrustError> {
        let known: HttpsUrl = issuer.parse().unwrap();
        trust(issuer, claims).check([&known])
    }

    #[test]
    fn a_trust_says_who() {
        for claims in [
            json!({}),
            json!({ "sub": "**" }),
            json!({ "sub": ["repo:acme/app:**", "**"] }),
            json!({ "sub": "*:*/*" }),
            json!({ "aud": "drift" }),
            json!({ "/aud": "drift", "iss": OWN }),
        ] {
            let error = check(OWN, claims.clone()).unwrap_err();
            assert!(
                matches!(error, TrustError::NoCondition { .. }),
                "{claims}: {error}"
            );
        }
        assert!(matches!(
            check(OWN, json!({ "sub": [] })),
            Err(TrustError::EmptyList { .. })
        ));
        check(OWN, json!({ "ref": "refs/heads/main" })).unwrap();
        check(OWN, json!({ "sub": "*@example.com", "aud": "**" })).unwrap();
        let other: HttpsUrl = "https://gitlab.example.com/".parse().unwrap();
        let unknown = trust(OWN, json!({ "sub": "a" })).check([&other]);
        assert!(matches!(unknown, Err(TrustError::UnknownIssuer { .. })));
    }

    #[test]
    fn at_everybodys_issuer_a_trust_says_whose() {
        for (claims, taken) in [
            (json!({ "ref": "refs/heads/main" }), false),
            (json!({ "sub": "repo:**" }), false),
            (json!({ "sub": "repo:*/app:**" }), false),
            (json!({ "sub": "repo:acme*/app:**" }), false),
            (json!({ "repository_owner": "acme*" }), false),
            (json!({ "sub": ["repo:acme/app:**", "repo:**"] }), false),
            (json!({ "sub": "repo:acme/app:**" }), true),
            (json!({ "repository": "acme/*" }), true),
            (json!({ "/repository": "acme/*" }), true),
            (
                json!({ "repository_owner": "acme", "ref": "refs/heads/**" }),
                true,
            ),
            (json!({ "repository_id": "12345" }), true),
        ] {
            for issuer in [GITHUB, &format!("{GITHUB}/")] {
                let checked = check(issuer, claims.clone());
                assert_eq!(checked.is_ok(), taken, "{claims}: {checked:?}");
            }
        }
    }

    #[test]
    fn the_stamp_is_all_that_a_trust_says() {
        let stamps = [
            trust(OWN, json!({ "sub": "a" })).stamp("drift"),
            trust(OWN, json!({ "sub": "a" })).stamp("other"),
            trust(OWN, json!({ "sub": "b" })).stamp("drift"),
            trust(OWN, json!({ "sub": ["a", "b"] })).stamp("drift"),
            trust(OWN, json!({ "suba": "b" })).stamp("drift"),
            trust(GITHUB, json!({ "sub": "a" })).stamp("drift"),
        ];
        let distinct: std::collections::HashSet<_> = stamps.iter().collect();
        assert_eq!(distinct.len(), stamps.len());
        assert_eq!(
            stamps[0],
            trust(OWN, json!({ "sub": ["a"] })).stamp("drift")
        );
    }
}
