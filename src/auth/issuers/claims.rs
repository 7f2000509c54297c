//! What the claims of a token have to say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pattern::{ClaimPattern, ClaimPatternError};

/// Longest name of a claim, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// The name of a claim: that of one at the top, whatever characters are in it, or, if it begins with a
/// slash, a JSON pointer to one within others (RFC 6901): `/kubernetes.io/serviceaccount/name`. Dots
/// separate nothing, since names have dots themselves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimName(String);

/// Text that is no name of a claim.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0:?} is no name of a claim: use one of 1 to {NAME_BYTES_MAX} bytes, or a JSON pointer such as \
     /kubernetes.io/namespace"
)]
pub struct ClaimNameError(String);

impl ClaimName {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The claim at the top that it is, or lies in.
    pub fn top(&self) -> String {
        match self.0.strip_prefix('/') {
            None => self.0.clone(),
            Some(path) => {
                let first = path.split('/').next().unwrap_or_default();
                first.replace("~1", "/").replace("~0", "~")
            }
        }
    }

    fn find<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        match self.0.starts_with('/') {
            true => claims.pointer(&self.0),
            false => claims.get(&self.0),
        }
    }
}

impl TryFrom<String> for ClaimName {
    type Error = ClaimNameError;

    fn try_from(text: String) -> Result<Self, ClaimNameError> {
        match text.is_empty() || text == "/" || text.len() > NAME_BYTES_MAX {
            true => Err(ClaimNameError(text.chars().take(NAME_BYTES_MAX).collect())),
            false => Ok(ClaimName(text)),
        }
    }
}

impl From<ClaimName> for String {
    fn from(name: ClaimName) -> String {
        name.0
    }
}

/// The patterns of one claim, of which one has to fit: written as one text, or as a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct AnyOf(Vec<ClaimPattern>);

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    One(String),
    Many(Vec<String>),
}

impl AnyOf {
    /// The patterns.
    pub fn patterns(&self) -> &[ClaimPattern] {
        &self.0
    }

    /// Whether one fits. Of a list each element is looked at; what is no text is compared as it is
    /// written in JSON. Nothing fits an object or null.
    fn fits(&self, claim: &Value) -> bool {
        let fits = |text: &str| self.0.iter().any(|pattern| pattern.fits(text));
        let scalar = |claim: &Value| match claim {
            Value::String(text) => fits(text),
            Value::Bool(_) | Value::Number(_) => fits(&claim.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        match claim {
            Value::Array(elements) => elements.iter().any(scalar),
            one => scalar(one),
        }
    }
}

impl TryFrom<Written> for AnyOf {
    type Error = ClaimPatternError;

    fn try_from(written: Written) -> Result<Self, ClaimPatternError> {
        let patterns = match written {
            Written::One(one) => vec![one],
            Written::Many(many) => many,
        };
        let patterns = patterns.into_iter().map(ClaimPattern::try_from);
        Ok(AnyOf(patterns.collect::<Result<_, _>>()?))
    }
}

impl From<AnyOf> for Written {
    fn from(any: AnyOf) -> Written {
        let mut texts: Vec<String> = any.0.into_iter().map(String::from).collect();
        match texts.pop() {
            Some(one) if texts.is_empty() => Written::One(one),
            last => {
                texts.extend(last);
                Written::Many(texts)
            }
        }
    }
}

/// What each of some claims has to say.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Conditions(pub BTreeMap<ClaimName, AnyOf>);

impl Conditions {
    /// Whether they say all of it. A claim that is not there says nothing.
    pub fn hold(&self, claims: &Value) -> bool {
        let holds = |(name, any): (&ClaimName, &AnyOf)| {
            name.find(claims).is_some_and(|claim| any.fits(claim))
        };
        self.0.iter().all(holds)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conditions(json: Value) -> Conditions {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn each_condition_has_to_hold() {
        let claims = json!({
            "sub": "repo:acme/app:ref:refs/heads/main",
            "ref_protected": true,
            "run_attempt": 1,
            "groups": ["dev", "ops", 7, ["nested"]],
            "empty": [],
            "nothing": null,
            "https://example.com/team": "blue",
            "kubernetes.io": { "serviceaccount": { "name": "ci" }, "a/b~c": "d" },
            "a": { "b": "nested" },
        });
        for (wanted, holds) in [
            (json!({ "sub": "repo:acme/app:**" }), true),
            (
                json!({ "sub": "repo:acme/app:**", "ref_protected": "true" }),
                true,
            ),
            (
                json!({ "sub": "repo:acme/app:**", "ref_protected": "false" }),
                false,
            ),
            (json!({ "run_attempt": "1" }), true),
            (json!({ "run_attempt": "1.0" }), false),
            (json!({ "groups": "ops" }), true),
            (json!({ "groups": "7" }), true),
            (json!({ "groups": "nested" }), false),
            (json!({ "groups": ["hr", "ops"] }), true),
            (json!({ "groups": ["hr"] }), false),
            (json!({ "groups": [] }), false),
            (json!({ "empty": "**" }), false),
            (json!({ "nothing": "**" }), false),
            (json!({ "missing": "**" }), false),
            (json!({ "https://example.com/team": "blue" }), true),
            (json!({ "/kubernetes.io/serviceaccount/name": "ci" }), true),
            (json!({ "/kubernetes.io/serviceaccount": "**" }), false),
            (json!({ "/kubernetes.io/a~1b~0c": "d" }), true),
            (json!({ "kubernetes.io.serviceaccount.name": "ci" }), false),
            (json!({ "a.b": "nested" }), false),
            (json!({ "/sub": "repo:acme/app:**" }), true),
            (json!({ "/groups/0": "dev" }), true),
        ] {
            assert_eq!(conditions(wanted.clone()).hold(&claims), holds, "{wanted}");
        }
    }

    #[test]
    fn a_pointer_lies_in_a_claim_at_the_top() {
        for (name, top) in [
            ("sub", "sub"),
            ("/sub", "sub"),
            ("/a~1b/c", "a/b"),
            ("a/b", "a/b"),
        ] {
            assert_eq!(ClaimName::try_from(name.to_owned()).unwrap().top(), top);
        }
        for name in ["", "/", &"a".repeat(256)] {
            assert!(ClaimName::try_from(name.to_owned()).is_err(), "{name:?}");
        }
    }
}
