//! What can be done to tags, manifests and repositories.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::audit::event::shown;
use crate::auth::{Action, AuthError, NAME_BYTES_MAX};
use crate::digest::Digest;
use crate::http::admin::Deed;
use crate::http::error::ApiError;
use crate::oci::{RepositoryName, Tag};
use crate::registry::command::{self, Answer, Command};
use crate::registry::history::{Presence, TagMoment};
use crate::registry::selection::Selection;
use crate::registry::tables::TagChange;

/// Tags that are deleted at once.
pub const TAGS_MAX: usize = 1_000;

/// A change of a tag.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Moment {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    #[schema(value_type = String, example = "pushed")]
    pub change: TagChange,
    /// The manifest that it points at from then on, or pointed at until then.
    pub digest: String,
    /// By whom, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What has become of the manifest: `live`, `deleted` (it can come back) or `purged`.
    #[schema(value_type = String, example = "live")]
    pub manifest: Presence,
}

impl From<TagMoment> for Moment {
    fn from(moment: TagMoment) -> Self {
        Moment {
            at_ms: moment.at_ms,
            change: moment.change,
            digest: moment.digest.to_string(),
            by: moment.by,
            manifest: moment.manifest,
        }
    }
}

/// What deleting some tags comes to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeletedTags {
    /// Whether it was done, or only told.
    pub done: bool,
    /// The manifests whose tags are all among them, which go with their tags. They can come back for as
    /// long as `[gc] keep_deleted` says.
    pub manifests: Vec<String>,
    /// The tags whose manifests have others as well: these alone go.
    pub tags: Vec<String>,
    /// Tags that are not there.
    pub unknown: Vec<String>,
    /// Bytes that are freed once the manifests are gone for good.
    pub frees_bytes: u64,
    /// What could not be deleted, and why.
    pub refused: Vec<Refused>,
}

/// Something that could not be deleted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Refused {
    /// A tag, or a manifest's digest.
    pub reference: String,
    /// Why.
    pub reason: String,
}

/// What somebody asks to delete.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteTags {
    /// The repository.
    #[schema(value_type = String, example = "team/app")]
    pub repository: RepositoryName,
    /// Its tags, 1 to 1,000.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 1000)]
    pub tags: Vec<Tag>,
    /// Only say what it would come to.
    #[serde(default)]
    pub dry_run: bool,
}

/// A tag that somebody wants back.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndeleteTag {
    /// The repository.
    #[schema(value_type = String, example = "team/app")]
    pub repository: RepositoryName,
    /// The tag.
    #[schema(value_type = String, example = "v1.0")]
    pub tag: Tag,
}

/// A tag that is to point back.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackTag {
    /// The repository.
    #[schema(value_type = String, example = "team/app")]
    pub repository: RepositoryName,
    /// The tag.
    #[schema(value_type = String, example = "v1.0")]
    pub tag: Tag,
    /// A manifest that it pointed at before; without it the one before the present.
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
}

/// Where a tag points now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Pointed {
    /// The manifest.
    pub digest: String,
}

