//! Patterns of names, by which rules say what they are about.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

/// A pattern of repositories or tags: `*` and `?` stand for text within a path part, `**` for whole
/// parts, `[ab]` for one of these characters and `{a,b}` for one of these texts.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    matcher: GlobMatcher,
}

/// Text that is no pattern.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{text:?} is no pattern: {reason}; use a name, or one with * within a path part and ** over parts"
)]
pub struct PatternError {
    text: String,
    reason: String,
}

impl Pattern {
    /// Whether the pattern fits the whole of `name`.
    pub fn fits(&self, name: &str) -> bool {
        self.matcher.is_match(name)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.matcher.glob().glob()
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let error = |reason: String| PatternError {
            text: text.to_owned(),
            reason,
        };
        if text.is_empty() {
            return Err(error("it is empty".to_owned()));
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .build()
            .map_err(|glob| error(glob.kind().to_string()))?;
        Ok(Pattern {
            matcher: glob.compile_matcher(),
        })
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.as_str().to_owned()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_within_a_part_unless_there_are_two() {
        for (pattern, fits, misses) in [
            (
                "team/*",
                vec!["team/a", "team/a-b"],
                vec!["team", "team/a/b", "teams/a"],
            ),
            (
                "team/**",
                vec!["team/a", "team/a/b"],
                vec!["team", "teams/a"],
            ),
            ("**", vec!["a", "a/b/c"], vec![]),
            ("*", vec!["a", "v1.2"], vec!["a/b"]),
            ("**/base", vec!["base", "a/b/base"], vec!["a/bases"]),
            ("v[0-9]*", vec!["v1", "v1.2.3"], vec!["v", "va"]),
            ("{dev,test}/*", vec!["dev/a", "test/b"], vec!["prod/a"]),
            ("a.b", vec!["a.b"], vec!["axb", "a.b.c"]),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            for name in fits {
                assert!(parsed.fits(name), "{pattern} {name}");
            }
            for name in misses {
                assert!(!parsed.fits(name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_by_name() {
        for text in ["", "a[", "{a", "[z-a]"] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
