//! What an operator may ask about accounts and policy: the same in the server that runs and on a
//! stopped store. No password comes here, only hashes.

use serde::{Deserialize, Serialize};

use super::access_key::{AccessKeyMade, NewAccessKey};
use super::authority::{Authority, AuthorityError, now_ms};
use super::identity::{Principal, stamp_of};
use super::name::Name;
use super::policy::{
    Action, Actions, Asking, Decision, Named, NumberedRule, Reason, Rule, Subject, Who,
};
use super::tables::{
    ACCESS_KEY_BIT, ACCOUNTS, AccountRow, POLICY, PolicyRow, RuleNumber, TOKEN_USES, TOKENS,
    TokenRow,
};
use super::{access_key, directory, password, secret};
use crate::ghostbay::catalog::{Rows, Transaction};
use crate::oci::Pattern;

/// From one rule to the next that is added behind it, so that others fit between them.
const RULE_STEP: u32 = 10;

/// A question or an order.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Make an account.
    AddUser {
        /// Its name.
        name: Name,
        /// The hash of its password.
        password: String,
        /// Its groups.
        groups: Vec<Name>,
    },
    /// Which accounts are there?
    ListUsers,
    /// Switch an account off, or with `false` on again.
    DisableUser(Name, bool),
    /// Give an account the password of that hash.
    SetPassword(Name, String),
    /// Put an account into these groups, and out of all others.
    SetGroups(Name, Vec<Name>),
    /// Remove an account.
    RemoveUser(Name),
    /// Add a rule, at that number or behind all others.
    AddRule(Option<u32>, Rule),
    /// Which rules are there?
    ListRules,
    /// Take the rule of that number out.
    RemoveRule(u32),
    /// May they do that?
    Test(Who, Action, Named),
    /// Make a token.
    CreateToken(NewToken),
    /// Make an access key.
    CreateAccessKey(NewAccessKey),
    /// Which tokens are there?
    ListTokens,
    /// Take a token out.
    RevokeToken(Name),
    /// Make a new key to sign with.
    RotateKey,
}

/// A token that is to be made.
#[derive(Serialize, Deserialize)]
pub struct NewToken {
    /// Its name.
    pub name: Name,
    /// SHA-256 of its secret.
    pub secret: [u8; 32],
    /// The account that it is for; without one it stands for itself.
    pub owner: Option<Name>,
    /// What it is for.
    pub actions: Actions,
    /// The repositories that it is for.
    pub repositories: Vec<Pattern>,
    /// When it ends, in milliseconds since 1970; `None` for never.
    pub expires_ms: Option<u64>,
}

/// What is answered.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The accounts, by name.
    Users(Vec<User>),
    /// The number of the rule that was added.
    Added(u32),
    /// The rules: those of the configuration and those of the catalog.
    Rules(Vec<Rule>, Vec<NumberedRule>),
    /// What was decided.
    Decided(Decision),
    /// The tokens, by name.
    Tokens(Vec<TokenSeen>),
    /// The id of the new key.
    Key(String),
    /// The access key that was made.
    AccessKey(AccessKeyMade),
}

/// A token, as an operator sees it. Times are milliseconds since 1970.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenSeen {
    /// Its name.
    pub name: Name,
    /// The account that it is for.
    pub owner: Option<String>,
    /// What it is for.
    pub actions: Actions,
    /// The repositories that it is for.
    pub repositories: Vec<String>,
    /// When it ends.
    pub expires_ms: Option<u64>,
    /// When it was last used, to a minute.
    pub used_ms: Option<u64>,
    /// The id that requests are sent with, if it is an access key.
    pub access_key: Option<String>,
}

/// An account, as an operator sees it.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// Its name.
    pub name: Name,
    /// Its groups.
    pub groups: Vec<String>,
    /// Whether it is switched off.
    pub disabled: bool,
    /// Whether its password is still the one that the first start made up.
    pub initial: bool,
    /// When it was last changed, in milliseconds since 1970.
    pub changed_ms: u64,
}

