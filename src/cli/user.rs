//! `drift user`: accounts, in the server that runs or on a stopped store.

use std::io::Read;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::moment::shown;
use super::reach;
use crate::app;
use crate::auth::command::{self, Answer, Command, User};
use crate::auth::{Name, password, secret};
use crate::config::Config;
use crate::http::admin::AUTH_ROUTE;

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

/// A password, and whether it was made up here.
struct Password {
    text: String,
    made_up: bool,
}

pub fn run(config: &Config, asked: UserCommand) -> anyhow::Result<()> {
    let done = |command| match ask(config, command)? {
        Answer::Done => Ok(()),
        _ => bail!("the server's answer is not understood"),
    };
    match asked {
        UserCommand::Add {
            name,
            groups,
            password,
        } => {
            let chosen = choose(&password)?;
            let password = password::hash(&chosen.text)?;
            done(Command::AddUser {
                name,
                password,
                groups,
            })?;
            print_password(&chosen);
            Ok(())
        }
        UserCommand::Passwd { name, password } => {
            let chosen = choose(&password)?;
            done(Command::SetPassword(name, password::hash(&chosen.text)?))?;
            print_password(&chosen);
            Ok(())
        }
        UserCommand::List => match ask(config, Command::ListUsers)? {
            Answer::Users(users) => {
                users.iter().for_each(print);
                Ok(())
            }
            _ => bail!("the server's answer is not understood"),
        },
        UserCommand::Disable { name } => done(Command::DisableUser(name, true)),
        UserCommand::Enable { name } => done(Command::DisableUser(name, false)),
        UserCommand::Groups { name, groups } => done(Command::SetGroups(name, groups)),
        UserCommand::Rm { name } => done(Command::RemoveUser(name)),
    }
}

/// Asks the server that runs, or does it on the stopped store.
pub fn ask(config: &Config, command: Command) -> anyhow::Result<Answer> {
    reach::block_on(async {
        if let Some(mut server) = reach::running_server(config).await? {
            return reach::ask(&mut server, AUTH_ROUTE, &command).await;
        }
        let storage = app::open(config).await?;
        let answer = async { Ok(command::run(&app::authority(config, &storage)?, command).await?) };
        let answer = answer.await;
        storage.close().await;
        answer
    })
}

fn choose(args: &PasswordArgs) -> anyhow::Result<Password> {
    if !args.password_stdin {
        let text = secret::password::<24>()?;
        return Ok(Password {
            text,
            made_up: true,
        });
    }
    let mut text = String::new();
    // One byte more than fits shows that it is too long.
    let most = password::PASSWORD_BYTES_MAX as u64 + 2;
    std::io::stdin()
        .take(most)
        .read_to_string(&mut text)
        .context("cannot read the password from standard input")?;
    let text = text.lines().next().unwrap_or_default().to_owned();
    Ok(Password {
        text,
        made_up: false,
    })
}

fn print_password(password: &Password) {
    if password.made_up {
        println!("{}", password.text);
    }
}

fn print(user: &User) {
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
