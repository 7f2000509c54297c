//! `/v2/<name>/manifests/<reference>` (distribution-spec, "Pulling manifests", "Pushing
//! Manifests", "Deleting tags", "Deleting Manifests").

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderName, Method, StatusCode};
use axum::response::Response;

use crate::auth::{Action, Identity};
use crate::http::audit::Trail;
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::middleware::CONTENT_DIGEST;
use crate::http::query::Query;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::oci::{Reference, ReferenceError, RepositoryName, Tag};
use crate::registry::{PutManifest, Registry, TagMove};

use super::{condition, empty, with};

/// GET and HEAD: the exact bytes that were pushed.
///
/// `Accept` is not looked at: a manifest has one type, and its digest is that of these bytes.
pub fn get(
    registry: &Registry,
    name: &RepositoryName,
    reference: &Reference,
    request: &Request,
) -> Result<Response, ApiError> {
    let manifest = registry.manifest(name, reference)?;
    // A HEAD only looks whether there is something new.
    if request.method() == Method::GET {
        registry.note_pull(name, &manifest.digest);
    }
    let etag = condition::etag(&manifest.digest);
    let describe = |response| {
        let response = with(response, CONTENT_DIGEST, manifest.digest.to_string());
        with(response, ETAG, etag.as_str())
    };
    if condition::is_known(request.headers(), &etag) {
        return Ok(describe(empty(StatusCode::NOT_MODIFIED)));
    }
    let response = with(empty(StatusCode::OK), CONTENT_TYPE, &*manifest.media_type);
    let response = with(response, CONTENT_LENGTH, manifest.bytes.len());
    let mut response = describe(response);
    *response.body_mut() = Body::from(manifest.bytes);
    Ok(response)
}

/// PUT: under a tag, or under its digest with any tags in the query.
pub async fn put(
    registry: &Registry,
    caller: Option<Identity>,
    name: &RepositoryName,
    reference: Reference,
    query: &Query,
    request: Request,
    trail: Trail,
) -> Result<Response, ApiError> {
    let tags = tags(&reference, query)?;
    let (parts, body) = request.into_parts();
    let content_type = match parts.headers.get(CONTENT_TYPE).map(|value| value.to_str()) {
        Some(Ok(value)) => Some(value.to_owned()),
        Some(Err(_)) => return Err(ApiError::bad_request("the Content-Type is no text")),
        None => None,
    };
    let bytes = body::gather(&parts.headers, body, "the manifest", MANIFEST_BYTES_MAX).await?;
    let put = PutManifest {
        reference: reference.clone(),
        tags,
        content_type,
        bytes,
    };
    let repository = name.clone();
    let deciding = trail.clone();
    let may = move |wanted| {
        let action = right_to(wanted);
        let Some(caller) = &caller else {
            return false;
        };
        let decision = caller.decide(action, &repository);
        let allowed = decision.allowed;
        deciding.decided(action, decision);
        allowed
    };
    let outcome = registry.put_manifest_if(name, put, may).await?;
    trail.moved(outcome.moves.into_iter().map(right_to));
    let mut response = with(
        empty(StatusCode::CREATED),
        LOCATION,
        format!("/v2/{name}/manifests/{}", outcome.digest),
    );
    response = with(response, CONTENT_DIGEST, outcome.digest.to_string());
    if let Some(subject) = outcome.subject {
        let header = HeaderName::from_static("oci-subject");
        response = with(response, header, subject.to_string());
    }
    for tag in outcome.tags {
        response = with(response, HeaderName::from_static("oci-tag"), tag.as_str());
    }
    Ok(response)
}

/// What it takes to do that to a tag.
fn right_to(wanted: TagMove) -> Action {
    match wanted {
        TagMove::Create => Action::PushNew,
        TagMove::Overwrite => Action::Overwrite,
    }
}

/// The tags in the query. They go with a push by digest; one that names a tag in its path and
/// others in its query is not in the specification, and nobody can say what it means.
fn tags(reference: &Reference, query: &Query) -> Result<Vec<Tag>, ApiError> {
    let tags = query
        .all("tag")
        .map(|tag| {
            tag.parse()
                .map_err(|error| ReferenceError::Tag(error).into())
        })
        .collect::<Result<Vec<Tag>, ApiError>>()?;
    if !tags.is_empty() && matches!(reference, Reference::Tag(_)) {
        return Err(ApiError::bad_request(
            "tag= goes with a push by digest, and this one names a tag in its path",
        ));
    }
    Ok(tags)
}

/// DELETE: a tag alone, or a manifest with all its tags.
pub async fn delete(
    registry: &Registry,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<Response, ApiError> {
    match reference {
        Reference::Tag(tag) => registry.delete_tag(name, tag).await?,
        Reference::Digest(digest) => registry.delete_manifest(name, digest).await?,
    }
    Ok(empty(StatusCode::ACCEPTED))
}
