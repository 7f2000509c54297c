//! What a client is told when a request fails: the one place where an error gets a status.
//!
//! The body is the JSON of distribution-spec, "Error Codes". An answer of 500 and above says
//! nothing of the cause; that goes to the log, under the id that the client is given.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::auth::policy::Reason;
use crate::auth::{AuthError, AuthorityError, Identity};
use crate::digest::DigestError;
use crate::ghostbay::StorageError;
use crate::oci::{ContentRangeError, ErrorBody, ErrorCode, ReferenceError};
use crate::registry::RegistryError;

use super::metrics::Limit;
use super::router::RouteError;

/// That a token is for too little, as an extension of the answer.
#[derive(Clone, Copy, Debug)]
pub struct TooNarrow;

/// Why a request was refused, as an extension of the answer.
#[derive(Clone, Debug)]
pub struct Refusal(pub String);

/// An answer that says why there is no other.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    detail: Option<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    is_too_narrow: bool,
    /// What it was one too many for; an extension of the answer.
    limit: Option<Limit>,
    /// What went wrong inside; for the log alone.
    cause: Option<anyhow::Error>,
}

impl ApiError {
    /// An error of the client's.
    pub fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        ApiError {
            status,
            code,
            message: message.into(),
            detail: None,
            headers: Vec::new(),
            is_too_narrow: false,
            limit: None,
            cause: None,
        }
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the client is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// 400 for a request that has no meaning here, where no code fits better.
    pub fn bad_request(message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message)
    }

    /// 403 for what somebody may not do.
    pub fn denied(caller: &Identity, what: &str, reason: &Reason) -> Self {
        let message = format!("{caller} may not {what}: {reason}");
        ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
    }

    /// 404.
    pub fn not_found(code: ErrorCode, message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::NOT_FOUND, code, message)
    }

    /// What a path that names nothing is answered. A manifest under a tag that cannot be is one
    /// that is not there, and the specification knows 404 alone for a pull of such a one.
    pub fn no_route(error: RouteError, method: &Method) -> Self {
        match error {
            RouteError::Reference(error @ ReferenceError::Tag(_))
                if *method == Method::GET || *method == Method::HEAD =>
            {
                ApiError::not_found(ErrorCode::ManifestUnknown, error.to_string())
            }
            error => error.into(),
        }
    }

    /// 400 for a length that is not what another part of the request says.
    pub fn size_invalid(message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid, message)
    }

    /// 416 for a range that has no byte of the `size` bytes that there are.
    pub fn range_not_satisfiable(size: u64) -> Self {
        let mut error = ApiError::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            ErrorCode::SizeInvalid,
            format!("the Range has no byte of the blob, which has {size} bytes"),
        );
        error.detail = Some(json!({ "size": size }));
        match HeaderValue::try_from(format!("bytes */{size}")) {
            Ok(range) => error.with(CONTENT_RANGE, range),
            Err(_) => error,
        }
    }

    /// 405, with the methods that there are.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Unsupported,
            format!("this method is not served here; there are {allow}"),
        )
        .with(ALLOW, HeaderValue::from_static(allow))
    }

    /// 405 for a write while the server takes none, with the methods that it answers here.
    pub fn read_only(allow: &str) -> Self {
        let reads: Vec<_> = allow
            .split(", ")
            .filter(|method| matches!(*method, "GET" | "HEAD"))
            .collect();
        ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Unsupported,
            "this registry takes no writes at present ([server] read_only); pulls go on",
        )
        .with_allow(&reads.join(", "))
    }

    /// 413 for a body of more than `bytes_max` bytes.
    pub fn too_large(code: ErrorCode, what: &str, bytes_max: usize) -> Self {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            code,
            format!("{what} has more than the {bytes_max} bytes that are taken"),
        )
    }

    /// 401 for a token that is for less than it is used for.
    pub fn too_narrow() -> Self {
        let mut error = ApiError::new(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthorized,
            "this token was not asked for with the scope that this takes",
        );
        error.is_too_narrow = true;
        error
    }

    /// 500, for a failure of ours.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        let mut error = ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::Unknown,
            "the server failed; its log says more under the X-Request-Id of this answer",
        );
        error.cause = Some(cause.into());
        error
    }

    /// 503: not now.
    pub fn unavailable(message: impl Into<String>, cause: impl Into<anyhow::Error>) -> Self {
        let mut error = ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Unavailable,
            message,
        )
        .with(RETRY_AFTER, HeaderValue::from_static("5"));
        error.cause = Some(cause.into());
        error
    }

    /// 507: there is no room. Nothing about it is the client's to know but that it may come back.
    pub fn disk_full(cause: impl Into<anyhow::Error>) -> Self {
        let mut error = ApiError::new(
            StatusCode::INSUFFICIENT_STORAGE,
            ErrorCode::Unavailable,
            "the server has no room left for this",
        );
        error.cause = Some(cause.into());
        error
    }

    /// A body that broke off.
    pub fn body_broken(message: impl Into<String>) -> Self {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::BlobUploadInvalid,
            message,
        )
    }

    /// The same as 408, if it is about a body that broke off because the client sent nothing
    /// for too long.
    pub fn with_stall(mut self, stalled: Option<String>) -> Self {
        if let Some(stalled) = stalled
            && self.code == ErrorCode::BlobUploadInvalid
            && self.status == StatusCode::BAD_REQUEST
        {
            self.status = StatusCode::REQUEST_TIMEOUT;
            self.message = format!("{stalled}; {}", self.message);
        }
        self
    }

    /// The same with a header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same, if it is 405 without an `Allow`, with the methods that there are; RFC 9110,
    /// 15.5.6 asks for it.
    pub fn with_allow(self, allow: &str) -> Self {
        if self.status != StatusCode::METHOD_NOT_ALLOWED
            || self.headers.iter().any(|(name, _)| name == ALLOW)
        {
            return self;
        }
        match HeaderValue::from_str(allow) {
            Ok(allow) => self.with(ALLOW, allow),
            Err(_) => self,
        }
    }

    /// The same for an upload at `location`: where it stands and where it goes on, if that is
    /// what was wrong.
    pub fn with_upload(self, location: &str) -> Self {
        if self.status != StatusCode::RANGE_NOT_SATISFIABLE {
            return self;
        }
        match HeaderValue::from_str(location) {
            Ok(location) => self.with(LOCATION, location),
            Err(_) => self,
        }
    }
}

