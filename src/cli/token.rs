//! `drift token`: tokens for machines.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::api::{get, post};
use super::moment::shown;
use super::server::Server;
use super::user::print_secret;
use crate::auth::{Actions, Name};
use crate::management::access::ByName;
use crate::management::tokens::{AccessKey, CreateAccessKey, CreateToken, Token};
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

pub fn run(server: &Server<'_>, asked: TokenCommand) -> anyhow::Result<()> {
    match asked {
        TokenCommand::Create(args) if args.s3 => create_access_key(server, args)?,
        TokenCommand::Create(args) => {
            let (Some(name), Some(actions)) = (args.name, args.actions) else {
                bail!("a token has a name and is for some actions");
            };
            let asked = CreateToken {
                name,
                actions,
                repositories: args.repositories,
                account: args.user,
                expires_in: seconds(&args.expires)?,
            };
            print_secret(post(server, "/tokens", &asked)?);
        }
        TokenCommand::List => {
            let tokens: Vec<Token> = get(server, "/tokens", &[])?;
            tokens.iter().for_each(print);
        }
        TokenCommand::Revoke { name } => post(server, "/tokens/revoke", &ByName { name })?,
    }
    Ok(())
}

fn create_access_key(server: &Server<'_>, args: CreateArgs) -> anyhow::Result<()> {
    let asked = CreateAccessKey {
        name: args.name,
        actions: args.actions,
        subjects: args.repositories,
        account: args.user,
        expires_in: seconds(&args.expires)?,
    };
    let made: AccessKey = post(server, "/tokens/access-key", &asked)?;
    match args.json {
        true => println!("{}", serde_json::to_string(&made)?),
        false => println!("{}\n{}", made.access_key, made.secret_key),
    }
    Ok(())
}

/// For how many seconds something holds; `None` for ever.
fn seconds(expires: &str) -> anyhow::Result<Option<u64>> {
    if expires == "never" {
        return Ok(None);
    }
    let holds = humantime::parse_duration(expires)
        .with_context(|| format!("{expires:?} is no length of time: write 12h, 30days or never"))?;
    Ok(Some(holds.as_secs()))
}

fn print(token: &Token) {
    let owner = token
        .account
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