/// Does what is asked for.
pub async fn run(authority: &Authority, command: Command) -> Result<Answer, AuthorityError> {
    match command {
        Command::AddUser {
            name,
            password,
            groups,
        } => {
            check_hash(&password)?;
            let row = authority.new_account(password, texts(groups), false)?;
            let add = move |transaction: &mut Transaction<'_>| {
                if transaction.contains(&ACCOUNTS, &name)? {
                    return Err(AuthorityError::Taken {
                        what: "account",
                        name: name.to_string(),
                    });
                }
                Ok(transaction.put(&ACCOUNTS, &name, &row)?)
            };
            authority.change(add).await?;
        }
        Command::ListUsers => return users(authority),
        Command::DisableUser(name, disabled) => {
            alter(authority, name, move |row| row.disabled = disabled).await?;
        }
        Command::SetPassword(name, password) => {
            check_hash(&password)?;
            alter(authority, name, move |row| row.password = password.clone()).await?;
        }
        Command::SetGroups(name, groups) => {
            let groups = texts(groups);
            alter(authority, name, move |row| row.groups = groups.clone()).await?;
        }
        Command::RemoveUser(name) => {
            let remove = move |transaction: &mut Transaction<'_>| {
                let row = transaction.get_sound(&ACCOUNTS, &name)?;
                if !transaction.delete(&ACCOUNTS, &name)? {
                    return Err(unknown(&name));
                }
                // Another account that gets the name gets nothing with it.
                for token in tokens_of(transaction, &name)? {
                    transaction.delete(&TOKENS, &token)?;
                    transaction.delete(&TOKEN_USES, &token)?;
                }
                Ok(row.is_some_and(|row| row.initial))
            };
            if authority.change(remove).await? {
                authority.forget_initial_password();
            }
        }
        Command::AddRule(number, rule) => {
            let right = rule.check();
            right.map_err(|error| AuthorityError::Invalid(error.to_string()))?;
            return add_rule(authority, number, rule).await;
        }
        Command::ListRules => {
            let configured = authority.directory().policy.configured.clone();
            let kept = directory::rules(&authority.catalog.read()?)?;
            return Ok(Answer::Rules(configured, kept));
        }
        Command::RemoveRule(number) => {
            let remove = move |transaction: &mut Transaction<'_>| match transaction
                .delete(&POLICY, &RuleNumber(number))?
            {
                true => Ok(()),
                false => Err(AuthorityError::Unknown {
                    what: "policy rule",
                    name: number.to_string(),
                }),
            };
            authority.change(remove).await?;
        }
        Command::Test(who, action, named) => {
            let subject = named.as_subject();
            return Ok(Answer::Decided(test(authority, &who, action, subject)));
        }
        Command::CreateToken(token) => create_token(authority, token, false).await?,
        Command::CreateAccessKey(asked) => return access_key::create(authority, asked).await,
        Command::ListTokens => return tokens(authority),
        Command::RevokeToken(name) => {
            let revoke = move |transaction: &mut Transaction<'_>| {
                transaction.delete(&TOKEN_USES, &name)?;
                match transaction.delete(&TOKENS, &name)? {
                    true => Ok(()),
                    false => Err(AuthorityError::Unknown {
                        what: "token",
                        name: name.to_string(),
                    }),
                }
            };
            authority.change(revoke).await?;
        }
        Command::RotateKey => return Ok(Answer::Key(authority.rotate_key()?)),
    }
    Ok(Answer::Done)
}

fn texts(names: Vec<Name>) -> Vec<String> {
    names.into_iter().map(String::from).collect()
}

fn unknown(name: &Name) -> AuthorityError {
    AuthorityError::Unknown {
        what: "account",
        name: name.to_string(),
    }
}

fn check_hash(hash: &str) -> Result<(), AuthorityError> {
    match password::is_hash(hash) {
        true => Ok(()),
        false => Err(AuthorityError::Invalid(
            "what came as the hash of a password is none of argon2id".to_owned(),
        )),
    }
}