/// An error with what caused it, on one line. A cause that an error already repeats in its own
/// words is not said twice.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&error| error.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Whether what went wrong began with a disk or a quota that is full. The store shares its I/O
/// errors between all whom they hit.
fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| {
            let shared = error.downcast_ref::<Arc<io::Error>>().map(Arc::as_ref);
            error.downcast_ref::<io::Error>().or(shared)
        })
        .any(|error| {
            let kind = error.kind();
            kind == io::ErrorKind::StorageFull || kind == io::ErrorKind::QuotaExceeded
        })
}

/// The `Range` of an upload that has `offset` bytes. One that has none cannot be written as a
/// range of bytes; `0-0` is what clients expect of it.
pub fn upload_range(offset: u64) -> HeaderValue {
    let last = offset.saturating_sub(1);
    HeaderValue::try_from(format!("0-{last}")).unwrap_or(HeaderValue::from_static("0-0"))
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        let (code, detail, message) = (error.code(), error.detail(), error.to_string());
        let status = match &error {
            RegistryError::BlobUnknown { .. }
            | RegistryError::ManifestUnknown { .. }
            | RegistryError::NameUnknown { .. }
            | RegistryError::UploadUnknown { .. }
            | RegistryError::Purged { .. }
            | RegistryError::NotInHistory { .. } => StatusCode::NOT_FOUND,
            RegistryError::NotDeleted { .. }
            | RegistryError::TooManyManifests(_)
            | RegistryError::CollectionsPaused => StatusCode::CONFLICT,
            RegistryError::OutOfOrder { offset, .. } => {
                let mut error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, code, message)
                    .with(RANGE, upload_range(*offset));
                error.detail = detail;
                return error;
            }
            // 404 would read as a repository that does not exist, on a request that creates it.
            RegistryError::ManifestBlobUnknown { .. }
            | RegistryError::DigestMismatch { .. }
            | RegistryError::SizeMismatch { .. }
            | RegistryError::BodyBroken { .. }
            | RegistryError::ManifestInvalid(_)
            | RegistryError::MediaTypeFixed { .. }
            | RegistryError::IndexTooDeep(_)
            | RegistryError::TooManyPieces(_)
            | RegistryError::TooManyTags(_) => StatusCode::BAD_REQUEST,
            RegistryError::QuotaExceeded { .. }
            | RegistryError::TagImmutable { .. }
            | RegistryError::TagMoveDenied { .. } => StatusCode::FORBIDDEN,
            RegistryError::StillReferenced { .. } | RegistryError::DeletesDisabled => {
                StatusCode::METHOD_NOT_ALLOWED
            }
            RegistryError::Storage(full @ StorageError::Full { .. }) => {
                let figures = full.to_string();
                let mut answer = ApiError::disk_full(error);
                answer.message = figures;
                return answer;
            }
            RegistryError::Storage(_) if is_disk_full(&error) => return ApiError::disk_full(error),
            RegistryError::Storage(storage) if storage.is_passing() => {
                let message = "the server cannot read or write its data at present; try again";
                return ApiError::unavailable(message, error);
            }
            RegistryError::Storage(_) => return ApiError::internal(error),
        };
        let mut answer = ApiError::new(status, code, message);
        answer.detail = detail;
        answer
    }
}

