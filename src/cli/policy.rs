//! `drift policy`: the rules on who may do what, in the server that runs or on a stopped store.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;

use super::user::ask;
use crate::auth::command::{Answer, Command};
use crate::auth::policy::Named;
use crate::auth::{Action, Actions, Effect, Rule, Who};
use crate::config::Config;
use crate::oci::Pattern;

/// `drift policy ...`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Add a rule, and print its number
    Add {
        /// Whom it is about
        who: Who,
        /// What they may do
        actions: Actions,
        /// With which repositories; or with which objects, as s3:BUCKET/KEY
        repositories: Pattern,
        /// They may not
        #[arg(long)]
        deny: bool,
        /// Its number; without it, one behind all others. Smaller ones come first
        #[arg(long, value_name = "NUMBER")]
        at: Option<u32>,
    },
    /// List all rules in the order in which they are gone by
    List,
    /// Take a rule out
    Rm {
        /// Its number
        number: u32,
    },
    /// Say whether they may do that, and which rule decides; exit status 1 if they may not
    Test {
        /// Who asks
        who: Who,
        /// What they want to do
        action: Action,
        /// With which repository, or which object as s3:BUCKET/KEY
        named: Named,
    },
}

pub fn run(config: &Config, asked: PolicyCommand) -> anyhow::Result<ExitCode> {
    let command = match asked {
        PolicyCommand::Add {
            who,
            actions,
            repositories,
            deny,
            at,
        } => {
            let effect = match deny {
                true => Effect::Deny,
                false => Effect::Allow,
            };
            let rule = Rule {
                effect,
                who,
                actions,
                repositories,
            };
            Command::AddRule(at, rule)
        }
        PolicyCommand::List => Command::ListRules,
        PolicyCommand::Rm { number } => Command::RemoveRule(number),
        PolicyCommand::Test { who, action, named } => Command::Test(who, action, named),
    };
    match ask(config, command)? {
        Answer::Done => {}
        Answer::Added(number) => println!("{number}"),
        Answer::Rules(configured, kept) => {
            for (rule, number) in configured.iter().zip(1..) {
                println!("[[auth.rules]] {number}  {rule}");
            }
            for kept in kept {
                println!("{}  {}", kept.number, kept.rule);
            }
        }
        Answer::Decided(decision) => {
            let (word, code) = match decision.allowed {
                true => ("allowed", ExitCode::SUCCESS),
                false => ("denied", ExitCode::FAILURE),
            };
            println!("{word}: {}", decision.reason);
            return Ok(code);
        }
        Answer::Users(_) | Answer::Tokens(_) | Answer::Key(_) | Answer::AccessKey(_) => {
            bail!("the server's answer is not understood")
        }
    }
    Ok(ExitCode::SUCCESS)
}
