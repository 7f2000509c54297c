//! `/v2/<name>/blobs/uploads/` and what is begun there (distribution-spec, "Pushing blobs",
//! "Mounting a blob from another repository").

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_RANGE, LOCATION, RANGE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use http_body::Body as _;

use crate::auth::{Action, Identity};
use crate::digest::{Algorithm, Digest};
use crate::ghostbay::uploads::{Append, UploadId, UploadStatus};
use crate::http::body::{self, Fate, content_length};
use crate::http::error::{ApiError, upload_range};
use crate::http::query::Query;
use crate::oci::{ContentRange, ErrorCode, RepositoryName};
use crate::registry::Registry;

use super::{blob_created, empty, with};

/// POST: begins an upload, takes a whole blob (`digest=`), or mounts one (`mount=`).
pub async fn post(
    registry: &Registry,
    caller: Option<Identity>,
    name: &RepositoryName,
    query: &Query,
    request: Request,
) -> Result<Response, ApiError> {
    let mount = digest(query, "mount")?;
    let whole = digest(query, "digest")?;
    let algorithm = query
        .one("digest-algorithm")?
        .map(str::parse::<Algorithm>)
        .transpose()?;
    if let Some(wanted) = mount {
        if is_mounted(registry, caller, name, &wanted, query).await? {
            return Ok(blob_created(name, &wanted));
        }
    } else if let Some(digest) = whole {
        let (parts, body) = request.into_parts();
        let (append, fate) = append(&parts.headers, body)?;
        registry
            .push_blob(name, &digest, append)
            .await
            .map_err(|error| ApiError::from(error).with_stall(fate.stalled()))?;
        return Ok(blob_created(name, &digest));
    }
    // A client that could not mount pushes the same blob, so its algorithm is the one to run.
    let algorithm = algorithm
        .or(mount.map(|digest| digest.algorithm()))
        .unwrap_or(Algorithm::Sha256);
    let status = registry.start_upload(name, algorithm).await?;
    Ok(progress(StatusCode::ACCEPTED, name, &status))
}

/// Whether the blob could be mounted. Whatever stands in the way of it, the client is told the
/// same, begins an upload, and has learnt nothing of the other repository.
async fn is_mounted(
    registry: &Registry,
    caller: Option<Identity>,
    name: &RepositoryName,
    digest: &Digest,
    query: &Query,
) -> Result<bool, ApiError> {
    let from = match query.one("from")?.map(str::parse::<RepositoryName>) {
        None => None,
        Some(Ok(from)) => Some(from),
        Some(Err(_)) => return Ok(false),
    };
    let may_read = move |name: &RepositoryName| {
        caller
            .as_ref()
            .is_some_and(|caller| caller.may(Action::Pull, name))
    };
    Ok(registry
        .mount(name, digest, from.as_ref(), may_read)
        .await?)
}

/// GET and HEAD: where the upload stands.
pub fn get(
    registry: &Registry,
    name: &RepositoryName,
    id: &UploadId,
) -> Result<Response, ApiError> {
    let status = registry.upload_status(name, id)?;
    Ok(progress(StatusCode::NO_CONTENT, name, &status))
}

/// PATCH: the next chunk, or all of it as a stream.
pub async fn patch(
    registry: &Registry,
    name: &RepositoryName,
    id: &UploadId,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let (append, fate) = append(&parts.headers, body)?;
    let status = registry.append(name, id, append).await.map_err(|error| {
        ApiError::from(error)
            .with_upload(&location(name, id))
            .with_stall(fate.stalled())
    })?;
    Ok(progress(StatusCode::ACCEPTED, name, &status))
}

/// PUT: ends the upload, with its last chunk if there is one in the body.
pub async fn put(
    registry: &Registry,
    name: &RepositoryName,
    id: &UploadId,
    query: &Query,
    request: Request,
) -> Result<Response, ApiError> {
    let digest = digest(query, "digest")?.ok_or_else(|| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::DigestInvalid,
            "the PUT that ends an upload needs ?digest=",
        )
    })?;
    let (parts, body) = request.into_parts();
    let (last, fate) = match body.is_end_stream() && !parts.headers.contains_key(CONTENT_RANGE) {
        true => (None, Fate::default()),
        false => {
            let (append, fate) = append(&parts.headers, body)?;
            (Some(append), fate)
        }
    };
    registry
        .finish_upload(name, id, &digest, last)
        .await
        .map_err(|error| {
            ApiError::from(error)
                .with_upload(&location(name, id))
                .with_stall(fate.stalled())
        })?;
    Ok(blob_created(name, &digest))
}

/// DELETE: gives the upload up.
pub async fn delete(
    registry: &Registry,
    name: &RepositoryName,
    id: &UploadId,
) -> Result<Response, ApiError> {
    registry.cancel_upload(name, id).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A body as a piece of an upload. Where `Content-Range` and `Content-Length` are both there,
/// they must agree.
fn append(headers: &HeaderMap, body: Body) -> Result<(Append<'static>, Fate), ApiError> {
    let range = match headers.get(CONTENT_RANGE) {
        None => None,
        // What is no text becomes one that is no range either.
        Some(value) => Some(ContentRange::parse_header(value.to_str().unwrap_or("?"))?),
    };
    // hyper leaves out of the headers no length that frames the body, and an HTTP/1.1 request
    // with neither length nor chunks has no body.
    let length = content_length(headers).or(body.size_hint().exact());
    if let (Some(range), Some(length)) = (range, length)
        && range.length() != length
    {
        return Err(ApiError::size_invalid(format!(
            "Content-Range is {} bytes long and the body {length}",
            range.length()
        )));
    }
    let (body, fate) = body::stream(body);
    let append = Append {
        start: range.map(|range| range.start),
        length: length.or(range.map(|range| range.length())),
        body,
    };
    Ok((append, fate))
}

/// A digest in the query.
fn digest(query: &Query, name: &str) -> Result<Option<Digest>, ApiError> {
    Ok(query.one(name)?.map(str::parse).transpose()?)
}

/// The place of an upload; relative, since only the client knows by which name it came here.
fn location(name: &RepositoryName, id: &UploadId) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// How far an upload is and where it goes on.
fn progress(status: StatusCode, name: &RepositoryName, upload: &UploadStatus) -> Response {
    let response = with(empty(status), LOCATION, location(name, &upload.id));
    let response = with(response, RANGE, upload_range(upload.offset));
    let id = HeaderName::from_static("docker-upload-uuid");
    with(response, id, upload.id.to_string())
}
