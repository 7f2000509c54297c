//! Tokens for machines, access keys, and the keys that signed tokens are made with. For accounts that administer
//! the server; a token, which was made for less than its owner may, could make one for more (CVE-2019-16919).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{ByName, Secret};
use super::{Caller, Management};
use crate::auth::access_key::NewAccessKey;
use crate::auth::token::{self, NewToken};
use crate::auth::{Actions, Name};
use crate::http::admin::Deed;
use crate::http::error::ApiError;
use crate::oci::{Pattern, PatternError};

/// What an access key is for if nothing is said: whatever its account may.
const EVERYTHING: [&str; 2] = ["s3:**", "**"];

/// A token.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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

/// An access key that is to be made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAccessKey {
    /// Its name; without it it is named by its id.
    #[schema(value_type = Option<String>, example = "backup")]
    pub name: Option<Name>,
    /// What it is for, with commas; everything without it.
    #[schema(value_type = Option<String>, example = "pull,push")]
    pub actions: Option<Actions>,
    /// The objects, as `s3:BUCKET/KEY`, and repositories that it is for, as patterns; all without any.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["s3:backups/**"]))]
    pub subjects: Vec<Pattern>,
    /// The account that it is for, which it can do no more than; without it it stands for itself.
    #[schema(value_type = Option<String>)]
    pub account: Option<Name>,
    /// When it ends, in seconds from now; without it never.
    pub expires_in: Option<u64>,
}

/// An access key, which is shown this once.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct AccessKey {
    /// Its name.
    pub name: String,
    /// What requests are sent with.
    pub access_key: String,
    /// What they are signed with. It is kept nowhere.
    pub secret_key: String,
}

/// A key that tokens are signed with.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyId {
    /// Its id.
    pub id: String,
}

impl Management {
    /// The tokens, by name.
    pub async fn tokens(&self, caller: &Caller) -> Result<Vec<Token>, ApiError> {
        self.check_administrator(caller)?;
        let tokens = self.authority.tokens()?.into_iter().map(|token| Token {
            name: token.name.to_string(),
            account: token.owner,
            actions: token.actions.to_string(),
            repositories: token.repositories,
            expires_ms: token.expires_ms,
            used_ms: token.used_ms,
            access_key: token.access_key,
        });
        Ok(tokens.collect())
    }

    /// Makes a token, which is shown this once.
    pub async fn create_token(
        &self,
        caller: &Caller,
        asked: CreateToken,
    ) -> Result<Secret, ApiError> {
        let what = format!(
            "token create {}{}: {} in {}",
            asked.name,
            owner(asked.account.as_ref()),
            asked.actions,
            words(&asked.repositories)
        );
        let deed = Deed::of_server("token", Some(asked.name.to_string()), what);
        let authority = self.authority.clone();
        self.administer(caller, deed, async move {
            let made = token::new_secret().map_err(ApiError::internal)?;
            let token = NewToken {
                name: asked.name,
                secret: token::hash(&made),
                owner: asked.account,
                actions: asked.actions,
                repositories: asked.repositories,
                expires_ms: asked.expires_in.map(end).transpose()?,
            };
            authority.create_token(token).await?;
            Ok(Secret { secret: Some(made) })
        })
        .await
    }

    /// Makes an access key for the S3 endpoint.
    pub async fn create_access_key(
        &self,
        caller: &Caller,
        asked: CreateAccessKey,
    ) -> Result<AccessKey, ApiError> {
        let everything = || EVERYTHING.into_iter().map(str::parse).collect();
        let subjects: Result<Vec<Pattern>, PatternError> = match asked.subjects.is_empty() {
            true => everything(),
            false => Ok(asked.subjects),
        };
        let subjects = subjects.map_err(ApiError::internal)?;
        let actions = asked.actions.unwrap_or(Actions::ALL);
        let name = asked.name.as_ref();
        let what = format!(
            "token create --s3{}{}: {actions} in {}",
            name.map_or(String::new(), |name| format!(" {name}")),
            owner(asked.account.as_ref()),
            words(&subjects)
        );
        let deed = Deed::of_server("token", name.map(ToString::to_string), what);
        let authority = self.authority.clone();
        self.administer(caller, deed, async move {
            let key = NewAccessKey {
                name: asked.name,
                owner: asked.account,
                actions,
                subjects,
                expires_ms: asked.expires_in.map(end).transpose()?,
            };
            let made = authority.create_access_key(key).await?;
            Ok(AccessKey {
                name: made.name.to_string(),
                access_key: made.access_key,
                secret_key: made.secret_key,
            })
        })
        .await
    }

    /// Takes a token out.
    pub async fn revoke_token(&self, caller: &Caller, asked: ByName) -> Result<(), ApiError> {
        let name = asked.name.to_string();
        let what = format!("token revoke {name}");
        let deed = Deed::of_server("token", Some(name), what);
        let authority = self.authority.clone();
        self.administer(caller, deed, async move {
            Ok(authority.revoke_token(asked.name).await?)
        })
        .await
    }

    /// Makes a new key to sign tokens with. Those that an older one signed hold until they expire.
    pub async fn rotate_key(&self, caller: &Caller) -> Result<KeyId, ApiError> {
        let authority = self.authority.clone();
        let deed = Deed::of_store("key", "key rotate");
        self.administer(caller, deed, async move {
            let id = authority.rotate_key()?;
            Ok(KeyId { id })
        })
        .await
    }
}

/// An account that something is for, as a command has it.
fn owner(account: Option<&Name>) -> String {
    account.map_or(String::new(), |it| format!(" --user {it}"))
}

fn words(patterns: &[Pattern]) -> String {
    let words: Vec<_> = patterns.iter().map(|it| it.as_str()).collect();
    words.join(" ")
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
