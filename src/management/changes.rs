//! What can be done to tags, manifests and repositories.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::auth::Action;
use crate::digest::Digest;
use crate::http::admin::Deed;
use crate::http::error::ApiError;
use crate::oci::{RepositoryName, Tag};
use crate::registry::selection::Selection;
use crate::registry::{Registry, RegistryError};

/// Tags that are deleted at once.
pub const TAGS_MAX: usize = 1_000;

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

/// A tag that is to go without its manifest.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Untag {
    /// The repository.
    #[schema(value_type = String, example = "team/app")]
    pub repository: RepositoryName,
    /// The tag.
    #[schema(value_type = String, example = "v1.0")]
    pub tag: Tag,
    /// Its manifest goes as well and for good, if no other tag points at it and no index lists it. For those
    /// who administer the repository.
    #[serde(default)]
    pub now: bool,
}

/// What became of a tag's manifest.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Untagged {
    /// The manifest that the tag pointed at.
    pub digest: String,
    /// Whether it is gone for good.
    pub purged: bool,
}

/// A tag that somebody wants back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Pointed {
    /// The manifest.
    pub digest: String,
}

/// A manifest that is to go, with its tags.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteManifest {
    /// The repository.
    #[schema(value_type = String, example = "team/app")]
    pub repository: RepositoryName,
    /// The manifest, which may be deleted already where it is to go for good.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// For good. For those who administer the repository.
    #[serde(default)]
    pub now: bool,
}

/// A manifest that somebody wants back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndeleteManifest {
    /// The repository.
    #[schema(value_type = String, example = "team/app")]
    pub repository: RepositoryName,
    /// The manifest.
    #[schema(value_type = String)]
    pub digest: Digest,
}

/// What came back with a manifest.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ManifestBack {
    /// Its tags.
    pub tags: Vec<String>,
}

/// A repository that is to go, with all that is in it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRepository {
    /// The repository.
    #[schema(value_type = String, example = "team/app")]
    pub repository: RepositoryName,
    /// For good, with its blobs and histories. For those who administer the repository.
    #[serde(default)]
    pub now: bool,
}

/// What went with a repository.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeletedRepository {
    /// How many manifests.
    pub manifests: u64,
}

/// A repository that somebody wants back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndeleteRepository {
    /// The repository.
    #[schema(value_type = String, example = "team/app")]
    pub repository: RepositoryName,
}

/// What came back with a repository.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RepositoryBack {
    /// Manifests that are there again.
    pub back: u64,
    /// Manifests that cannot come back; the log says why.
    pub lost: u64,
}