impl ApiError {
    /// 429 for one too many, with how long to wait.
    pub fn too_many(limit: Limit, message: impl Into<String>, wait: Duration) -> Self {
        let error = ApiError {
            limit: Some(limit),
            ..ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                ErrorCode::TooManyRequests,
                message,
            )
        };
        // Whole seconds (RFC 9110, 10.2.3), and none too few.
        error.with(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1))
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unauthenticated => ApiError::new(
                StatusCode::UNAUTHORIZED,
                ErrorCode::Unauthorized,
                error.to_string(),
            ),
            AuthError::Busy => ApiError::too_many(
                Limit::logins_at_once,
                error.to_string(),
                Duration::from_secs(1),
            ),
            AuthError::Unavailable => ApiError::unavailable(error.to_string(), error),
            AuthError::Throttled(wait) => {
                ApiError::too_many(Limit::bad_logins, error.to_string(), wait)
            }
        }
    }
}

impl From<AuthorityError> for ApiError {
    fn from(error: AuthorityError) -> Self {
        let status = match &error {
            AuthorityError::Unknown { .. } => StatusCode::NOT_FOUND,
            AuthorityError::Taken { .. } => StatusCode::CONFLICT,
            AuthorityError::Invalid(_) => StatusCode::BAD_REQUEST,
            AuthorityError::Catalog(_)
            | AuthorityError::File { .. }
            | AuthorityError::Threads(_)
            | AuthorityError::NoRandomness(_) => return ApiError::internal(error),
        };
        ApiError::new(status, ErrorCode::Unsupported, error.to_string())
    }
}

impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> Self {
        let code = match error {
            RouteError::NoSuchRoute => ErrorCode::Unsupported,
            RouteError::Name(_) => {
                let status = StatusCode::BAD_REQUEST;
                return ApiError::new(status, ErrorCode::NameInvalid, error.to_string());
            }
            RouteError::Reference(error) => return error.into(),
            RouteError::Digest(error) => return error.into(),
            RouteError::Upload => ErrorCode::BlobUploadUnknown,
        };
        ApiError::not_found(code, error.to_string())
    }
}

impl From<DigestError> for ApiError {
    fn from(error: DigestError) -> Self {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::DigestInvalid,
            error.to_string(),
        )
    }
}

impl From<ReferenceError> for ApiError {
    fn from(error: ReferenceError) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, error.code(), error.to_string())
    }
}

impl From<ContentRangeError> for ApiError {
    fn from(error: ContentRangeError) -> Self {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::BlobUploadInvalid,
            error.to_string(),
        )
    }
}

impl ApiError {
    /// Tells the log what went wrong inside, if it did.
    pub fn log(&self) {
        if let Some(cause) = &self.cause {
            tracing::error!(
                status = self.status.as_u16(),
                "request failed: {}",
                causes(cause.as_ref())
            );
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let refusal = matches!(self.status.as_u16(), 401 | 403 | 405 | 429)
            .then(|| Refusal(self.message.clone()));
        let body = ErrorBody::new(self.code, self.message, self.detail);
        // Strings, numbers and lists: this cannot fail to serialise.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.headers);
        if let Some(limit) = self.limit {
            response.extensions_mut().insert(limit);
        }
        if let Some(refusal) = refusal {
            response.extensions_mut().insert(refusal);
        }
        if self.is_too_narrow {
            response.extensions_mut().insert(TooNarrow);
        }
        response
    }
}

#[cfg(test)]
mod tests;
