//! Repository names (distribution-spec, "Pulling manifests").

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{excerpt, serde_as_str};

/// Longest repository name, in bytes. The specification leaves the limit to the registry; 255
/// is what clients and other registries take.
pub const NAME_BYTES_MAX: usize = 255;

/// The name of a repository: components of lower-case letters, digits and single separators,
/// joined by slashes, to any depth.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

/// Why a text is no repository name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// More bytes than [`NAME_BYTES_MAX`].
    #[error("a repository name has at most {NAME_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// A component that does not follow the grammar.
    #[error(
        "{name:?} is no repository name: component {component:?} must be lower-case letters and \
         digits, joined by one of '.', '_', '__' or dashes"
    )]
    Component {
        /// The name's beginning.
        name: String,
        /// The component's beginning.
        component: String,
    },
}

impl RepositoryName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        match text.split('/').find(|part| !is_component(part)) {
            None => Ok(RepositoryName(text.into())),
            Some(component) => Err(NameError::Component {
                name: excerpt(text),
                component: excerpt(component),
            }),
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|byte| is_alphanumeric(byte)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        let separator = match rest {
            [] => return true,
            [b'.', ..] => 1,
            [b'_', b'_', ..] => 2,
            [b'_', ..] => 1,
            _ => rest.iter().take_while(|byte| **byte == b'-').count(),
        };
        // A byte that is no separator leaves `rest` as it is, and the next word is then empty.
        rest = &rest[separator..];
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

serde_as_str!(RepositoryName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_grammar_are_taken() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for name in [
            "a",
            "0",
            "alpine",
            "test/alpine",
            "a/b/c/d/e/f/g/h",
            "a.b",
            "a_b",
            "a__b",
            "a-b",
            "a----b",
            "a.b_c__d-e/f--g",
            longest.as_str(),
        ] {
            assert_eq!(name.parse::<RepositoryName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let too_long = "a".repeat(NAME_BYTES_MAX + 1);
        let huge = "a/".repeat(5_000) + "a";
        for name in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "A",
            "aB",
            ".a",
            "a.",
            "a..b",
            "..",
            "a/../b",
            "a/./b",
            "_a",
            "a_",
            "a___b",
            "-a",
            "a-",
            "a._b",
            "a-.b",
            "a_-b",
            "a b",
            "a:b",
            "a\\b",
            "a%2fb",
            "a\0b",
            "a\n",
            "é",
            "a/\u{661}",
            too_long.as_str(),
            huge.as_str(),
        ] {
            assert!(
                name.parse::<RepositoryName>().is_err(),
                "{name:?} was taken"
            );
        }
    }

    #[test]
    fn an_error_names_the_component_and_stays_short() {
        let error = "good/Bad".parse::<RepositoryName>().unwrap_err();
        assert!(error.to_string().contains("\"Bad\""), "{error}");
        let error = "A".repeat(200).parse::<RepositoryName>().unwrap_err();
        assert!(error.to_string().len() < 320, "{error}");
    }

    #[test]
    fn what_serde_reads_is_checked() {
        let name: RepositoryName = serde_json::from_str("\"a/b\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"a/b\"");
        assert!(serde_json::from_str::<RepositoryName>("\"A\"").is_err());
    }
}
