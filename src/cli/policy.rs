//! `drift policy`: the rules on who may do what.

use std::process::ExitCode;

use clap::Subcommand;

use super::api::{get, post};
use super::server::Server;
use crate::auth::policy::Named;
use crate::auth::{Action, Actions, Who};
use crate::management::access::{NewRule, RuleNumber, Rules, Tested};
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

pub fn run(server: &Server<'_>, asked: PolicyCommand) -> anyhow::Result<ExitCode> {
    match asked {
        PolicyCommand::Add {
            who,
            actions,
            repositories,
            deny,
            at,
        } => {
            let asked = NewRule {
                who: who.to_string(),
                actions,
                repositories,
                deny,
                number: at,
            };
            let RuleNumber { number } = post(server, "/policy", &asked)?;
            println!("{number}");
        }
        PolicyCommand::List => {
            let Rules { configured, rules } = get(server, "/policy", &[])?;
            for (rule, number) in configured.iter().zip(1..) {
                println!("[[auth.rules]] {number}  {rule}");
            }
            for line in rules {
                println!("{}  {}", line.number, line.rule);
            }
        }
        PolicyCommand::Rm { number } => post(server, "/policy/remove", &RuleNumber { number })?,
        PolicyCommand::Test { who, action, named } => {
            let (who, named) = (who.to_string(), named.to_string());
            let query = [
                ("who", who.as_str()),
                ("action", action.as_str()),
                ("repository", named.as_str()),
            ];
            let tested: Tested = get(server, "/policy/test", &query)?;
            let (word, code) = match tested.allowed {
                true => ("allowed", ExitCode::SUCCESS),
                false => ("denied", ExitCode::FAILURE),
            };
            println!("{word}: {}", tested.reason);
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}
