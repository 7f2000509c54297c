//! Accounts: making, listing, changing and removing them. No password comes here, only hashes.

use super::authority::{Authority, AuthorityError, now_ms};
use super::name::Name;
use super::secret;
use super::tables::{ACCOUNTS, AccountRow, TOKEN_USES, TOKENS};
use super::token::tokens_of;
use crate::ghostbay::catalog::{Rows, Transaction};

/// An account, as an administrator sees it.
#[derive(PartialEq, Eq, Debug)]
pub struct AccountSeen {
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

impl Authority {
    /// Makes an account, whose password has that hash.
    pub async fn add_account(
        &self,
        name: Name,
        password: String,
        groups: Vec<Name>,
    ) -> Result<(), AuthorityError> {
        let row = self.new_account(password, texts(groups), false)?;
        let add = move |transaction: &mut Transaction<'_>| {
            if transaction.contains(&ACCOUNTS, &name)? {
                return Err(AuthorityError::Taken {
                    what: "account",
                    name: name.to_string(),
                });
            }
            Ok(transaction.put(&ACCOUNTS, &name, &row)?)
        };
        self.change(add).await
    }

    /// The accounts, by name.
    pub fn accounts(&self) -> Result<Vec<AccountSeen>, AuthorityError> {
        let rows = self.catalog.read()?;
        let mut accounts = Vec::new();
        for row in rows.scan_sound(&ACCOUNTS, &[], None)? {
            let (name, row) = row?;
            accounts.push(AccountSeen {
                name,
                groups: row.groups,
                disabled: row.disabled,
                initial: row.initial,
                changed_ms: row.changed_ms,
            });
        }
        Ok(accounts)
    }

    /// Switches an account off, or on again.
    pub async fn set_disabled(&self, name: Name, disabled: bool) -> Result<(), AuthorityError> {
        self.alter(name, move |row| row.disabled = disabled).await
    }

    /// Gives an account the password of that hash.
    pub async fn set_password(&self, name: Name, password: String) -> Result<(), AuthorityError> {
        self.alter(name, move |row| row.password = password.clone())
            .await
    }

    /// Puts an account into these groups, and out of all others.
    pub async fn set_groups(&self, name: Name, groups: Vec<Name>) -> Result<(), AuthorityError> {
        let groups = texts(groups);
        self.alter(name, move |row| row.groups = groups.clone())
            .await
    }

    /// Removes an account, with its tokens: another account that gets the name gets nothing with it.
    pub async fn remove_account(&self, name: Name) -> Result<(), AuthorityError> {
        let remove = move |transaction: &mut Transaction<'_>| {
            let row = transaction.get_sound(&ACCOUNTS, &name)?;
            if !transaction.delete(&ACCOUNTS, &name)? {
                return Err(unknown(&name));
            }
            for token in tokens_of(transaction, &name)? {
                transaction.delete(&TOKENS, &token)?;
                transaction.delete(&TOKEN_USES, &token)?;
            }
            Ok(row.is_some_and(|row| row.initial))
        };
        if self.change(remove).await? {
            self.forget_initial_password();
        }
        Ok(())
    }

    /// Changes an account. Another password or state ends whatever was given to it before.
    async fn alter(
        &self,
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
        if self.change(alter).await? {
            self.forget_initial_password();
        }
        Ok(())
    }
}

fn texts(names: Vec<Name>) -> Vec<String> {
    names.into_iter().map(String::from).collect()
}

/// There is no such account.
pub(super) fn unknown(name: &Name) -> AuthorityError {
    AuthorityError::Unknown {
        what: "account",
        name: name.to_string(),
    }
}