impl Management {
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
        let mut refused = Vec::new();
        for digest in selection.manifests {
            let asked = DeleteManifest {
                repository: asked.repository.clone(),
                digest,
                now: false,
            };
            if let Err(error) = self.delete_manifest(caller, asked).await {
                refused.push((digest.to_string(), error));
            }
        }
        for tag in selection.tags {
            let reference = tag.to_string();
            let asked = Untag {
                repository: asked.repository.clone(),
                tag,
                now: false,
            };
            if let Err(error) = self.untag(caller, asked).await {
                refused.push((reference, error));
            }
        }
        for (reference, error) in refused {
            deleted.manifests.retain(|it| *it != reference);
            deleted.tags.retain(|it| *it != reference);
            let reason = error.message().to_owned();
            deleted.refused.push(Refused { reference, reason });
        }
        Ok(deleted)
    }

    /// Deletes a tag alone.
    pub async fn untag(&self, caller: &Caller, asked: Untag) -> Result<Untagged, ApiError> {
        let (name, tag, now) = (asked.repository, asked.tag, asked.now);
        let what = format!("tag delete{}", at_once(now));
        let deed = Deed::of_content(("delete", "tag"), &name, Some(&tag), None, &what);
        let delete =
            move |registry: Registry, name| async move { registry.untag(&name, &tag, now).await };
        let untagged = self.change(caller, (delete_right(now), deed), name, delete);
        let (digest, purged) = untagged.await?;
        let digest = digest.to_string();
        Ok(Untagged { digest, purged })
    }

    /// Brings a deleted tag back.
    pub async fn undelete_tag(
        &self,
        caller: &Caller,
        asked: UndeleteTag,
    ) -> Result<Pointed, ApiError> {
        let (name, tag) = (asked.repository, asked.tag);
        let done = ("undelete", "tag");
        let deed = Deed::of_content(done, &name, Some(&tag), None, "tag undelete");
        let undelete =
            move |registry: Registry, name| async move { registry.undelete_tag(&name, &tag).await };
        let digest = self
            .change(caller, (Action::PushNew, deed), name, undelete)
            .await?;
        let digest = digest.to_string();
        Ok(Pointed { digest })
    }

    /// Points a tag back.
    pub async fn rollback_tag(
        &self,
        caller: &Caller,
        asked: RollbackTag,
    ) -> Result<Pointed, ApiError> {
        let (name, tag, to) = (asked.repository, asked.tag, asked.digest);
        let done = ("overwrite", "tag");
        let deed = Deed::of_content(done, &name, Some(&tag), to.as_ref(), "tag rollback");
        let rollback = move |registry: Registry, name| async move {
            registry.rollback_tag(&name, &tag, to.as_ref()).await
        };
        let digest = self
            .change(caller, (Action::Overwrite, deed), name, rollback)
            .await?;
        let digest = digest.to_string();
        Ok(Pointed { digest })
    }

    /// Deletes a manifest, with its tags.
    pub async fn delete_manifest(
        &self,
        caller: &Caller,
        asked: DeleteManifest,
    ) -> Result<(), ApiError> {
        let (name, digest, now) = (asked.repository, asked.digest, asked.now);
        let what = format!("manifest delete{}", at_once(now));
        let deed = Deed::of_content(("delete", "manifest"), &name, None, Some(&digest), &what);
        let delete = move |registry: Registry, name| async move {
            match now {
                true => registry.purge_manifest(&name, &digest).await,
                false => registry.delete_manifest(&name, &digest).await,
            }
        };
        self.change(caller, (delete_right(now), deed), name, delete)
            .await
    }

    /// Brings a deleted manifest back, with its tags.
    pub async fn undelete_manifest(
        &self,
        caller: &Caller,
        asked: UndeleteManifest,
    ) -> Result<ManifestBack, ApiError> {
        let (name, digest) = (asked.repository, asked.digest);
        let done = ("undelete", "manifest");
        let deed = Deed::of_content(done, &name, None, Some(&digest), "manifest undelete");
        let undelete = move |registry: Registry, name| async move {
            registry.undelete_manifest(&name, &digest).await
        };
        let tags = self
            .change(caller, (Action::PushNew, deed), name, undelete)
            .await?;
        let tags = tags.iter().map(ToString::to_string).collect();
        Ok(ManifestBack { tags })
    }

    /// Deletes a repository.
    pub async fn delete_repository(
        &self,
        caller: &Caller,
        asked: DeleteRepository,
    ) -> Result<DeletedRepository, ApiError> {
        let (name, now) = (asked.repository, asked.now);
        let what = format!("repository delete{}", at_once(now));
        let deed = Deed::of_content(("delete", "repository"), &name, None, None, &what);
        let delete = move |registry: Registry, name| async move {
            match now {
                true => registry.purge_repository(&name).await,
                false => registry.delete_repository(&name).await,
            }
        };
        let manifests = self
            .change(caller, (delete_right(now), deed), name, delete)
            .await?;
        Ok(DeletedRepository { manifests })
    }

    /// Brings a deleted repository back.
    pub async fn undelete_repository(
        &self,
        caller: &Caller,
        asked: UndeleteRepository,
    ) -> Result<RepositoryBack, ApiError> {
        let name = asked.repository;
        let done = ("undelete", "repository");
        let deed = Deed::of_content(done, &name, None, None, "repository undelete");
        let undelete = move |registry: Registry, name| async move {
            registry.undelete_repository(&name).await
        };
        let undeleted = self
            .change(caller, (Action::PushNew, deed), name, undelete)
            .await?;
        Ok(RepositoryBack {
            back: undeleted.back,
            lost: undeleted.lost,
        })
    }

    /// Changes what a repository holds, if the caller may.
    async fn change<T, W>(
        &self,
        caller: &Caller,
        (right, deed): (Action, Deed),
        repository: RepositoryName,
        work: impl FnOnce(Registry, RepositoryName) -> W,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, RegistryError>> + Send + 'static,
    {
        let permitted = caller.require(right, &repository);
        let permitted = permitted.and_then(|_| self.check_writes());
        let lists = self.tag_lists.clone();
        let changes = work(self.registry_of(caller), repository.clone());
        let work = async move {
            let changed = changes.await?;
            lists.forget(&repository);
            Ok(changed)
        };
        self.carry_out(caller, deed, permitted, work).await
    }

    /// The registry, whose histories name the caller. [storage] delete is about clients alone.
    pub(super) fn registry_of(&self, caller: &Caller) -> Registry {
        let registry = match caller.identity.actor() {
            Some(actor) => self.api.registry.acting_as(&actor),
            None => self.api.registry.clone(),
        };
        match caller.operator {
            Some(_) => registry.with_deletes(),
            None => registry,
        }
    }

    /// Refuses changes while the server takes none.
    pub(super) fn check_writes(&self) -> Result<(), ApiError> {
        match self.api.read_only {
            true => Err(ApiError::read_only("GET")),
            false => Ok(()),
        }
    }
}

/// The right that a delete takes. For good is more, whatever the configuration keeps deleted things for.
fn delete_right(now: bool) -> Action {
    match now {
        true => Action::Admin,
        false => Action::Delete,
    }
}

fn at_once(now: bool) -> &'static str {
    if now { " --now" } else { "" }
}
