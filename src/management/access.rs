//! Accounts, tokens and the policy: who may do what. For accounts that administer the server; a token, which
//! was made for less than its owner may, could make one for more (CVE-2019-16919).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::auth::command::{self, Answer, Command, NewToken};
use crate::auth::policy::Named;
use crate::auth::{Action, Actions, Effect, Name, Rule, Who, password, secret, token};
use crate::http::admin::Deed;
use crate::http::error::ApiError;
use crate::oci::{ErrorCode, Pattern};

/// Letters of a password that is made up.
const MADE_UP: usize = 24;

/// Fewest and most bytes of a password that somebody chooses.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=4096;

/// An account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its groups; whoever is in `admins` may do everything that no rule denies.
    pub groups: Vec<String>,
    /// Whether it is switched off.
    pub disabled: bool,
    /// Whether its password is still the one that the first start made up.
    pub initial: bool,
    /// When it was last changed, in milliseconds since 1970.
    pub changed_ms: u64,
}

/// An account that is to be made.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// Its name.
    #[schema(value_type = String, example = "alice")]
    pub name: Name,
    /// Its groups.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub groups: Vec<Name>,
    /// Its password, of 8 to 4,096 bytes; without it one is made up.
    pub password: Option<String>,
}

/// A password that is to be another.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The account.
    #[schema(value_type = String, example = "alice")]
    pub name: Name,
    /// The password, of 8 to 4,096 bytes; without it one is made up.
    pub password: Option<String>,
}

/// What is to become of an account.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeAccount {
    /// Its name.
    #[schema(value_type = String, example = "alice")]
    pub name: Name,
    /// Whether it is switched off from now on; left out, that stays.
    pub disabled: Option<bool>,
    /// The groups that it is in from now on, and no others; left out, these stay.
    #[schema(value_type = Option<Vec<String>>)]
    pub groups: Option<Vec<Name>>,
}

/// Something by its name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ByName {
    /// Its name.
    #[schema(value_type = String, example = "alice")]
    pub name: Name,
}

/// A secret that is shown this once.
#[derive(Serialize, ToSchema)]
pub struct Secret {
    /// The password that was made up, or the token; absent where somebody chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// A token.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Token {
    /// Its name.
    pub name: String,
    /// The account that it is for; absent where it stands for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What it is for.
    #[schema(example = "pull,push-new")]
    pub actions: String,
    /// The repositories or objects that it is for, as patterns.
    pub repositories: Vec<String>,
    /// When it ends, in milliseconds since 1970; absent if never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// When it was last used, to a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_ms: Option<u64>,
    /// The id that requests are sent with, if it is an access key of the S3 endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
}

/// A token that is to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Its name.
    #[schema(value_type = String, example = "ci")]
    pub name: Name,
    /// What it is for, with commas: `pull`, `push`, `delete`, `admin`, `metrics`, `all`.
    #[schema(value_type = String, example = "pull,push")]
    pub actions: Actions,
    /// The repositories that it is for, as patterns.
    #[schema(value_type = Vec<String>, example = json!(["team/**"]))]
    pub repositories: Vec<Pattern>,
    /// The account that it is for, which it can do no more than; without it it stands for itself.
    #[schema(value_type = Option<String>)]
    pub account: Option<Name>,
    /// When it ends, in seconds from now; without it never.
    pub expires_in: Option<u64>,
}

/// The rules, in the order in which they are gone by.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Rules {
    /// Those of the configuration, which come first.
    pub configured: Vec<String>,
    /// Those that can be changed here, by number.
    pub rules: Vec<RuleLine>,
}

/// A rule.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RuleLine {
    /// Its number; smaller ones come first.
    pub number: u32,
    /// The rule.
    #[schema(example = "allow group:dev pull,push-new,overwrite team/**")]
    pub rule: String,
}

/// A rule that is to be added.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRule {
    /// Whom it is about: `user:NAME`, `group:NAME`, `token:NAME`, `role:NAME`, `anonymous`,
    /// `authenticated` or `everybody`.
    #[schema(example = "group:dev")]
    pub who: String,
    /// What they may do.
    #[schema(value_type = String, example = "pull,push")]
    pub actions: Actions,
    /// With which repositories, as a pattern; or with which objects, as `s3:BUCKET/KEY`.
    #[schema(value_type = String, example = "team/**")]
    pub repositories: Pattern,
    /// Whether they may not.
    #[serde(default)]
    pub deny: bool,
    /// Its number; without it, one behind all others.
    pub number: Option<u32>,
}

