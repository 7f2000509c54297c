//! Who asks, and what they may.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tracing::Instrument;

use super::Management;
use crate::auth::policy::Reason;
use crate::auth::{Action, AuthError, ClientCertificate, Decision, Identity};
use crate::http::RequestId;
use crate::http::admin::Operator;
use crate::http::error::ApiError;
use crate::http::metrics::Limit;
use crate::http::transport::Peer;
use crate::oci::{ErrorCode, RepositoryName};
use crate::spans::span;

/// The name of the page's cookie where it came by TLS: browsers keep such a name to TLS, to this host, and
/// to the whole of it (RFC 6265bis, "The `__Host-` Prefix").
pub const SECURE_COOKIE: &str = "__Host-drift";
/// Its name where it came in the clear.
pub const PLAIN_COOKIE: &str = "drift";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whoever asks.
#[derive(Clone)]
pub struct Caller {
    /// Who it is.
    pub identity: Identity,
    /// Where they are.
    pub from: Option<IpAddr>,
    /// The request's id.
    pub request: Option<RequestId>,
    /// By which name the server is reached, such as `https://registry.example.com:5001`.
    pub origin: Option<String>,
    /// The secret of their session; `None` if they came without one.
    pub session: Option<String>,
    /// The user of the system, if it is the operator.
    pub operator: Option<Operator>,
}

impl Caller {
    /// Finds out who sends a request, counts it, and refuses one that another site has a browser send.
    pub async fn of(management: &Management, request: &Parts) -> Result<Self, ApiError> {
        if let Some(operator) = request.extensions.get() {
            return Ok(Caller::operator(*operator, request));
        }
        let (headers, api) = (&request.headers, &management.api);
        let peer = request.extensions.get::<Peer>().copied();
        let from = api.origin.client(headers, peer);
        let too_many = |limit| {
            move |wait| ApiError::too_many(limit, "too many requests; come back later", wait)
        };
        let counted = api.limits.count_from(from);
        counted.map_err(too_many(Limit::requests_by_address))?;
        let origin = api.origin.of(&request.uri, headers, peer);
        let session = cookie(headers);
        let identity = session.as_deref().and_then(|it| management.sessions.of(it));
        let mut presented = headers.get_all(AUTHORIZATION).iter();
        let identity = match (presented.next().map(HeaderValue::to_str), presented.next()) {
            (None, _) => match &identity {
                Some(identity) => identity.clone(),
                None => management.stranger(request).await?,
            },
            (Some(Ok(text)), None) => {
                let check = api.auth.check(Some(text), from);
                let checked = check.instrument(span!("authenticate")).await;
                api.metrics.login(checked.is_ok());
                checked?
            }
            (Some(_), _) => return Err(AuthError::Unauthenticated.into()),
        };
        let caller = Caller {
            identity,
            from,
            request: request.extensions.get().copied(),
            origin,
            session,
            operator: None,
        };
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        if !is_read {
            caller.check_site(headers)?;
        }
        let counted = api.limits.count_by(&caller.identity);
        counted.map_err(too_many(Limit::requests_by_account))?;
        Ok(caller)
    }

    /// The operator, who is counted by no limit, and whom no browser sends: it reaches no socket.
    fn operator(operator: Operator, request: &Parts) -> Self {
        Caller {
            identity: Identity::operator(),
            from: None,
            request: request.extensions.get().copied(),
            origin: None,
            session: None,
            operator: Some(operator),
        }
    }

    /// Refuses a change that a page of another site has a browser send: browsers add cookies, client
    /// certificates and remembered passwords to it, and say where it comes from (Fetch, "`Origin` header";
    /// Fetch Metadata). Programs that are no browsers say nothing, and have no cookie that was not theirs.
    fn check_site(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let foreign = || {
            ApiError::new(
                StatusCode::FORBIDDEN,
                ErrorCode::Denied,
                "this request was sent by a page of another site",
            )
        };
        let site = headers.get(FETCH_SITE);
        if site.is_some_and(|site| site != "same-origin" && site != "none") {
            return Err(foreign());
        }
        match headers.get(ORIGIN) {
            Some(origin) if self.is_own(origin, headers) => Ok(()),
            Some(_) => Err(foreign()),
            None if site.is_some() || self.session.is_none() => Ok(()),
            // An old browser that says neither.
            None => Err(foreign()),
        }
    }

    fn is_own(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        // The page's port is not that of the URL which clients of the registry are told.
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let named = origin.split_once("://").map(|(_, host)| host);
        self.origin.as_deref() == Some(origin) || (host.is_some() && named == host)
    }

    /// Whether a repository is anything to them.
    pub fn may_see(&self, repository: &RepositoryName) -> bool {
        self.identity.may_see(repository)
    }

    /// Refuses what they may not do with a repository. One that they may not even pull from is answered
    /// as one that is not there.
    pub fn require(
        &self,
        action: Action,
        repository: &RepositoryName,
    ) -> Result<Decision, ApiError> {
        let decision = self.identity.decide(action, repository);
        let what = format!("{action} in {repository}");
        self.permit(decision, &what)
    }

    /// Refuses what is for administrators of the whole server.
    pub fn require_admin(&self) -> Result<Decision, ApiError> {
        let decision = self.identity.decide_server(Action::Admin);
        self.permit(decision, "administer this server")
    }

    /// Whether they administer the whole server.
    pub fn is_admin(&self) -> bool {
        self.identity.decide_server(Action::Admin).allowed
    }

    /// What was decided; a refusal names what was asked for.
    pub(super) fn permit(&self, decision: Decision, what: &str) -> Result<Decision, ApiError> {
        match &decision.reason {
            _ if decision.allowed => Ok(decision),
            _ if self.identity.is_anonymous() => Err(AuthError::Unauthenticated.into()),
            Reason::Gone => Err(AuthError::Unauthenticated.into()),
            reason => Err(ApiError::denied(&self.identity, what, reason)),
        }
    }
}

impl Management {
    /// Whoever comes without a login: by the certificate of their connection, or nobody.
    async fn stranger(&self, request: &Parts) -> Result<Identity, ApiError> {
        let certificate = request.extensions.get::<Arc<ClientCertificate>>();
        Ok(match certificate {
            Some(certificate) => self.api.auth.check_certificate(certificate)?,
            None => self.api.auth.check(None, None).await?,
        })
    }
}

/// The secret of a session, if a cookie holds one.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut plain = None;
    for (name, value) in pairs {
        match name {
            SECURE_COOKIE => return Some(value.to_owned()),
            PLAIN_COOKIE => plain = Some(value.to_owned()),
            _ => {}
        }
    }
    plain
}
