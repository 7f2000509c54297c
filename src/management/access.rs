//! Accounts and the policy: who may do what. For accounts that administer the server; a token, which
//! was made for less than its owner may, could make one for more (CVE-2019-16919).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::auth::password::PasswordError;
use crate::auth::policy::Named;
use crate::auth::{Action, Actions, Effect, Name, Rule, Who, password, secret};
use crate::http::admin::Deed;
use crate::http::error::ApiError;
use crate::oci::{ErrorCode, Pattern};

/// Letters of a password that is made up.
const MADE_UP: usize = 24;

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// Its name.
    #[schema(value_type = String, example = "alice")]
    pub name: Name,
    /// Its groups.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub groups: Vec<Name>,
    /// Its password, of at least 8 characters and at most 1,024 bytes; without it one is made up.
    pub password: Option<String>,
}

/// A password that is to be another.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The account.
    #[schema(value_type = String, example = "alice")]
    pub name: Name,
    /// The password, of at least 8 characters and at most 1,024 bytes; without it one is made up.
    pub password: Option<String>,
}

/// What is to become of an account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ByName {
    /// Its name.
    #[schema(value_type = String, example = "alice")]
    pub name: Name,
}

/// A secret that is shown this once.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// The password that was made up, or the token; absent where somebody chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The rules, in the order in which they are gone by.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rules {
    /// Those of the configuration, which come first.
    pub configured: Vec<String>,
    /// Those that can be changed here, by number.
    pub rules: Vec<RuleLine>,
}

/// A rule.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RuleLine {
    /// Its number; smaller ones come first.
    pub number: u32,
    /// The rule.
    #[schema(example = "allow group:dev pull,push-new,overwrite team/**")]
    pub rule: String,
}

/// A rule that is to be added.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Tested {
    /// Whether they may.
    pub allowed: bool,
    /// Which rule decides.
    pub reason: String,
}

impl Management {
    /// The accounts, by name.
    pub async fn accounts(&self, caller: &Caller) -> Result<Vec<Account>, ApiError> {
        self.check_administrator(caller)?;
        let accounts = self.authority.accounts()?;
        let accounts = accounts.into_iter().map(|account| Account {
            name: account.name.to_string(),
            groups: account.groups,
            disabled: account.disabled,
            initial: account.initial,
            changed_ms: account.changed_ms,
        });
        Ok(accounts.collect())
    }

    /// Makes an account; its password if one was made up.
    pub async fn add_account(
        &self,
        caller: &Caller,
        asked: NewAccount,
    ) -> Result<Secret, ApiError> {
        let groups: String = asked
            .groups
            .iter()
            .map(|it| format!(" --group {it}"))
            .collect();
        let what = format!("user add {}{groups}", asked.name);
        let authority = self.authority.clone();
        self.administer(caller, of_account(&asked.name, what), async move {
            let (made_up, hash) = hashed(asked.password).await?;
            authority
                .add_account(asked.name, hash, asked.groups)
                .await?;
            Ok(Secret { secret: made_up })
        })
        .await
    }

    /// Gives an account another password, which ends its sessions and signed tokens.
    pub async fn set_password(
        &self,
        caller: &Caller,
        asked: NewPassword,
    ) -> Result<Secret, ApiError> {
        let what = format!("user passwd {}", asked.name);
        let authority = self.authority.clone();
        self.administer(caller, of_account(&asked.name, what), async move {
            let (made_up, hash) = hashed(asked.password).await?;
            authority.set_password(asked.name, hash).await?;
            Ok(Secret { secret: made_up })
        })
        .await
    }

