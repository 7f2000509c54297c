//! The rules of the catalog: adding them, taking them out, and trying all that there are.

use super::authority::{Authority, AuthorityError};
use super::directory;
use super::identity::{Principal, stamp_of};
use super::policy::{Action, Asking, Decision, Named, NumberedRule, Reason, Rule, Subject, Who};
use super::tables::{POLICY, PolicyRow, RuleNumber};
use crate::ghostbay::catalog::{Rows, Transaction};

/// From one rule to the next that is added behind it, so that others fit between them.
const RULE_STEP: u32 = 10;

impl Authority {
    /// Adds a rule, at that number or behind all others. Its number.
    pub async fn add_rule(&self, number: Option<u32>, rule: Rule) -> Result<u32, AuthorityError> {
        let right = rule.check();
        right.map_err(|error| AuthorityError::Invalid(error.to_string()))?;
        let add = move |transaction: &mut Transaction<'_>| {
            let number = match number {
                Some(number) => number,
                None => behind_all(transaction)?,
            };
            let key = RuleNumber(number);
            if transaction.contains(&POLICY, &key)? {
                return Err(AuthorityError::Taken {
                    what: "policy rule",
                    name: number.to_string(),
                });
            }
            let row = PolicyRow {
                rule: rule.to_string(),
            };
            transaction.put(&POLICY, &key, &row)?;
            Ok(number)
        };
        self.change(add).await
    }

    /// The rules of the configuration, and those of the catalog.
    pub fn rules(&self) -> Result<(Vec<Rule>, Vec<NumberedRule>), AuthorityError> {
        let configured = self.directory().policy.configured.clone();
        Ok((configured, directory::rules(&self.catalog.read()?)?))
    }

    /// Takes the rule of that number out.
    pub async fn remove_rule(&self, number: u32) -> Result<(), AuthorityError> {
        let remove = move |transaction: &mut Transaction<'_>| match transaction
            .delete(&POLICY, &RuleNumber(number))?
        {
            true => Ok(()),
            false => Err(AuthorityError::Unknown {
                what: "policy rule",
                name: number.to_string(),
            }),
        };
        self.change(remove).await
    }

    /// What would be decided. A group stands for an account that is in it and in no other.
    pub fn test(&self, who: &Who, action: Action, named: &Named) -> Decision {
        let directory = self.directory();
        // Metrics are the server's.
        let on = match action {
            Action::Metrics => Subject::Server,
            _ => named.as_subject(),
        };
        let decide = |asking| directory.policy.decide(asking, action, on);
        let ask = |principal: Option<Principal>| match principal {
            Some(principal) if principal.is_still(&directory) => {
                principal.decide(&directory, action, on)
            }
            _ => Decision::deny(Reason::Gone),
        };
        match who {
            Who::User(name) => {
                let of = directory.accounts.get(name).map(|account| account.stamp);
                ask(of.map(|stamp| Principal::Account {
                    name: name.clone(),
                    stamp,
                }))
            }
            Who::Anonymous | Who::Everybody => decide(Asking::Anonymous),
            Who::Token(name) => {
                let of = directory.tokens.get(name);
                ask(of.map(|token| Principal::Token {
                    name: name.clone(),
                    stamp: stamp_of(&token.secret),
                }))
            }
            Who::Role(role) => decide(Asking::Roles(std::slice::from_ref(role))),
            Who::Group(group) => decide(Asking::User(None, std::slice::from_ref(group), None)),
            Who::Authenticated => decide(Asking::User(None, &[], None)),
        }
    }
}

/// A number behind all rules, those that are damaged as well.
fn behind_all(rows: &impl Rows) -> Result<u32, AuthorityError> {
    let mut last = 0;
    for row in rows.inspect(&POLICY, &[], None)? {
        last = row?.key.map_or(last, |RuleNumber(number)| number);
    }
    last.checked_add(RULE_STEP)
        .ok_or_else(|| AuthorityError::Invalid(format!("there is no number behind {last}")))
}
