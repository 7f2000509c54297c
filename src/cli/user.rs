//! `drift user`: accounts.

use std::io::Read;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::api::{get, post};
use super::moment::shown;
use super::server::Server;
use crate::auth::Name;
use crate::auth::password::PASSWORD_BYTES_MAX;
use crate::management::access::{Account, ByName, ChangeAccount, NewAccount, NewPassword, Secret};

/// `drift user ...`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make an account, and print its password unless that was given
    Add {
        /// Its name: letters, digits and . _ - + @
        name: Name,
        /// A group that it belongs to; may be given again. Those of the group admins may do
        /// everything that no rule denies
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<Name>,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List all accounts
    List,
    /// Switch an account off at once, with all that was given to it
    Disable {
        /// Its name
        name: Name,
    },
    /// Switch an account on again
    Enable {
        /// Its name
        name: Name,
    },
    /// Give an account another password, and print it unless it was given
    Passwd {
        /// Its name
        name: Name,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Put an account into these groups, and out of all others
    Groups {
        /// Its name
        name: Name,
        /// The groups; none at all as well
        groups: Vec<Name>,
    },
    /// Remove an account, with all that was given to it
    Rm {
        /// Its name
        name: Name,
    },
}

/// Where a password comes from.
#[derive(Args, Debug)]
pub struct PasswordArgs {
    /// Read the password from standard input, to its end or the first line break; without this one
    /// is made up
    #[arg(long)]
    password_stdin: bool,
}

pub fn run(server: &Server<'_>, asked: UserCommand) -> anyhow::Result<()> {
    let change = |name, disabled, groups| {
        let asked = ChangeAccount {
            name,
            disabled,
            groups,
        };
        post(server, "/accounts/change", &asked)
    };
    match asked {
        UserCommand::Add {
            name,
            groups,
            password,
        } => {
            let password = password.read()?;
            let asked = NewAccount {
                name,
                groups,
                password,
            };
            print_secret(post(server, "/accounts", &asked)?);
        }
        UserCommand::Passwd { name, password } => {
            let password = password.read()?;
            let asked = NewPassword { name, password };
            print_secret(post(server, "/accounts/password", &asked)?);
        }
        UserCommand::List => {
            let accounts: Vec<Account> = get(server, "/accounts", &[])?;
            accounts.iter().for_each(print);
        }
        UserCommand::Disable { name } => change(name, Some(true), None)?,
        UserCommand::Enable { name } => change(name, Some(false), None)?,
        UserCommand::Groups { name, groups } => change(name, None, Some(groups))?,
        UserCommand::Rm { name } => post(server, "/accounts/remove", &ByName { name })?,
    }
    Ok(())
}

impl PasswordArgs {
    /// The password that is given; `None` if one is to be made up.
    fn read(&self) -> anyhow::Result<Option<String>> {
        if !self.password_stdin {
            return Ok(None);
        }
        let mut text = String::new();
        // One byte more than fits shows that it is too long.
        let most = PASSWORD_BYTES_MAX as u64 + 2;
        std::io::stdin()
            .take(most)
            .read_to_string(&mut text)
            .context("cannot read the password from standard input")?;
        Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
    }
}

/// Prints what is shown this once.
pub fn print_secret(made: Secret) {
    if let Some(secret) = made.secret {
        println!("{secret}");
    }
}

fn print(user: &Account) {
    let state = match (user.disabled, user.initial) {
        (true, _) => "  disabled",
        (false, true) => "  initial password",
        (false, false) => "",
    };
    let groups = match user.groups.is_empty() {
        true => "-".to_owned(),
        false => user.groups.join(","),
    };
    println!("{}  {groups}  {}{state}", user.name, shown(user.changed_ms));
}