/// A rule by its number.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleNumber {
    /// The number.
    pub number: u32,
}

/// Whether somebody may do something, and why.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Tested {
    /// Whether they may.
    pub allowed: bool,
    /// Which rule decides.
    pub reason: String,
}

impl Management {
    /// The accounts, by name.
    pub async fn accounts(&self, caller: &Caller) -> Result<Vec<Account>, ApiError> {
        match self.administer(caller, Command::ListUsers).await? {
            Answer::Users(users) => Ok(users
                .into_iter()
                .map(|user| Account {
                    name: user.name.to_string(),
                    groups: user.groups,
                    disabled: user.disabled,
                    initial: user.initial,
                    changed_ms: user.changed_ms,
                })
                .collect()),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes an account; its password if one was made up.
    pub async fn add_account(
        &self,
        caller: &Caller,
        asked: NewAccount,
    ) -> Result<Secret, ApiError> {
        self.check_administrator(caller)?;
        let (made_up, hash) = hashed(asked.password).await?;
        let command = Command::AddUser {
            name: asked.name,
            password: hash,
            groups: asked.groups,
        };
        self.administer(caller, command).await?;
        Ok(Secret { secret: made_up })
    }

    /// Gives an account another password, which ends its sessions and signed tokens.
    pub async fn set_password(
        &self,
        caller: &Caller,
        asked: NewPassword,
    ) -> Result<Secret, ApiError> {
        self.check_administrator(caller)?;
        let (made_up, hash) = hashed(asked.password).await?;
        self.administer(caller, Command::SetPassword(asked.name, hash))
            .await?;
        Ok(Secret { secret: made_up })
    }

    /// Switches an account off or on, or puts it into other groups.
    pub async fn change_account(
        &self,
        caller: &Caller,
        asked: ChangeAccount,
    ) -> Result<(), ApiError> {
        self.check_administrator(caller)?;
        if let Some(groups) = asked.groups {
            let command = Command::SetGroups(asked.name.clone(), groups);
            self.administer(caller, command).await?;
        }
        if let Some(disabled) = asked.disabled {
            let command = Command::DisableUser(asked.name, disabled);
            self.administer(caller, command).await?;
        }
        Ok(())
    }

    /// Removes an account, with its tokens.
    pub async fn remove_account(&self, caller: &Caller, asked: ByName) -> Result<(), ApiError> {
        self.administer(caller, Command::RemoveUser(asked.name))
            .await
            .map(drop)
    }

    /// The tokens, by name.
    pub async fn tokens(&self, caller: &Caller) -> Result<Vec<Token>, ApiError> {
        match self.administer(caller, Command::ListTokens).await? {
            Answer::Tokens(tokens) => Ok(tokens
                .into_iter()
                .map(|token| Token {
                    name: token.name.to_string(),
                    account: token.owner,
                    actions: token.actions.to_string(),
                    repositories: token.repositories,
                    expires_ms: token.expires_ms,
                    used_ms: token.used_ms,
                    access_key: token.access_key,
                })
                .collect()),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a token, which is shown this once.
    pub async fn create_token(
        &self,
        caller: &Caller,
        asked: CreateToken,
    ) -> Result<Secret, ApiError> {
        self.check_administrator(caller)?;
        let made = token::new_secret().map_err(ApiError::internal)?;
        let command = Command::CreateToken(NewToken {
            name: asked.name,
            secret: token::hash(&made),
            owner: asked.account,
            actions: asked.actions,
            repositories: asked.repositories,
            expires_ms: asked.expires_in.map(end).transpose()?,
        });
        self.administer(caller, command).await?;
        Ok(Secret { secret: Some(made) })
    }

    /// Takes a token out.
    pub async fn revoke_token(&self, caller: &Caller, asked: ByName) -> Result<(), ApiError> {
        self.administer(caller, Command::RevokeToken(asked.name))
            .await
            .map(drop)
    }

    /// The rules.
    pub async fn rules(&self, caller: &Caller) -> Result<Rules, ApiError> {
        match self.administer(caller, Command::ListRules).await? {
            Answer::Rules(configured, kept) => Ok(Rules {
                configured: configured.iter().map(ToString::to_string).collect(),
                rules: kept
                    .iter()
                    .map(|kept| RuleLine {
                        number: kept.number,
                        rule: kept.rule.to_string(),
                    })
                    .collect(),
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Adds a rule; its number.
    pub async fn add_rule(&self, caller: &Caller, asked: NewRule) -> Result<RuleNumber, ApiError> {
        let who: Who = asked.who.parse().map_err(bad)?;
        let rule = Rule {
            effect: match asked.deny {
                true => Effect::Deny,
                false => Effect::Allow,
            },
            who,
            actions: asked.actions,
            repositories: asked.repositories,
        };
        match self
            .administer(caller, Command::AddRule(asked.number, rule))
            .await?
        {
            Answer::Added(number) => Ok(RuleNumber { number }),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes a rule out.
    pub async fn remove_rule(&self, caller: &Caller, asked: RuleNumber) -> Result<(), ApiError> {
        self.administer(caller, Command::RemoveRule(asked.number))
            .await
            .map(drop)
    }

    /// Whether somebody may do something, and which rule decides.
    pub async fn test_policy(
        &self,
        caller: &Caller,
        who: &str,
        action: &str,
        named: &str,
    ) -> Result<Tested, ApiError> {
        let who: Who = who.parse().map_err(bad)?;
        let action: Action = action.parse().map_err(bad)?;
        let named: Named = named.parse().map_err(|error| bad(format!("{error}")))?;
        match self
            .administer(caller, Command::Test(who, action, named))
            .await?
        {
            Answer::Decided(decision) => Ok(Tested {
                allowed: decision.allowed,
                reason: decision.reason.to_string(),
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Refuses whoever may not change who may do what.
    fn check_administrator(&self, caller: &Caller) -> Result<(), ApiError> {
        caller.require_admin()?;
        match caller.identity.is_token() {
            false => Ok(()),
            true => Err(ApiError::new(
                axum::http::StatusCode::FORBIDDEN,
                ErrorCode::Denied,
                "a token cannot change or read who may do what: log in with an account",
            )),
        }
    }

    /// Does what a command says, and writes down what became of it. It goes on when whoever asked has gone.
    async fn administer(&self, caller: &Caller, command: Command) -> Result<Answer, ApiError> {
        let (management, caller) = (self.clone(), caller.clone());
        let deed = Deed::of_auth(&command);
        let done = tokio::spawn(async move {
            let answer = match management.check_administrator(&caller) {
                Ok(()) => {
                    let done = command::run(&management.authority, command).await;
                    done.map_err(ApiError::from)
                }
                Err(error) => Err(error),
            };
            management.did(&caller, deed, answer.as_ref().err()).await;
            answer
        });
        done.await.map_err(ApiError::internal)?
    }
}

/// A password and its hash; the password is made up, and told, where there is none.
async fn hashed(chosen: Option<String>) -> Result<(Option<String>, String), ApiError> {
    let made_up = match &chosen {
        Some(password) if PASSWORD_BYTES.contains(&password.len()) => None,
        Some(password) => {
            let message = format!(
                "the password has {} bytes: use {} to {}",
                password.len(),
                PASSWORD_BYTES.start(),
                PASSWORD_BYTES.end()
            );
            return Err(ApiError::bad_request(message));
        }
        None => Some(secret::password::<MADE_UP>().map_err(ApiError::internal)?),
    };
    let password = chosen.or_else(|| made_up.clone()).unwrap_or_default();
    // 19 MiB and tens of milliseconds.
    let hash = tokio::task::spawn_blocking(move || password::hash(&password)).await;
    let hash = hash
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)?;
    Ok((made_up, hash))
}

/// When something ends that holds for so many seconds from now, in milliseconds since 1970.
fn end(seconds: u64) -> Result<u64, ApiError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let end = now
        .unwrap_or_default()
        .checked_add(Duration::from_secs(seconds));
    let end_ms = end.and_then(|end| u64::try_from(end.as_millis()).ok());
    end_ms.ok_or_else(|| ApiError::bad_request("expires_in is too long: leave it out for never"))
}

fn bad(error: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(error.to_string())
}

fn unexpected(answer: &Answer) -> ApiError {
    ApiError::internal(anyhow::anyhow!(
        "an answer of another kind was expected: {answer:?}"
    ))
}
