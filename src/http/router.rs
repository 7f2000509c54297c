//! Every route of the registry API, and how a path becomes one of them.
//!
//! Repository names hold slashes, so that no path pattern fits; the path is taken apart here,
//! by hand and once, and everything that comes later (permissions, handlers, the log) looks at
//! the [`Route`] alone. Each segment is percent-decoded once and must then pass the grammar of
//! its type, none of which allows a slash, a dot segment or an empty one. So each spelling of
//! a path either is the same route as the plain one or none at all.

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::auth::{Action, Actions};
use crate::digest::{Digest, DigestError};
use crate::ghostbay::uploads::UploadId;
use crate::oci::{NameError, Reference, ReferenceError, RepositoryName};

/// Where tokens are to be had.
pub const TOKEN_PATH: &str = "/token";

/// What a path names (distribution-spec, "Endpoints", the two probes, figures, and tokens).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// `/healthz`: whether the process runs.
    Healthz,
    /// `/readyz`: whether it can serve.
    Readyz,
    /// `/metrics`: figures of the server.
    Metrics,
    /// `/token`: where a login becomes a token.
    Token,
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(RepositoryName, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(RepositoryName, UploadId),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(RepositoryName, Digest),
}

/// What a caller must be allowed to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need<'a> {
    /// Nothing, and nobody need have logged in.
    Nothing,
    /// Nothing, but have logged in.
    Login,
    /// See any repository at all: which of them are shown depends on each.
    Listing,
    /// Any of these with the repository. Which of the rights to push a manifest takes, its
    /// transaction knows.
    Any(Actions, &'a RepositoryName),
}

/// Why a path names nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RouteError {
    /// It has no form that there is.
    #[error("there is nothing at this path; the API is that of the OCI distribution specification")]
    NoSuchRoute,
    /// What stands for a repository is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What stands for a tag or digest is neither.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// What stands for a digest is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// What stands for an upload is no id, so that none was ever begun under it.
    #[error("there is no such upload in progress")]
    Upload,
}

impl Route {
    /// Reads the path of a request.
    pub fn parse(path: &str) -> Result<Self, RouteError> {
        let segments: Vec<String> = path
            .strip_prefix('/')
            .ok_or(RouteError::NoSuchRoute)?
            .split('/')
            .map(segment)
            .collect::<Result<_, _>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["healthz"] => Ok(Route::Healthz),
            ["readyz"] => Ok(Route::Readyz),
            ["metrics"] => Ok(Route::Metrics),
            ["token"] => Ok(Route::Token),
            ["v2"] | ["v2", ""] => Ok(Route::Base),
            ["v2", rest @ ..] => Self::parse_v2(rest),
            _ => Err(RouteError::NoSuchRoute),
        }
    }

    fn parse_v2(segments: &[&str]) -> Result<Self, RouteError> {
        // Read from the end, because a name may itself hold "blobs" or "manifests".
        match segments {
            ["_catalog"] => Ok(Route::Catalog),
            [name @ .., "tags", "list"] => Ok(Route::Tags(repository(name)?)),
            [name @ .., "manifests", reference] => {
                Ok(Route::Manifest(repository(name)?, reference.parse()?))
            }
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Ok(Route::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", id] => {
                let name = repository(name)?;
                Ok(Route::Upload(
                    name,
                    id.parse().map_err(|_| RouteError::Upload)?,
                ))
            }
            [name @ .., "blobs", digest] => Ok(Route::Blob(repository(name)?, digest.parse()?)),
            [name @ .., "referrers", digest] => {
                Ok(Route::Referrers(repository(name)?, digest.parse()?))
            }
            _ => Err(RouteError::NoSuchRoute),
        }
    }

    /// The methods that the route answers, as an `Allow` header lists them (RFC 9110, 10.2.1).
    pub fn allow(&self) -> &'static str {
        match self {
            Route::Healthz
            | Route::Readyz
            | Route::Metrics
            | Route::Base
            | Route::Catalog
            | Route::Tags(_)
            | Route::Referrers(..) => "GET, HEAD",
            Route::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Route::Blob(..) => "GET, HEAD, DELETE",
            Route::Uploads(_) => "POST",
            Route::Token => "GET, POST",
            Route::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
        }
    }

    /// Whether the route answers `method`.
    pub fn allows(&self, method: &Method) -> bool {
        self.allow().split(", ").any(|name| name == method.as_str())
    }

    /// What a caller must be allowed to do for `method`, which the route answers.
    pub fn needs(&self, method: &Method) -> Need<'_> {
        match self {
            // Probes are for machines that have no login, and tell nothing.
            Route::Healthz | Route::Readyz => Need::Nothing,
            // Strangers get tokens as well, for what strangers may do.
            Route::Token => Need::Nothing,
            // It goes by addresses as well, and looks itself.
            Route::Metrics => Need::Nothing,
            Route::Base => Need::Login,
            Route::Catalog => Need::Listing,
            // An upload is the pusher's own, whatever is done with it.
            Route::Uploads(name) | Route::Upload(name, _) => Need::Any(Actions::PUSH, name),
            Route::Tags(name)
            | Route::Referrers(name, _)
            | Route::Manifest(name, _)
            | Route::Blob(name, _) => match *method {
                Method::GET | Method::HEAD => Need::Any(Action::Pull.into(), name),
                Method::DELETE => Need::Any(Action::Delete.into(), name),
                _ => Need::Any(Actions::PUSH, name),
            },
        }
    }

    /// The name of its kind, for figures.
    pub fn kind(&self) -> &'static str {
        match self {
            Route::Healthz => "healthz",
            Route::Readyz => "readyz",
            Route::Metrics => "metrics",
            Route::Token => "token",
            Route::Base => "base",
            Route::Catalog => "catalog",
            Route::Tags(_) => "tags",
            Route::Manifest(..) => "manifest",
            Route::Blob(..) => "blob",
            Route::Uploads(_) => "uploads",
            Route::Upload(..) => "upload",
            Route::Referrers(..) => "referrers",
        }
    }

    /// Whether this is a probe: answered to everybody, and not worth a line of the log.
    pub fn is_probe(&self) -> bool {
        matches!(self, Route::Healthz | Route::Readyz)
    }

    /// The repository that the path names.
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Route::Healthz
            | Route::Readyz
            | Route::Metrics
            | Route::Token
            | Route::Base
            | Route::Catalog => None,
            Route::Tags(name)
            | Route::Manifest(name, _)
            | Route::Blob(name, _)
            | Route::Uploads(name)
            | Route::Upload(name, _)
            | Route::Referrers(name, _) => Some(name),
        }
    }

    /// The digest that the path names.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Route::Blob(_, digest)
            | Route::Referrers(_, digest)
            | Route::Manifest(_, Reference::Digest(digest)) => Some(digest),
            _ => None,
        }
    }
}

/// One segment, percent-decoded. A slash that was escaped is no separator and belongs to no
/// grammar here.
fn segment(raw: &str) -> Result<String, RouteError> {
    match percent_decode_str(raw).decode_utf8() {
        Ok(segment) if !segment.contains('/') => Ok(segment.into_owned()),
        _ => Err(RouteError::NoSuchRoute),
    }
}

fn repository(segments: &[&str]) -> Result<RepositoryName, RouteError> {
    if segments.is_empty() {
        return Err(RouteError::NoSuchRoute);
    }
    Ok(segments.join("/").parse()?)
}

#[cfg(test)]
mod tests;
