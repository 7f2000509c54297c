//! What can be done with a repository or the server.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Something that can be done with a repository, or with the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Action {
    /// Read it: blobs, manifests, tags, referrers.
    Pull = 1,
    /// Add to it: blobs, manifests, and tags that are not there.
    PushNew = 2,
    /// Move a tag that is there to another manifest.
    Overwrite = 4,
    /// Delete tags, manifests and blobs.
    Delete = 8,
    /// Administer it.
    Admin = 16,
    /// Read the figures of the whole server; counts in rules for all repositories (`**`) alone.
    Metrics = 32,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 6] = [
        Action::Pull,
        Action::PushNew,
        Action::Overwrite,
        Action::Delete,
        Action::Admin,
        Action::Metrics,
    ];

    /// Its name in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Pull => "pull",
            Action::PushNew => "push-new",
            Action::Overwrite => "overwrite",
            Action::Delete => "delete",
            Action::Admin => "admin",
            Action::Metrics => "metrics",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Text that names no actions.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0:?} is no list of actions: use pull, push-new, overwrite, delete, admin, metrics, with commas between them, push for push-new,overwrite or all"
)]
pub struct ActionsError(String);

impl FromStr for Action {
    type Err = ActionsError;

    fn from_str(text: &str) -> Result<Self, ActionsError> {
        let named = Action::ALL.into_iter().find(|it| it.as_str() == text);
        named.ok_or_else(|| ActionsError(text.chars().take(64).collect()))
    }
}

/// Some actions; none at all as well.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Actions(u8);

impl Actions {
    /// None.
    pub const NONE: Actions = Actions(0);
    /// All.
    pub const ALL: Actions = Actions(63);
    /// To push: new content, and tags that are there.
    pub const PUSH: Actions = Actions(Action::PushNew as u8 | Action::Overwrite as u8);

    /// Whether the action is one of them.
    pub fn has(self, action: Action) -> bool {
        self.0 & action as u8 != 0
    }

    /// These with one more.
    pub fn with(self, action: Action) -> Actions {
        Actions(self.0 | action as u8)
    }

    /// Those of either.
    pub fn union(self, other: Actions) -> Actions {
        Actions(self.0 | other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are among them.
    pub fn cover(self, other: Actions) -> bool {
        other.0 & !self.0 == 0
    }

    /// The bits by which they are kept: 1 pull, 2 push-new, 4 overwrite, 8 delete, 16 admin,
    /// 32 metrics.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Those of kept bits; `None` if there are others.
    pub fn of_bits(bits: u8) -> Option<Actions> {
        Some(Actions(bits)).filter(|actions| Actions::ALL.cover(*actions))
    }

    /// One after another.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL
            .into_iter()
            .filter(move |action| self.has(*action))
    }
}

impl From<Action> for Actions {
    fn from(action: Action) -> Actions {
        Actions(action as u8)
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<T: IntoIterator<Item = Action>>(actions: T) -> Self {
        actions.into_iter().fold(Actions::NONE, Actions::with)
    }
}

impl FromStr for Actions {
    type Err = ActionsError;

    fn from_str(text: &str) -> Result<Self, ActionsError> {
        text.split(',').try_fold(Actions::NONE, |actions, word| {
            Ok(actions.union(match word.trim() {
                "all" => Actions::ALL,
                "push" => Actions::PUSH,
                one => one.parse::<Action>()?.into(),
            }))
        })
    }
}

impl TryFrom<String> for Actions {
    type Error = ActionsError;

    fn try_from(text: String) -> Result<Self, ActionsError> {
        text.parse()
    }
}

impl From<Actions> for String {
    fn from(actions: Actions) -> String {
        actions.to_string()
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Actions::ALL {
            return f.pad("all");
        }
        let names: Vec<_> = self.iter().map(Action::as_str).collect();
        f.pad(&names.join(","))
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_alike() {
        for (text, written) in [
            ("pull", "pull"),
            ("push", "push-new,overwrite"),
            ("delete, pull", "pull,delete"),
            ("all", "all"),
            ("pull,push,delete,admin,metrics", "all"),
        ] {
            assert_eq!(text.parse::<Actions>().unwrap().to_string(), written);
        }
        for text in ["", "pull,", "PULL", "*", "pull;push"] {
            assert!(text.parse::<Actions>().is_err(), "{text:?}");
        }
        assert_eq!(Actions::of_bits(64), None);
    }
}