impl Management {
    /// The changes of a tag, newest first.
    pub fn history(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Vec<Moment>, ApiError> {
        caller.require(Action::Pull, repository)?;
        let history = self.api.registry.tag_history(repository, tag)?;
        Ok(history.into_iter().map(Moment::from).collect())
    }

    /// Deletes tags, with the manifests that nothing else points at, or says what that would come to.
    pub async fn delete_tags(
        &self,
        caller: &Caller,
        asked: DeleteTags,
    ) -> Result<DeletedTags, ApiError> {
        if asked.tags.is_empty() || asked.tags.len() > TAGS_MAX {
            let message = format!(
                "{} tags are named: name 1 to {TAGS_MAX} at once",
                asked.tags.len()
            );
            return Err(ApiError::bad_request(message));
        }
        let right = match asked.dry_run {
            true => Action::Pull,
            false => Action::Delete,
        };
        caller.require(right, &asked.repository)?;
        let (registry, of) = (self.api.registry.clone(), asked.repository.clone());
        let select = move || registry.select(&of, &asked.tags);
        let selected = tokio::task::spawn_blocking(select).await;
        let selection: Selection = selected.map_err(ApiError::internal)??;
        let mut deleted = DeletedTags {
            done: !asked.dry_run,
            manifests: selection
                .manifests
                .iter()
                .map(ToString::to_string)
                .collect(),
            tags: selection.tags.iter().map(ToString::to_string).collect(),
            unknown: selection.unknown.iter().map(ToString::to_string).collect(),
            frees_bytes: selection.frees_bytes,
            refused: Vec::new(),
        };
        if asked.dry_run {
            return Ok(deleted);
        }
        let repository = &asked.repository;
        let manifests = selection.manifests.into_iter().map(|digest| {
            let command = Command::DeleteManifest(repository.clone(), digest, false);
            (digest.to_string(), command)
        });
        let tags = selection.tags.into_iter().map(|tag| {
            let reference = tag.to_string();
            (
                reference,
                Command::DeleteTag(repository.clone(), tag, false),
            )
        });
        let commands: Vec<_> = manifests.chain(tags).collect();
        for (reference, command) in commands {
            if let Err(error) = self.carry_out(caller, command).await {
                deleted.manifests.retain(|it| *it != reference);
                deleted.tags.retain(|it| *it != reference);
                let reason = error.message().to_owned();
                deleted.refused.push(Refused { reference, reason });
            }
        }
        Ok(deleted)
    }

    /// Brings a deleted tag back.
    pub async fn undelete_tag(
        &self,
        caller: &Caller,
        asked: UndeleteTag,
    ) -> Result<Pointed, ApiError> {
        let command = Command::UndeleteTag(asked.repository, asked.tag);
        self.point(caller, command).await
    }

    /// Points a tag back.
    pub async fn rollback_tag(
        &self,
        caller: &Caller,
        asked: RollbackTag,
    ) -> Result<Pointed, ApiError> {
        let command = Command::RollbackTag(asked.repository, asked.tag, asked.digest);
        self.point(caller, command).await
    }

    async fn point(&self, caller: &Caller, command: Command) -> Result<Pointed, ApiError> {
        match self.carry_out(caller, command).await? {
            Answer::Pointed(digest) => Ok(Pointed {
                digest: digest.to_string(),
            }),
            other => Err(ApiError::internal(anyhow::anyhow!(
                "a tag was to be pointed somewhere, and the answer is {other:?}"
            ))),
        }
    }

    /// Does what a command says, if the caller may, and writes down what became of it. It goes on when
    /// whoever asked has gone.
    pub(super) async fn carry_out(
        &self,
        caller: &Caller,
        command: Command,
    ) -> Result<Answer, ApiError> {
        let (management, caller) = (self.clone(), caller.clone());
        let deed = Deed::of_registry(&command);
        let done = tokio::spawn(async move {
            let answer = management.answer(&caller, command).await;
            management.did(&caller, deed, answer.as_ref().err()).await;
            answer
        });
        done.await.map_err(ApiError::internal)?
    }

    async fn answer(&self, caller: &Caller, command: Command) -> Result<Answer, ApiError> {
        let (right, repository) = needs(&command);
        match repository {
            Some(repository) => caller.require(right, repository)?,
            None => caller.require_admin()?,
        };
        if self.api.read_only && command.changes() {
            return Err(ApiError::read_only("GET"));
        }
        let changed = repository.cloned();
        let registry = match caller.identity.actor() {
            Some(actor) => self.api.registry.acting_as(&actor),
            None => self.api.registry.clone(),
        };
        let answer = command::run_as(registry, command).await?;
        if let Some(repository) = changed {
            self.tag_lists.forget(&repository);
        }
        Ok(answer)
    }

    /// Logs somebody in by name and password, and gives the secret of their session.
    pub async fn log_in(
        &self,
        caller: &Caller,
        name: &str,
        password: &str,
    ) -> Result<String, ApiError> {
        let api = &self.api;
        let known = api.auth.log_in(name, password, caller.from).await;
        api.metrics.login(known.is_ok());
        let known = match known {
            // A name and a password that nobody has, given where none is needed, are no login.
            Ok(known) if known.is_anonymous() => Err(AuthError::Unauthenticated),
            other => other,
        };
        match known {
            Ok(identity) => {
                let who = identity.to_string();
                let secret = self.sessions.begin(identity).map_err(ApiError::internal)?;
                self.logged_in(caller, who, None).await;
                Ok(secret)
            }
            Err(error) => {
                // A token that was typed where the name goes is not written down.
                let who = match name.contains(crate::auth::token::TOKEN_PREFIX) {
                    true => "tried:(a token)".to_owned(),
                    false => format!("tried:{}", shown(name, NAME_BYTES_MAX)),
                };
                self.logged_in(caller, who, Some(&error.to_string())).await;
                Err(error.into())
            }
        }
    }
}

/// The right that a command takes, and in which repository; `None`: in the server as a whole.
fn needs(command: &Command) -> (Action, Option<&RepositoryName>) {
    match command {
        Command::TagHistory(name, _) | Command::Why(name, _) => (Action::Pull, Some(name)),
        Command::RollbackTag(name, ..) => (Action::Overwrite, Some(name)),
        Command::UndeleteTag(name, _)
        | Command::UndeleteManifest(name, _)
        | Command::UndeleteRepository(name) => (Action::PushNew, Some(name)),
        Command::DeleteTag(name, _, false)
        | Command::DeleteManifest(name, _, false)
        | Command::DeleteRepository(name, false) => (Action::Delete, Some(name)),
        // For good, whatever the configuration keeps deleted things for.
        Command::DeleteTag(name, _, true)
        | Command::DeleteManifest(name, _, true)
        | Command::DeleteRepository(name, true) => (Action::Admin, Some(name)),
        Command::Collect(_) => (Action::Admin, None),
    }
}