    /// Switches an account off or on, or puts it into other groups.
    pub async fn change_account(
        &self,
        caller: &Caller,
        asked: ChangeAccount,
    ) -> Result<(), ApiError> {
        self.check_administrator(caller)?;
        let name = asked.name;
        if let Some(groups) = asked.groups {
            let words: String = groups.iter().map(|it| format!(" {it}")).collect();
            let what = format!("user groups {name}{words}");
            let (authority, of) = (self.authority.clone(), name.clone());
            self.administer(caller, of_account(&name, what), async move {
                Ok(authority.set_groups(of, groups).await?)
            })
            .await?;
        }
        if let Some(disabled) = asked.disabled {
            let done = if disabled { "disable" } else { "enable" };
            let what = format!("user {done} {name}");
            let authority = self.authority.clone();
            self.administer(caller, of_account(&name.clone(), what), async move {
                Ok(authority.set_disabled(name, disabled).await?)
            })
            .await?;
        }
        Ok(())
    }

    /// Removes an account, with its tokens.
    pub async fn remove_account(&self, caller: &Caller, asked: ByName) -> Result<(), ApiError> {
        let what = format!("user rm {}", asked.name);
        let authority = self.authority.clone();
        self.administer(caller, of_account(&asked.name, what), async move {
            Ok(authority.remove_account(asked.name).await?)
        })
        .await
    }

    /// The rules.
    pub async fn rules(&self, caller: &Caller) -> Result<Rules, ApiError> {
        self.check_administrator(caller)?;
        let (configured, kept) = self.authority.rules()?;
        let rules = kept.iter().map(|kept| RuleLine {
            number: kept.number,
            rule: kept.rule.to_string(),
        });
        Ok(Rules {
            configured: configured.iter().map(ToString::to_string).collect(),
            rules: rules.collect(),
        })
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
        let number = asked.number.map(|number| number.to_string());
        let deed = Deed::of_server("rule", number, format!("policy add: {rule}"));
        let authority = self.authority.clone();
        self.administer(caller, deed, async move {
            let number = authority.add_rule(asked.number, rule).await?;
            Ok(RuleNumber { number })
        })
        .await
    }

    /// Takes a rule out.
    pub async fn remove_rule(&self, caller: &Caller, asked: RuleNumber) -> Result<(), ApiError> {
        let number = asked.number.to_string();
        let what = format!("policy rm {number}");
        let deed = Deed::of_server("rule", Some(number), what);
        let authority = self.authority.clone();
        self.administer(caller, deed, async move {
            Ok(authority.remove_rule(asked.number).await?)
        })
        .await
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
        self.check_administrator(caller)?;
        let decision = self.authority.test(&who, action, &named);
        Ok(Tested {
            allowed: decision.allowed,
            reason: decision.reason.to_string(),
        })
    }

    /// Refuses whoever may not change who may do what.
    pub(super) fn check_administrator(&self, caller: &Caller) -> Result<(), ApiError> {
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

    /// Changes who may do what, if the caller may.
    pub(super) async fn administer<T: Send + 'static>(
        &self,
        caller: &Caller,
        deed: Deed,
        work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permitted = self.check_administrator(caller);
        self.carry_out(caller, deed, permitted, work).await
    }
}

fn of_account(name: &Name, what: String) -> Deed {
    Deed::of_server("account", Some(name.to_string()), what)
}

/// A password and its hash; the password is made up, and told, where there is none.
async fn hashed(chosen: Option<String>) -> Result<(Option<String>, String), ApiError> {
    let made_up = match &chosen {
        Some(_) => None,
        None => Some(secret::password::<MADE_UP>().map_err(ApiError::internal)?),
    };
    let password = chosen.or_else(|| made_up.clone()).unwrap_or_default();
    // 19 MiB and tens of milliseconds.
    let hash = tokio::task::spawn_blocking(move || password::hash(&password)).await;
    let hash = hash
        .map_err(ApiError::internal)?
        .map_err(|error| match error {
            PasswordError::Short(_) | PasswordError::Long(_) => bad(error),
            PasswordError::Hash(_) => ApiError::internal(error),
        })?;
    Ok((made_up, hash))
}

fn bad(error: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(error.to_string())
}
