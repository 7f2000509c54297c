//! Names of accounts, groups and tokens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The name of an account, group or token: a letter or digit, then letters, digits and `. _ - + @`.
/// It never holds what separates it from something else: a colon, a comma, a space or a slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Text that is no name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0:?} is no name: use 1 to {NAME_BYTES_MAX} letters, digits and . _ - + @, beginning with a letter or digit"
)]
pub struct NameError(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut characters = text.bytes();
        let begins_well = characters
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric());
        let goes_on_well =
            characters.all(|next| next.is_ascii_alphanumeric() || b"._-+@".contains(&next));
        match begins_well && goes_on_well && text.len() <= NAME_BYTES_MAX {
            true => Ok(Name(text.to_owned())),
            false => Err(NameError(text.chars().take(NAME_BYTES_MAX).collect())),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_nothing_that_separates() {
        for text in ["a", "Alice", "a.b_c-d+e@example.com", &"a".repeat(64)] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "a:b",
            "a b",
            "a/b",
            "a,b",
            "-a",
            ".a",
            "a\0",
            "ä",
            "*",
            &"a".repeat(65),
        ] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
    }
}
