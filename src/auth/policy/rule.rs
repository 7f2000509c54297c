//! One rule: who may, or may not, do what with which repositories or objects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::action::{Action, Actions, ActionsError};
use super::subject::{OBJECTS_PREFIX, Subject, covers};
use super::who::{Asking, Who, WhoError};
use crate::oci::{Pattern, PatternError};

/// What a rule decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It may be done.
    #[default]
    Allow,
    /// It may not.
    Deny,
}

/// A rule. As text: `allow group:dev pull,push team/**`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What is decided.
    #[serde(default)]
    pub effect: Effect,
    /// Whom it is about.
    pub who: Who,
    /// What they want to do.
    pub actions: Actions,
    /// The repositories; or the objects, with `s3:` before it.
    pub repositories: Pattern,
}

impl Rule {
    /// Sees that its pattern is of repositories or of objects: one that mixes them would be about the former
    /// alone, and a refusal of the latter void.
    pub fn check(&self) -> Result<(), RuleError> {
        let pattern = self.repositories.as_str();
        match pattern.rfind(OBJECTS_PREFIX) {
            None | Some(0) => Ok(()),
            Some(_) => Err(RuleError::Mixed(pattern.to_owned())),
        }
    }

    /// Whether it decides about that.
    pub fn fits(&self, asking: Asking<'_>, action: Action, subject: Subject<'_>) -> bool {
        self.actions.has(action) && self.who.is(asking) && covers(&self.repositories, subject)
    }
}

/// Text that is no rule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleError {
    /// It has another number of words.
    #[error(
        "a rule is: allow|deny WHO ACTIONS REPOSITORIES, such as allow group:dev pull,push team/**"
    )]
    Form,
    /// Whom it is about cannot be read.
    #[error(transparent)]
    Who(#[from] WhoError),
    /// The actions cannot be read.
    #[error(transparent)]
    Actions(#[from] ActionsError),
    /// The pattern mixes repositories and objects.
    #[error(
        "{0:?} mixes repositories and objects: {OBJECTS_PREFIX} stands at the start of a pattern alone"
    )]
    Mixed(String),
    /// The pattern cannot be read.
    #[error(transparent)]
    Repositories(#[from] PatternError),
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [effect, who, actions, repositories] = words.as_slice() else {
            return Err(RuleError::Form);
        };
        let rule = Rule {
            effect: match *effect {
                "allow" => Effect::Allow,
                "deny" => Effect::Deny,
                _ => return Err(RuleError::Form),
            },
            who: who.parse()?,
            actions: actions.parse()?,
            repositories: repositories.parse()?,
        };
        rule.check()?;
        Ok(rule)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        };
        let repositories = self.repositories.as_str();
        write!(f, "{effect} {} {} {repositories}", self.who, self.actions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in [
            "allow group:dev pull,push-new team/**",
            "deny everybody delete {prod,live}/*",
            "allow anonymous pull **",
            "allow user:backup pull,push-new s3:backups/**",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        let mixed = "deny everybody pull {s3:prod,prod}/**".parse::<Rule>();
        assert!(matches!(mixed, Err(RuleError::Mixed(_))));
        for text in [
            "",
            "group:dev pull team/**",
            "permit group:dev pull team/**",
            "allow dev pull team/**",
            "allow group:dev read team/**",
            "allow group:dev pull team/[",
            "allow group:dev pull a b",
        ] {
            assert!(text.parse::<Rule>().is_err(), "{text:?}");
        }
    }
}
