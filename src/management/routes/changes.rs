//! What can be done to tags, manifests and repositories.

use axum::extract::{Request, State};
use axum::response::Response;

use super::{Errors, answer, order};
use crate::management::Management;
use crate::management::changes::{
    DeleteManifest, DeleteRepository, DeleteTags, DeletedRepository, DeletedTags, ManifestBack,
    Pointed, RepositoryBack, RollbackTag, UndeleteManifest, UndeleteRepository, UndeleteTag, Untag,
    Untagged,
};

/// Deletes tags, with the manifests that nothing else points at; or says what that would come to.
#[utoipa::path(post, path = "/tags/delete", operation_id = "deleteTags", request_body = DeleteTags, responses(
    (status = 200, body = DeletedTags),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn delete_tags(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.delete_tags(&caller, asked).await
    })
    .await
}

/// Deletes a tag alone: its manifest stays, unless that is to go as well.
#[utoipa::path(post, path = "/tags/untag", operation_id = "untag", request_body = Untag, responses(
    (status = 200, body = Untagged),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn untag(State(management): State<Management>, request: Request) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.untag(&caller, asked).await
    })
    .await
}

/// Brings a deleted tag back, and its manifest.
#[utoipa::path(post, path = "/tags/undelete", operation_id = "undeleteTag", request_body = UndeleteTag, responses(
    (status = 200, body = Pointed),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn undelete_tag(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.undelete_tag(&caller, asked).await
    })
    .await
}

/// Points a tag back at a manifest that it pointed at before.
#[utoipa::path(post, path = "/tags/rollback", operation_id = "rollbackTag", request_body = RollbackTag, responses(
    (status = 200, body = Pointed),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn rollback_tag(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.rollback_tag(&caller, asked).await
    })
    .await
}

/// Deletes a manifest with its tags.
#[utoipa::path(post, path = "/manifests/delete", operation_id = "deleteManifest", request_body = DeleteManifest, responses(
    (status = 200, description = "Done"),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn delete_manifest(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.delete_manifest(&caller, asked).await
    })
    .await
}

/// Brings a deleted manifest back, with its tags.
#[utoipa::path(post, path = "/manifests/undelete", operation_id = "undeleteManifest", request_body = UndeleteManifest, responses(
    (status = 200, body = ManifestBack),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn undelete_manifest(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.undelete_manifest(&caller, asked).await
    })
    .await
}

/// Deletes a repository with all that is in it.
#[utoipa::path(post, path = "/repositories/delete", operation_id = "deleteRepository", request_body = DeleteRepository, responses(
    (status = 200, body = DeletedRepository),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn delete_repository(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.delete_repository(&caller, asked).await
    })
    .await
}

/// Brings a deleted repository back.
#[utoipa::path(post, path = "/repositories/undelete", operation_id = "undeleteRepository", request_body = UndeleteRepository, responses(
    (status = 200, body = RepositoryBack),
    (status = "4XX", description = "Refused", body = Errors),
))]
pub(super) async fn undelete_repository(
    State(management): State<Management>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, asked) = order(&management, request).await?;
        management.undelete_repository(&caller, asked).await
    })
    .await
}
