//! `/v2/<name>/referrers/<digest>` (distribution-spec, "Listing Referrers").

use axum::body::Body;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::response::Response;

use crate::digest::Digest;
use crate::http::error::ApiError;
use crate::http::query::{Query, encode};
use crate::oci::RepositoryName;
use crate::registry::Registry;

use super::with;

/// The manifests whose subject is `digest`, as an image index. Never 404: a client would take
/// that for a registry without this endpoint and keep a list of its own.
pub fn get(
    registry: &Registry,
    name: &RepositoryName,
    digest: &Digest,
    query: &Query,
) -> Result<Response, ApiError> {
    let artifact_type = query.one("artifactType")?;
    let last = query.one("last")?.map(str::parse::<Digest>).transpose()?;
    let referrers = match &last {
        None => registry.referrers(name, digest, artifact_type)?,
        Some(last) => registry.referrers_after(name, digest, artifact_type, last)?,
    };
    let mut response = with(
        Response::new(Body::from(referrers.index_json)),
        CONTENT_TYPE,
        "application/vnd.oci.image.index.v1+json",
    );
    if referrers.filtered {
        let applied = HeaderName::from_static("oci-filters-applied");
        response = with(response, applied, "artifactType");
    }
    if let Some(next) = referrers.next {
        let filter = artifact_type
            .map(|artifact_type| format!("artifactType={}&", encode(artifact_type)))
            .unwrap_or_default();
        let next = next.to_string();
        let link = format!(
            "</v2/{name}/referrers/{digest}?{filter}last={}>; rel=\"next\"",
            encode(&next)
        );
        response = with(response, LINK, link);
    }
    Ok(response)
}
