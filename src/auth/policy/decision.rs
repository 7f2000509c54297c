//! The policy, and what comes of asking it.

use std::fmt;

use super::action::Action;
use super::rule::{Effect, Rule};
use super::subject::{OBJECTS_PREFIX, Subject};
use super::who::{Asking, Who};

/// The group whose accounts may do everything that no rule denies.
pub const ADMINISTRATORS: &str = "admins";

/// A rule of the catalog; smaller numbers come first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumberedRule {
    /// Its number.
    pub number: u32,
    /// The rule.
    pub rule: Rule,
}

/// All rules, in the order in which they are gone by: those of the configuration, those of the
/// catalog, and that for administrators.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Those of the configuration.
    pub configured: Vec<Rule>,
    /// Those of the catalog, by number. `None` if they cannot be read: then nobody may do anything,
    /// since one of them may be a denial.
    pub kept: Option<Vec<NumberedRule>>,
}

/// What decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Login is switched off.
    Open,
    /// A rule of the configuration, counted from 1.
    Configured(usize, Rule),
    /// A rule of the catalog, by its number.
    Kept(u32, Rule),
    /// What administrators may do.
    Administrators,
    /// What the token was made for.
    Token,
    /// What the token was made for does not hold it.
    OutsideToken,
    /// What the signed token was asked for does not hold it.
    OutsideScope,
    /// The account or token is not there any more, or is switched off.
    Gone,
    /// The rules cannot be read.
    Unreadable,
    /// No rule fits.
    NoRule,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Open => f.write_str("login is switched off"),
            Reason::Configured(number, rule) => {
                write!(f, "rule {number} of [[auth.rules]]: {rule}")
            }
            Reason::Kept(number, rule) => write!(f, "policy rule {number}: {rule}"),
            Reason::Administrators => {
                write!(f, "group:{ADMINISTRATORS} may do what no rule denies")
            }
            Reason::Token => f.write_str("the token was made for it"),
            Reason::OutsideToken => f.write_str("the token was not made for it"),
            Reason::OutsideScope => f.write_str("the token was not asked for with this scope"),
            Reason::Gone => f.write_str("there is no such account or token, or it is switched off"),
            Reason::Unreadable => f.write_str(
                "the policy cannot be read, and denies everything: see the server's log",
            ),
            Reason::NoRule => f.write_str("no rule allows it"),
        }
    }
}

/// Whether something may be done, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Whether it may.
    pub allowed: bool,
    /// What decided.
    pub reason: Reason,
}

impl Decision {
    /// It may.
    pub fn allow(reason: Reason) -> Self {
        Decision {
            allowed: true,
            reason,
        }
    }

    /// It may not.
    pub fn deny(reason: Reason) -> Self {
        Decision {
            allowed: false,
            reason,
        }
    }
}

impl Policy {
    /// Whether they may do that.
    pub fn decide(&self, asking: Asking<'_>, action: Action, subject: Subject<'_>) -> Decision {
        if let Some(decision) = self.explicit(asking, action, subject) {
            return decision;
        }
        match asking {
            Asking::User(_, groups, _) if groups.iter().any(|it| it.as_str() == ADMINISTRATORS) => {
                Decision::allow(Reason::Administrators)
            }
            _ => Decision::deny(Reason::NoRule),
        }
    }

    /// What the first rule that fits decides; `None` if none does.
    pub fn explicit(
        &self,
        asking: Asking<'_>,
        action: Action,
        subject: Subject<'_>,
    ) -> Option<Decision> {
        let Some(kept) = &self.kept else {
            return Some(Decision::deny(Reason::Unreadable));
        };
        let fits = |rule: &Rule| rule.fits(asking, action, subject);
        let decided = |rule: &Rule, reason| match rule.effect {
            Effect::Allow => Decision::allow(reason),
            Effect::Deny => Decision::deny(reason),
        };
        let configured = self.configured.iter().zip(1..).find(|(rule, _)| fits(rule));
        if let Some((rule, number)) = configured {
            return Some(decided(rule, Reason::Configured(number, rule.clone())));
        }
        let NumberedRule { number, rule } = kept.iter().find(|kept| fits(&kept.rule))?;
        Some(decided(rule, Reason::Kept(*number, rule.clone())))
    }

    /// Whether somebody who has not logged in may pull from any repository at all, for all that the rules
    /// say.
    pub fn admits_strangers(&self) -> bool {
        let kept = self.kept.iter().flatten().map(|kept| &kept.rule);
        self.configured.iter().chain(kept).any(|rule| {
            rule.effect == Effect::Allow
                && rule.actions.has(Action::Pull)
                && !rule.repositories.as_str().starts_with(OBJECTS_PREFIX)
                && matches!(rule.who, Who::Anonymous | Who::Everybody)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Name;
    use crate::oci::RepositoryName;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn policy(configured: &[&str], kept: &[(u32, &str)]) -> Policy {
        Policy {
            configured: configured.iter().map(|it| it.parse().unwrap()).collect(),
            kept: Some(
                kept.iter()
                    .map(|(number, rule)| NumberedRule {
                        number: *number,
                        rule: rule.parse().unwrap(),
                    })
                    .collect(),
            ),
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_is_named() {
        let policy = policy(
            &["deny everybody delete prod/**"],
            &[
                (10, "allow group:dev pull,push prod/app"),
                (20, "deny group:dev pull prod/**"),
                (30, "allow everybody pull,delete **"),
            ],
        );
        let (bob, dev) = (name("bob"), [name("dev"), name(ADMINISTRATORS)]);
        let member = Asking::User(Some(&bob), &dev, None);
        let stranger = Asking::Anonymous;
        for (asking, action, repository, allowed, reason) in [
            (member, Action::Pull, "prod/app", true, "policy rule 10"),
            (member, Action::Pull, "prod/db", false, "policy rule 20"),
            (member, Action::Pull, "other", true, "policy rule 30"),
            (member, Action::Delete, "prod/app", false, "rule 1 of"),
            (member, Action::Delete, "other", true, "policy rule 30"),
            (member, Action::Admin, "other", true, "group:admins"),
            (stranger, Action::Pull, "prod/db", true, "policy rule 30"),
            (stranger, Action::PushNew, "other", false, "no rule"),
        ] {
            let repository: RepositoryName = repository.parse().unwrap();
            let decision = policy.decide(asking, action, (&repository).into());
            assert_eq!(decision.allowed, allowed, "{action} {repository}");
            let said = decision.reason.to_string();
            assert!(said.starts_with(reason), "{said}");
        }
    }

    #[test]
    fn rules_that_cannot_be_read_deny_even_administrators() {
        let policy = Policy {
            configured: vec!["allow everybody all **".parse().unwrap()],
            kept: None,
        };
        let (root, groups) = (name("root"), [name(ADMINISTRATORS)]);
        let asking = Asking::User(Some(&root), &groups, None);
        let repository: RepositoryName = "a".parse().unwrap();
        let decision = policy.decide(asking, Action::Pull, (&repository).into());
        assert_eq!(decision, Decision::deny(Reason::Unreadable));
    }
}
