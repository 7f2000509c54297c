//! All accounts, tokens and rules in memory, as one state that is replaced as a whole.
//!
//! The process that holds the data directory is the only one that changes them, so nothing has to be
//! looked for: each change is committed, read back, and what is asked from then on meets it.

use std::collections::{BTreeMap, HashMap};

use super::access_key;
use super::htpasswd::Htpasswd;
use super::identity::stamp_of;
use super::name::Name;
use super::policy::{Action, Actions, NumberedRule, Policy, Rule, Subject, covers};
use super::tables::{ACCESS_KEY_BIT, ACCOUNTS, POLICY, PolicyRow, RuleNumber, TOKENS, TokenRow};
use super::token;
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::oci::Pattern;

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

impl Account {
    /// That of a line of a file. Another hash is another account.
    fn of_file(hash: &str) -> Self {
        Account {
            password: hash.to_owned(),
            groups: Vec::new(),
            disabled: false,
            stamp: stamp_of(&token::hash(hash)),
        }
    }
}

/// What is known of a token.
pub(super) struct Token {
    /// SHA-256 of its secret, or what the secret of an access key is derived from.
    pub secret: [u8; 32],
    /// Whether it is an access key, and no secret to be shown.
    pub is_access_key: bool,
    /// The account that it was made for.
    pub owner: Option<Name>,
    actions: Actions,
    repositories: Vec<Pattern>,
    expires_ms: Option<u64>,
}

impl Token {
    /// `None` if anything of the row cannot be read: no part of a token may count without the rest.
    fn read(row: TokenRow) -> Option<Self> {
        Some(Token {
            secret: row.secret,
            is_access_key: row.actions & ACCESS_KEY_BIT != 0,
            owner: row.owner.map(|owner| owner.parse()).transpose().ok()?,
            actions: Actions::of_bits(row.actions & !ACCESS_KEY_BIT)?,
            repositories: row
                .repositories
                .iter()
                .map(|pattern| pattern.parse())
                .collect::<Result<_, _>>()
                .ok()?,
            expires_ms: row.expires_ms,
        })
    }

    /// Whether it holds at that time.
    pub fn holds(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)
    }

    /// Whether it can be used at that time: that of an account that is gone or switched off cannot.
    pub fn is_good(&self, directory: &Directory, now_ms: u64) -> bool {
        let accounts = &directory.accounts;
        let usable = |owner| accounts.get(owner).is_some_and(|it: &Account| !it.disabled);
        self.holds(now_ms) && self.owner.as_ref().is_none_or(usable)
    }

    /// Whether it was made for that.
    pub fn covers(&self, action: Action, subject: Subject<'_>) -> bool {
        let mut patterns = self.repositories.iter();
        self.actions.has(action) && patterns.any(|it| covers(it, subject))
    }
}

/// One state of it all.
#[derive(Default)]
pub(super) struct Directory {
    /// The tokens.
    pub tokens: HashMap<Name, Token>,
    /// Their names, by the hashes of their secrets.
    pub secrets: HashMap<[u8; 32], Name>,
    /// The names of those that are access keys, by their ids.
    pub access_keys: HashMap<String, Name>,
    /// The accounts.
    pub accounts: HashMap<Name, Account>,
    /// A hash of every cost that there is among theirs.
    costs: Vec<String>,
    /// The rules.
    pub policy: Policy,
}

impl Directory {
    /// Reads it. An account or token whose row is damaged is none; damaged rules leave no policy.
    pub fn read(
        rows: &impl Rows,
        configured: &[Rule],
        htpasswd: &Htpasswd,
    ) -> Result<Self, CatalogError> {
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
        for (name, hash) in &htpasswd.accounts {
            if accounts.contains_key(name) {
                tracing::warn!(account = %name, "an account of the htpasswd file is one of the store already");
                continue;
            }
            accounts.insert(name.clone(), Account::of_file(hash));
        }
        let (mut tokens, mut secrets) = (HashMap::new(), HashMap::new());
        let mut access_keys = HashMap::new();
        for row in rows.scan_sound(&TOKENS, &[], None)? {
            let (name, row) = row?;
            let Some(token) = Token::read(row) else {
                tracing::error!(token = %name, "a token cannot be read, and counts as none");
                continue;
            };
            match token.is_access_key {
                true => drop(access_keys.insert(access_key::id(&token.secret), name.clone())),
                false => drop(secrets.insert(token.secret, name.clone())),
            }
            tokens.insert(name, token);
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
            costs: costs(accounts.values().map(|account| account.password.as_str())),
            tokens,
            secrets,
            access_keys,
            accounts,
            policy: Policy { configured, kept },
        })
    }
}

impl Directory {
    /// The hash that a password for an account which is not there is held against: of a cost that
    /// some account's has, and for one name always the same. `number` is one that nobody can guess.
    pub fn stand_in(&self, number: u64) -> Option<&str> {
        let costs = self.costs.len() as u64;
        let chosen = number.checked_rem(costs)?;
        self.costs.get(chosen as usize).map(String::as_str)
    }
}

/// One hash of each cost.
fn costs<'a>(hashes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let by_cost: BTreeMap<&str, &str> = hashes.map(|hash| (cost(hash), hash)).collect();
    by_cost.into_values().map(str::to_owned).collect()
}

/// What of a hash says what it costs: `$2y$10`, `$argon2id$v=19$m=19456,t=2,p=1`.
fn cost(hash: &str) -> &str {
    let parts = if hash.starts_with("$2") { 3 } else { 4 };
    let ends = hash.match_indices('$').nth(parts);
    ends.map_or(hash, |(end, _)| &hash[..end])
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
