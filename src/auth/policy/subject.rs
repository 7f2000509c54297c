//! What a rule can be about: a repository, an object of the store, or the server.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::oci::{NameError, Pattern, RepositoryName};

/// What patterns and names of objects begin with. No repository's name has a colon, so neither a pattern
/// of repositories, `**` included, is ever about an object, nor the other way round.
pub const OBJECTS_PREFIX: &str = "s3:";

/// The pattern of all objects.
const ALL_OBJECTS: &str = "s3:**";

/// The pattern of all repositories.
const ALL_REPOSITORIES: &str = "**";

/// What something is done with.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// The server as a whole.
    Server,
    /// A repository.
    Repository(&'a RepositoryName),
    /// An object, as `s3:BUCKET/KEY`, or what begins so: a bucket is `s3:BUCKET/`.
    Object(&'a str),
}

impl<'a> From<&'a RepositoryName> for Subject<'a> {
    fn from(name: &'a RepositoryName) -> Self {
        Subject::Repository(name)
    }
}

/// Whether a pattern is for that. The server is covered by the pattern of all repositories alone.
pub fn covers(pattern: &Pattern, subject: Subject<'_>) -> bool {
    let is_of_objects = pattern.as_str().starts_with(OBJECTS_PREFIX);
    match subject {
        Subject::Server => pattern.as_str() == ALL_REPOSITORIES,
        Subject::Repository(name) => !is_of_objects && pattern.fits(name.as_str()),
        Subject::Object(_) if pattern.as_str() == ALL_OBJECTS => true,
        Subject::Object(name) => is_of_objects && pattern.fits(name),
    }
}

/// What an operator asks about: the name of a repository, or of an object as `s3:BUCKET/KEY`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Named {
    /// A repository.
    Repository(RepositoryName),
    /// An object.
    Object(String),
}

impl Named {
    /// The same as rules see it.
    pub fn as_subject(&self) -> Subject<'_> {
        match self {
            Named::Repository(name) => Subject::Repository(name),
            Named::Object(name) => Subject::Object(name),
        }
    }
}

impl FromStr for Named {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix(OBJECTS_PREFIX) {
            // A bucket's name alone means the bucket.
            Some(bucket) if !bucket.contains('/') => Ok(Named::Object(format!("{text}/"))),
            Some(_) => Ok(Named::Object(text.to_owned())),
            None => text.parse().map(Named::Repository),
        }
    }
}

impl TryFrom<String> for Named {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Named> for String {
    fn from(named: Named) -> String {
        named.to_string()
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::Repository(name) => name.fmt(f),
            Named::Object(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_about_repositories_or_objects_and_never_both() {
        let repository: RepositoryName = "team/a".parse().unwrap();
        for (pattern, of_repository, objects) in [
            ("**", true, [false, false, false]),
            ("team/*", true, [false, false, false]),
            ("[!x]*/**", true, [false, false, false]),
            ("{s3:team,team}/**", true, [false, false, false]),
            ("s3:**", false, [true, true, true]),
            ("s3:*/**", false, [true, true, true]),
            ("s3:team/**", false, [true, true, true]),
            ("s3:team/a", false, [false, true, false]),
            ("s3:team/*", false, [true, true, false]),
            ("s3:other/**", false, [false, false, false]),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(
                covers(&parsed, Subject::Repository(&repository)),
                of_repository,
                "{pattern}"
            );
            let found = ["s3:team/", "s3:team/a", "s3:team/b\n//../c"]
                .map(|name| covers(&parsed, Subject::Object(name)));
            assert_eq!(found, objects, "{pattern}");
        }
    }

    #[test]
    fn a_name_is_read_as_what_it_is() {
        let named = |text: &str| text.parse::<Named>().unwrap();
        assert!(matches!(named("team/a"), Named::Repository(_)));
        assert_eq!(named("s3:b"), Named::Object("s3:b/".to_owned()));
        assert_eq!(named("s3:b/k/"), Named::Object("s3:b/k/".to_owned()));
        assert!("Team".parse::<Named>().is_err());
    }
}
