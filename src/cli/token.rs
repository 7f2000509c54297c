//! `drift token`: tokens for machines, in the server that runs or on a stopped store.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::moment::shown;
use super::user::ask;
use crate::auth::access_key::NewAccessKey;
use crate::auth::command::{Answer, Command, NewToken, TokenSeen};
use crate::auth::{Actions, Name, token};
use crate::config::Config;
use crate::oci::Pattern;

/// `drift token ...`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print it: this once, since it is kept as a hash alone. It goes where a
    /// password goes, with any name. With --s3, make an access key, and print its two parts
    Create(CreateArgs),
    /// List all tokens
    List,
    /// Take a token out at once, with all that it was exchanged for
    Revoke {
        /// Its name
        name: Name,
    },
}

/// What a token is for.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Its name
    #[arg(required_unless_present = "s3")]
    name: Option<Name>,
    /// What it is for, such as pull,push; an access key is for everything, if nothing is said
    #[arg(long, required_unless_present = "s3")]
    actions: Option<Actions>,
    /// A repository or a pattern that it is for, or objects as s3:BUCKET/KEY; may be given again. An
    /// access key is for all, if none is
    #[arg(
        long = "repository",
        value_name = "PATTERN",
        required_unless_present = "s3"
    )]
    repositories: Vec<Pattern>,
    /// An access key for the S3 endpoint
    #[arg(long)]
    s3: bool,
    /// Print what was made as JSON
    #[arg(long, requires = "s3")]
    json: bool,
    /// The account that it is for, and never may do more than
    #[arg(long, value_name = "NAME")]
    user: Option<Name>,
    /// How long it holds, such as 12h or 30days; or never, for no end
    #[arg(long, value_name = "DURATION", default_value = "90days")]
    expires: String,
}

pub fn run(config: &Config, asked: TokenCommand) -> anyhow::Result<()> {
    match asked {
        TokenCommand::Create(args) if args.s3 => create_access_key(config, args)?,
        TokenCommand::Create(args) => {
            let (Some(name), Some(actions)) = (args.name, args.actions) else {
                bail!("a token has a name and is for some actions");
            };
            let secret = token::new_secret()?;
            let token = NewToken {
                name,
                secret: token::hash(&secret),
                owner: args.user,
                actions,
                repositories: args.repositories,
                expires_ms: end(&args.expires)?,
            };
            ask(config, Command::CreateToken(token))?;
            println!("{secret}");
        }
        TokenCommand::List => match ask(config, Command::ListTokens)? {
            Answer::Tokens(tokens) => tokens.iter().for_each(print),
            _ => bail!("the server's answer is not understood"),
        },
        TokenCommand::Revoke { name } => {
            ask(config, Command::RevokeToken(name))?;
        }
    }
    Ok(())
}

/// What an access key is for if nothing is said: whatever its account may.
const EVERYTHING: [&str; 2] = ["s3:**", "**"];

fn create_access_key(config: &Config, args: CreateArgs) -> anyhow::Result<()> {
    let subjects = match args.repositories.is_empty() {
        true => EVERYTHING
            .map(str::parse)
            .into_iter()
            .collect::<Result<_, _>>()?,
        false => args.repositories,
    };
    let asked = NewAccessKey {
        name: args.name,
        owner: args.user,
        actions: args.actions.unwrap_or(Actions::ALL),
        subjects,
        expires_ms: end(&args.expires)?,
    };
    let Answer::AccessKey(made) = ask(config, Command::CreateAccessKey(asked))? else {
        bail!("the server's answer is not understood");
    };
    match args.json {
        true => println!(
            "{}",
            serde_json::json!({
                "name": made.name.as_str(),
                "access_key": made.access_key,
                "secret_key": made.secret_key,
            })
        ),
        false => println!("{}\n{}", made.access_key, made.secret_key),
    }
    Ok(())
}

/// When something ends that holds for so long from now, in milliseconds since 1970.
fn end(expires: &str) -> anyhow::Result<Option<u64>> {
    if expires == "never" {
        return Ok(None);
    }
    let holds = humantime::parse_duration(expires)
        .with_context(|| format!("{expires:?} is no length of time: write 12h, 30days or never"))?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let end = now
        .checked_add(holds)
        .context("that is too long: write never")?;
    let end_ms = u64::try_from(end.as_millis()).context("that is too long: write never")?;
    Ok(Some(end_ms))
}

fn print(token: &TokenSeen) {
    let owner = token
        .owner
        .as_ref()
        .map_or("-".to_owned(), |owner| format!("user:{owner}"));
    let access_key = token
        .access_key
        .as_ref()
        .map_or(String::new(), |id| format!("  access key {id}"));
    let moment = |at_ms: Option<u64>| at_ms.map_or("never".to_owned(), shown);
    println!(
        "{}  {owner}  {}  {}  expires {}  used {}{access_key}",
        token.name,
        token.actions,
        token.repositories.join(" "),
        moment(token.expires_ms),
        moment(token.used_ms)
    );
}