/// Changes an account. Another password or state ends whatever was given to it before.
async fn alter(
    authority: &Authority,
    name: Name,
    change: impl Fn(&mut AccountRow) + Send + 'static,
) -> Result<(), AuthorityError> {
    let stamp = secret::number()?;
    let now_ms = now_ms();
    let alter = move |transaction: &mut Transaction<'_>| {
        let row = transaction.get(&ACCOUNTS, &name)?;
        let row = row.ok_or_else(|| unknown(&name))?;
        let mut changed = row.clone();
        change(&mut changed);
        let spent = row.initial && changed.password != row.password;
        changed.initial &= !spent;
        if changed.password != row.password || changed.disabled != row.disabled {
            changed.stamp = stamp;
        }
        changed.changed_ms = now_ms;
        transaction.put(&ACCOUNTS, &name, &changed)?;
        Ok(spent)
    };
    if authority.change(alter).await? {
        authority.forget_initial_password();
    }
    Ok(())
}

fn users(authority: &Authority) -> Result<Answer, AuthorityError> {
    let rows = authority.catalog.read()?;
    let mut users = Vec::new();
    for row in rows.scan_sound(&ACCOUNTS, &[], None)? {
        let (name, row) = row?;
        users.push(User {
            name,
            groups: row.groups,
            disabled: row.disabled,
            initial: row.initial,
            changed_ms: row.changed_ms,
        });
    }
    Ok(Answer::Users(users))
}

async fn add_rule(
    authority: &Authority,
    number: Option<u32>,
    rule: Rule,
) -> Result<Answer, AuthorityError> {
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
    Ok(Answer::Added(authority.change(add).await?))
}

pub(super) async fn create_token(
    authority: &Authority,
    token: NewToken,
    is_access_key: bool,
) -> Result<(), AuthorityError> {
    let invalid = |reason: &str| Err(AuthorityError::Invalid(reason.to_owned()));
    if token.actions.is_empty() || token.repositories.is_empty() {
        return invalid("a token is for at least one action and one repository");
    }
    if token
        .expires_ms
        .is_some_and(|expires_ms| expires_ms <= now_ms())
    {
        return invalid("a token expires in the future");
    }
    let row = TokenRow {
        secret: token.secret,
        owner: token.owner.as_ref().map(Name::to_string),
        actions: token.actions.bits() | if is_access_key { ACCESS_KEY_BIT } else { 0 },
        repositories: token.repositories.into_iter().map(String::from).collect(),
        created_ms: now_ms(),
        expires_ms: token.expires_ms,
    };
    let (name, owner) = (token.name, token.owner);
    let create = move |transaction: &mut Transaction<'_>| {
        if transaction.contains(&TOKENS, &name)? {
            return Err(AuthorityError::Taken {
                what: "token",
                name: name.to_string(),
            });
        }
        if let Some(owner) = &owner
            && !transaction.contains(&ACCOUNTS, owner)?
        {
            return Err(unknown(owner));
        }
        Ok(transaction.put(&TOKENS, &name, &row)?)
    };
    authority.change(create).await
}

fn tokens(authority: &Authority) -> Result<Answer, AuthorityError> {
    let rows = authority.catalog.read()?;
    let mut tokens = Vec::new();
    for row in rows.scan_sound(&TOKENS, &[], None)? {
        let (name, row) = row?;
        let used = rows.get_sound(&TOKEN_USES, &name)?;
        tokens.push(TokenSeen {
            owner: row.owner,
            actions: Actions::of_bits(row.actions & !ACCESS_KEY_BIT).unwrap_or_default(),
            access_key: (row.actions & ACCESS_KEY_BIT != 0).then(|| access_key::id(&row.secret)),
            repositories: row.repositories,
            expires_ms: row.expires_ms,
            used_ms: used.map(|used| used.used_ms),
            name,
        });
    }
    Ok(Answer::Tokens(tokens))
}

/// The tokens that were made for an account.
fn tokens_of(rows: &impl Rows, owner: &Name) -> Result<Vec<Name>, AuthorityError> {
    let mut tokens = Vec::new();
    for row in rows.scan_sound(&TOKENS, &[], None)? {
        let (name, row) = row?;
        if row.owner.as_deref() == Some(owner.as_str()) {
            tokens.push(name);
        }
    }
    Ok(tokens)
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

/// What would be decided. A group stands for an account that is in it and in no other.
fn test(authority: &Authority, who: &Who, action: Action, subject: Subject<'_>) -> Decision {
    let directory = authority.directory();
    // Metrics are the server's.
    let on = match action {
        Action::Metrics => Subject::Server,
        _ => subject,
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
