//! All accounts and rules in memory, as one state that is replaced as a whole.
//!
//! The process that holds the data directory is the only one that changes them, so nothing has to be
//! looked for: each change is committed, read back, and what is asked from then on meets it.

use std::collections::HashMap;

use super::name::Name;
use super::policy::{NumberedRule, Policy, Rule};
use super::tables::{ACCOUNTS, POLICY, PolicyRow, RuleNumber};
use crate::ghostbay::catalog::{CatalogError, Rows};

/// What is known of an account.
pub(super) struct Account {
    /// The hash of its password.
    pub password: String,
    /// Its groups.
    pub groups: Vec<Name>,
    /// Whether it can be used.
    pub disabled: bool,
    /// What tells it from what it was before.
    pub stamp: u64,
}

/// One state of it all.
#[derive(Default)]
pub(super) struct Directory {
    /// The accounts.
    pub accounts: HashMap<Name, Account>,
    /// The rules.
    pub policy: Policy,
}

impl Directory {
    /// Reads it. An account whose row is damaged is none; damaged rules leave no policy.
    pub fn read(rows: &impl Rows, configured: &[Rule]) -> Result<Self, CatalogError> {
        let mut accounts = HashMap::new();
        for row in rows.scan_sound(&ACCOUNTS, &[], None)? {
            let (name, row) = row?;
            let groups = row.groups.iter().filter_map(|group| group.parse().ok());
            let account = Account {
                groups: groups.collect(),
                password: row.password,
                disabled: row.disabled,
                stamp: row.stamp,
            };
            accounts.insert(name, account);
        }
        let kept = match rules(rows) {
            Ok(kept) => Some(kept),
            Err(error @ CatalogError::Corrupt { .. }) => {
                tracing::error!(
                    "the policy cannot be read, and everything is denied: {error}; `drift policy rm` \
                     takes a damaged rule out"
                );
                None
            }
            Err(error) => return Err(error),
        };
        let configured = configured.to_vec();
        Ok(Directory {
            accounts,
            policy: Policy { configured, kept },
        })
    }
}

/// The rules of the catalog. One that cannot be read is an error: it may be a denial.
pub(super) fn rules(rows: &impl Rows) -> Result<Vec<NumberedRule>, CatalogError> {
    rows.scan(&POLICY, &[], None)?
        .map(|row| {
            let (number, row) = row?;
            read(number, &row)
        })
        .collect()
}

fn read(RuleNumber(number): RuleNumber, row: &PolicyRow) -> Result<NumberedRule, CatalogError> {
    match row.rule.parse() {
        Ok(rule) => Ok(NumberedRule { number, rule }),
        Err(error) => Err(CatalogError::Corrupt {
            table: POLICY.info().name,
            reason: format!("rule {number}: {error}"),
        }),
    }
}
