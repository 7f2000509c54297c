//! What an operator may ask of a registry: the same in the server that runs and on a stopped store.

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::gc::{Collected, Item};
use super::history::TagMoment;
use super::why::Why;
use super::{Registry, RegistryError, Undeleted};
use crate::digest::Digest;
use crate::oci::{Reference, RepositoryName, Tag};

/// Whom histories name for it.
const OPERATOR: &str = "operator";

/// Things that a collection names; of more the number is said.
const ITEMS_MAX: usize = 10_000;

/// A question or an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// What has happened to a tag?
    TagHistory(RepositoryName, Tag),
    /// Point a tag back, at that manifest or at the one before.
    RollbackTag(RepositoryName, Tag, Option<Digest>),
    /// Bring a deleted tag back.
    UndeleteTag(RepositoryName, Tag),
    /// Delete a tag; with `true` its manifest as well and for good, if nothing else keeps that.
    DeleteTag(RepositoryName, Tag, bool),
    /// Delete a manifest; with `true` for good.
    DeleteManifest(RepositoryName, Digest, bool),
    /// Bring a deleted manifest back.
    UndeleteManifest(RepositoryName, Digest),
    /// Delete a repository; with `true` for good.
    DeleteRepository(RepositoryName, bool),
    /// Bring a deleted repository back.
    UndeleteRepository(RepositoryName),
    /// Collect what is due; with `true` only say what that is.
    Collect(bool),
    /// Why is something kept, or when does it go?
    Why(RepositoryName, Reference),
}

impl Command {
    /// Whether it changes what the registry holds.
    pub fn changes(&self) -> bool {
        match self {
            Command::TagHistory(..) | Command::Why(..) | Command::Collect(true) => false,
            Command::RollbackTag(..)
            | Command::UndeleteTag(..)
            | Command::DeleteTag(..)
            | Command::DeleteManifest(..)
            | Command::UndeleteManifest(..)
            | Command::DeleteRepository(..)
            | Command::UndeleteRepository(..)
            | Command::Collect(false) => true,
        }
    }
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// A tag's changes, newest first.
    History(Vec<TagMoment>),
    /// The tag points there now.
    Pointed(Digest),
    /// The tag is deleted, and that manifest is gone for good if `true`.
    TagDeleted(Digest, bool),
    /// The manifest is deleted.
    ManifestDeleted,
    /// The manifest is back, with those tags.
    ManifestBack(Vec<Tag>),
    /// The repository is deleted, with so many manifests.
    RepositoryDeleted(u64),
    /// The repository is back.
    RepositoryBack(Undeleted),
    /// What was collected, or would be: the first decisions, and their totals.
    Collected(Vec<Item>, Collected),
    /// Why it is kept.
    Why(Why),
}

/// Does what an operator asks for, who may delete whatever the API may not.
pub async fn run(registry: &Registry, command: Command) -> Result<Answer, RegistryError> {
    run_as(registry.acting_as(OPERATOR).with_deletes(), command).await
}

/// Does what somebody asks for, whom the histories name as the registry has it.
pub async fn run_as(registry: Registry, command: Command) -> Result<Answer, RegistryError> {
    Ok(match command {
        Command::TagHistory(repository, tag) => {
            Answer::History(registry.tag_history(&repository, &tag)?)
        }
        Command::RollbackTag(repository, tag, to) => {
            let rolled = registry.rollback_tag(&repository, &tag, to.as_ref());
            Answer::Pointed(rolled.await?)
        }
        Command::UndeleteTag(repository, tag) => {
            Answer::Pointed(registry.undelete_tag(&repository, &tag).await?)
        }
        Command::DeleteTag(repository, tag, now) => {
            delete_tag(&registry, &repository, &tag, now).await?
        }
        Command::DeleteManifest(repository, digest, now) => {
            match now {
                true => registry.purge_manifest(&repository, &digest).await?,
                false => registry.delete_manifest(&repository, &digest).await?,
            }
            Answer::ManifestDeleted
        }
        Command::UndeleteManifest(repository, digest) => {
            Answer::ManifestBack(registry.undelete_manifest(&repository, &digest).await?)
        }
        Command::DeleteRepository(repository, now) => Answer::RepositoryDeleted(match now {
            true => registry.purge_repository(&repository).await?,
            false => registry.delete_repository(&repository).await?,
        }),
        Command::UndeleteRepository(repository) => {
            Answer::RepositoryBack(registry.undelete_repository(&repository).await?)
        }
        Command::Collect(dry_run) => collect(registry, dry_run).await?,
        Command::Why(repository, reference) => Answer::Why(registry.why(&repository, &reference)?),
    })
}

async fn delete_tag(
    registry: &Registry,
    repository: &RepositoryName,
    tag: &Tag,
    now: bool,
) -> Result<Answer, RegistryError> {
    let digest = registry.tag_target(repository, tag)?;
    registry.delete_tag(repository, tag).await?;
    if !now || registry.is_tagged(repository, &digest)? {
        return Ok(Answer::TagDeleted(digest, false));
    }
    match registry.purge_manifest(repository, &digest).await {
        Ok(()) => Ok(Answer::TagDeleted(digest, true)),
        Err(RegistryError::StillReferenced { .. } | RegistryError::ManifestUnknown { .. }) => {
            Ok(Answer::TagDeleted(digest, false))
        }
        Err(error) => Err(error),
    }
}

async fn collect(registry: Registry, dry_run: bool) -> Result<Answer, RegistryError> {
    let collected = tokio::task::spawn_blocking(move || -> Result<Answer, RegistryError> {
        let mut items = Vec::new();
        let mut tell = |item| {
            if items.len() < ITEMS_MAX {
                items.push(item);
            }
        };
        let totals = match dry_run {
            true => registry.plan_collection(&mut tell)?,
            false => registry.collect(&CancellationToken::new(), &mut tell)?,
        };
        Ok(Answer::Collected(items, totals))
    });
    match collected.await {
        Ok(collected) => collected,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
