//! Patterns of what a claim says.
//!
//! They are not those of repositories: claims are made of parts that colons separate as well
//! (`repo:acme/app:ref:refs/heads/main`), and a star that ran over a colon would let whoever may name a
//! branch or an environment name a repository too.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// What ends a part.
const SEPARATORS: [u8; 2] = [b'/', b':'];

/// A pattern that the whole of a claim has to fit: `*` stands for text without `/` and `:`, `**` for any
/// text, and every other character for itself. Either may stand for nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimPattern {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Piece {
    Byte(u8),
    /// `*`
    Part,
    /// `**`
    Any,
}

/// Text that is no pattern.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{text:?} is no pattern of a claim: {reason}; use its text, with * for text without / and :, and ** for any"
)]
pub struct ClaimPatternError {
    text: String,
    reason: &'static str,
}

impl ClaimPattern {
    /// Whether it fits the whole of `claim`.
    pub fn fits(&self, claim: &str) -> bool {
        if !self.has_wildcard() {
            return self.text == claim;
        }
        // Which prefixes of the pattern fit what was read so far. Never more work than one length times
        // the other, whatever they are.
        let mut fitting = vec![false; self.pieces.len() + 1];
        fitting[0] = true;
        self.pass_wildcards(&mut fitting);
        for byte in claim.bytes() {
            let mut next = vec![false; fitting.len()];
            for (at, piece) in self
                .pieces
                .iter()
                .enumerate()
                .filter(|(at, _)| fitting[*at])
            {
                match piece {
                    Piece::Byte(own) => next[at + 1] |= *own == byte,
                    Piece::Part => next[at] |= !SEPARATORS.contains(&byte),
                    Piece::Any => next[at] = true,
                }
            }
            self.pass_wildcards(&mut next);
            fitting = next;
        }
        fitting.last().is_some_and(|whole| *whole)
    }

    /// Wildcards may stand for nothing.
    fn pass_wildcards(&self, fitting: &mut [bool]) {
        for (at, piece) in self.pieces.iter().enumerate() {
            if fitting[at] && !matches!(piece, Piece::Byte(_)) {
                fitting[at + 1] = true;
            }
        }
    }

    /// Whether there is a star in it.
    pub fn has_wildcard(&self) -> bool {
        self.text.contains('*')
    }

    /// What stands before the first star.
    pub fn before_wildcards(&self) -> &str {
        self.text.split('*').next().unwrap_or_default()
    }

    /// Whether it has a letter or digit of its own: one without fits almost anything.
    pub fn says_something(&self) -> bool {
        self.text.chars().any(char::is_alphanumeric)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ClaimPattern {
    type Err = ClaimPatternError;

    fn from_str(text: &str) -> Result<Self, ClaimPatternError> {
        let error = |reason| ClaimPatternError {
            text: text.chars().take(200).collect(),
            reason,
        };
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(error("it has more than 1024 bytes"));
        }
        if text.contains("***") {
            return Err(error("it has three stars in a row"));
        }
        let mut pieces = Vec::with_capacity(text.len());
        for byte in text.bytes() {
            match (byte, pieces.last()) {
                (b'*', Some(Piece::Part)) => {
                    pieces.pop();
                    pieces.push(Piece::Any);
                }
                (b'*', _) => pieces.push(Piece::Part),
                (byte, _) => pieces.push(Piece::Byte(byte)),
            }
        }
        Ok(ClaimPattern {
            text: text.to_owned(),
            pieces,
        })
    }
}

impl TryFrom<String> for ClaimPattern {
    type Error = ClaimPatternError;

    fn try_from(text: String) -> Result<Self, ClaimPatternError> {
        text.parse()
    }
}

impl From<ClaimPattern> for String {
    fn from(pattern: ClaimPattern) -> String {
        pattern.text
    }
}

impl fmt::Display for ClaimPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "repo:acme/app:ref:refs/heads/main";

    #[test]
    fn a_pattern_fits_the_whole_and_one_star_stays_within_a_part() {
        for (pattern, fits, misses) in [
            (
                "acme/app",
                vec!["acme/app"],
                vec!["acme/app2", "xacme/app", "acme/app/b", "Acme/app", ""],
            ),
            (
                "acme/*",
                vec!["acme/app", "acme/"],
                vec!["acme/a/b", "acme", "acmex/app", "acme/a:b"],
            ),
            (
                "repo:acme/app:**",
                vec![MAIN, "repo:acme/app:pull_request", "repo:acme/app:"],
                vec![
                    "repo:acme/app",
                    "repo:acme/app2:pull_request",
                    "xrepo:acme/app:a",
                ],
            ),
            (
                "repo:acme/*:ref:refs/heads/main",
                vec![MAIN],
                // An environment may have any name.
                vec![
                    "repo:acme/evil:environment:x:ref:refs/heads/main",
                    "repo:acme/app/x:ref:refs/heads/main",
                ],
            ),
            ("*", vec!["a", ""], vec!["a/b", "a:b"]),
            ("a*c*e", vec!["ace", "abcde", "acce"], vec!["abde", "aceb"]),
            (
                "**/main",
                vec!["refs/heads/main", "/main"],
                vec!["main", "refs/heads/main2"],
            ),
            (
                "a.b?[c]{d}",
                vec!["a.b?[c]{d}"],
                vec!["axb?[c]{d}", "a.bx[c]{d}"],
            ),
            ("ä*", vec!["äö"], vec!["a"]),
        ] {
            let parsed: ClaimPattern = pattern.parse().unwrap();
            for claim in fits {
                assert!(parsed.fits(claim), "{pattern} {claim}");
            }
            for claim in misses {
                assert!(!parsed.fits(claim), "{pattern} {claim}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_by_name() {
        for text in ["", "a***", &"a".repeat(PATTERN_BYTES_MAX + 1)] {
            let error = text.parse::<ClaimPattern>().unwrap_err().to_string();
            assert!(error.contains("no pattern of a claim"), "{error}");
        }
    }

    #[test]
    fn what_would_be_slow_to_look_for_is_not() {
        let pattern: ClaimPattern = "a*".repeat(512).parse().unwrap();
        assert!(!pattern.fits(&"a".repeat(500)));
        assert!(pattern.fits(&"a".repeat(16 * 1024)));
    }
}
