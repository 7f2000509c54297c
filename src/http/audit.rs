//! What the audit log is told of a request: gathered on the request's way, told before its answer goes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;

use super::Api;
use super::error::Refusal;
use super::middleware::{CONTENT_DIGEST, RequestId, Target};
use super::router::Route;
use super::transport::Peer;
use crate::audit::event::{LOGIN, shown};
use crate::audit::{AuditLog, Detail, Event, Verdict};
use crate::auth::credentials::Credentials;
use crate::auth::token::TOKEN_PREFIX;
use crate::auth::{Action, AuthError, Decision, Identity, NAME_BYTES_MAX};
use crate::oci::Reference;

/// The header with a tag that a push by digest has set.
const TAG_SET: &str = "oci-tag";

/// What becomes known of a request on its way. Cheap to clone; where there is no log it notes nothing.
#[derive(Clone, Default)]
pub struct Trail(Option<Arc<Noted>>);

struct Noted {
    log: AuditLog,
    about: About,
    known: Mutex<Known>,
}

/// What the head of a request says.
struct About {
    request: Option<String>,
    from: Option<String>,
    action: &'static str,
    object: Option<&'static str>,
    repository: Option<String>,
    reference: Option<String>,
    digest: Option<String>,
    /// Whether it changes what the registry holds, as far as that is written down.
    is_change: bool,
    /// Whether it mounts a blob, if that can be done.
    is_mount: bool,
    /// Whether the path has such a method, so that a 405 is a refusal.
    is_served: bool,
    has_credentials: bool,
}

#[derive(Default)]
struct Known {
    /// Who asks; nobody was let in before it is known.
    who: Option<String>,
    /// Under which name a login failed, and why.
    failed: Option<(String, String)>,
    /// What let them in to the repository.
    admitted: Option<Decision>,
    /// What let them do each thing to tags, or did not.
    decided: Vec<(Action, Decision)>,
    /// What was done to tags.
    moved: Vec<Action>,
    /// What a token was given for.
    granted: Option<String>,
}

impl Trail {
    fn known(&self) -> Option<MutexGuard<'_, Known>> {
        let noted = self.0.as_ref()?;
        Some(noted.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes who asks, and tells of a login, whatever comes of what they ask.
    pub async fn came(&self, caller: &Identity) {
        let Some(noted) = &self.0 else { return };
        let who = caller.to_string();
        if let Some(mut known) = self.known() {
            known.who = Some(who.clone());
        }
        if caller.is_login() {
            let mut login = noted.about.event(who, LOGIN, Verdict::Allow);
            login.reason = Some("the credentials are right".to_owned());
            noted.log.record(login).await;
        }
    }

    /// Notes that a login by this header failed.
    pub fn failed(&self, authorization: Option<&str>, error: AuthError) {
        let credentials = authorization.map(Credentials::parse);
        let (name, reason) = match credentials {
            Some(Some(Credentials::Basic { name, password })) => {
                return self.failed_as(&name, &password, error);
            }
            Some(Some(Credentials::Bearer(_))) => (
                None,
                "the signed token is none of ours, or does not hold any more",
            ),
            _ => (None, "the credentials are not understood"),
        };
        self.note_failure(name, reason, error);
    }

    /// Notes that a login by name and password failed. Of the password nothing is kept.
    pub fn failed_as(&self, name: &str, password: &str, error: AuthError) {
        let reason = match password.starts_with(TOKEN_PREFIX) {
            true => "there is no such token, or it does not hold any more",
            false => "the password is wrong, or the account is unknown or switched off",
        };
        self.note_failure(Some(name), reason, error);
    }

    /// Notes that an issuer's token was not exchanged.
    pub fn not_exchanged(&self, error: AuthError) {
        self.note_failure(
            None,
            "no issuer that is trusted vouches for the token",
            error,
        );
    }

    fn note_failure(&self, name: Option<&str>, reason: &str, error: AuthError) {
        let Some(mut known) = self.known() else {
            return;
        };
        let who = match name {
            None | Some("") => "unknown".to_owned(),
            // Whoever writes a token where the name goes would have it written down.
            Some(name) if name.contains(TOKEN_PREFIX) => "tried:(a token)".to_owned(),
            Some(name) => format!("tried:{}", shown(name, NAME_BYTES_MAX)),
        };
        let reason = match error {
            AuthError::Unauthenticated => reason.to_owned(),
            AuthError::Busy | AuthError::Unavailable | AuthError::Throttled(_) => error.to_string(),
        };
        known.failed = Some((who, reason));
    }

    /// Notes what let them in, or did not.
    pub fn admitted(&self, decision: &Decision) {
        if let Some(mut known) = self.known() {
            known.admitted = Some(decision.clone());
        }
    }

    /// Notes what was decided on doing that to a tag. What is decided again counts.
    pub fn decided(&self, action: Action, decision: Decision) {
        if let Some(mut known) = self.known() {
            known.decided.retain(|(before, _)| *before != action);
            known.decided.push((action, decision));
        }
    }

    /// Notes what was done to tags.
    pub fn moved(&self, moves: impl IntoIterator<Item = Action>) {
        if let Some(mut known) = self.known() {
            for action in moves {
                if !known.moved.contains(&action) {
                    known.moved.push(action);
                }
            }
        }
    }

    /// Notes what a token was given for.
    pub fn granted(&self, scope: &str) {
        if let Some(mut known) = self.known() {
            known.granted = Some(scope.to_owned());
        }
    }
}

impl About {
    fn of(api: &Api, target: &Target, request: &Request) -> Self {
        let headers = request.headers();
        let peer = request.extensions().get::<Peer>().copied();
        let from: Option<IpAddr> = api.origin.client(headers, peer);
        let id = request.extensions().get::<RequestId>();
        let method = request.method();
        let query = request.uri().query().unwrap_or_default();
        let route = target.as_ref().ok();
        let (action, object) = route.map_or(("other", None), |route| named(route, method));
        let tag = match route {
            Some(Route::Manifest(_, Reference::Tag(tag))) => Some(tag.to_string()),
            _ => None,
        };
        About {
            request: id.map(|RequestId(id)| id.to_string()),
            from: from.map(|from| from.to_string()),
            action,
            object,
            repository: route.and_then(|route| Some(route.repository()?.to_string())),
            reference: tag,
            digest: route.and_then(|route| Some(route.digest()?.to_string())),
            is_change: matches!(
                (route, method.as_str()),
                (Some(Route::Manifest(..)), "PUT" | "DELETE") | (Some(Route::Blob(..)), "DELETE")
            ),
            is_mount: query.split('&').any(|pair| pair.starts_with("mount=")),
            is_served: route.is_some_and(|route| route.allows(method)),
            has_credentials: headers.contains_key(AUTHORIZATION),
        }
    }

    /// An event of this request, without what it is about.
    fn event(&self, who: String, action: &str, decision: Verdict) -> Event {
        let mut event = Event::new(who, action, decision);
        event.request = self.request.clone();
        event.from = self.from.clone();
        event
    }

    /// An event of this request.
    fn whole(&self, who: String, action: &str, decision: Verdict) -> Event {
        let mut event = self.event(who, action, decision);
        event.object = self.object.map(str::to_owned);
        event.repository = self.repository.clone();
        event.reference = self.reference.clone();
        event.digest = self.digest.clone();
        event
    }
}

/// What a request does, and to what.
fn named(route: &Route, method: &Method) -> (&'static str, Option<&'static str>) {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match route {
        Route::Healthz | Route::Readyz => ("probe", None),
        Route::Token => ("token", None),
        Route::Base => ("ping", None),
        Route::Metrics => ("read", Some("metrics")),
        Route::Catalog => ("list", Some("repositories")),
        Route::Tags(_) => ("pull", Some("tags")),
        Route::Referrers(..) => ("pull", Some("referrers")),
        Route::Manifest(..) if reads => ("pull", Some("manifest")),
        Route::Manifest(_, Reference::Tag(_)) if *method == Method::DELETE => {
            ("delete", Some("tag"))
        }
        Route::Manifest(..) if *method == Method::DELETE => ("delete", Some("manifest")),
        Route::Manifest(..) => ("push-new", Some("manifest")),
        Route::Blob(..) if *method == Method::DELETE => ("delete", Some("blob")),
        Route::Blob(..) => ("pull", Some("blob")),
        Route::Uploads(_) | Route::Upload(..) => ("upload", Some("blob")),
    }
}

/// A request that is watched until it is answered.
#[derive(Default)]
pub struct Watch {
    trail: Trail,
}

impl Watch {
    /// Begins to watch, if there is a log. Probes are not watched.
    pub fn begin(api: &Api, target: &Target, request: &Request) -> Self {
        let is_probe = target.as_ref().is_ok_and(Route::is_probe);
        let Some(log) = api.audit.as_ref().filter(|_| !is_probe) else {
            return Watch::default();
        };
        let noted = Noted {
            log: log.clone(),
            about: About::of(api, target, request),
            known: Mutex::default(),
        };
        Watch {
            trail: Trail(Some(Arc::new(noted))),
        }
    }

    /// Where things are noted.
    pub fn trail(&self) -> Trail {
        self.trail.clone()
    }

    /// Tells the log what came of it, before the answer goes.
    pub fn end(mut self, response: &Response) -> impl Future<Output = ()> + use<> {
        let noted = std::mem::take(&mut self.trail).0;
        let events = noted.as_ref().map(|noted| noted.events(Some(response)));
        async move {
            let (Some(noted), Some(events)) = (noted, events) else {
                return;
            };
            // All at once, so that none is forgotten if the client leaves meanwhile.
            let records = events.into_iter().map(|event| noted.log.record(event));
            futures::future::join_all(records).await;
        }
    }
}

impl Drop for Watch {
    /// A client that leaves takes the request with it, and not always what it has begun: the commit of
    /// a push goes on.
    fn drop(&mut self) {
        if let Some(noted) = &self.trail.0 {
            for event in noted.events(None) {
                noted.log.record_later(event);
            }
        }
    }
}

impl Noted {
    /// What there is to tell. `None`: there was no answer.
    fn events(&self, response: Option<&Response>) -> Vec<Event> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let status = response.map(Response::status);
        let everything = self.log.detail() == Detail::Everything;
        let mut events = match status {
            Some(status) if self.is_refusal(status, &known) => self.refusal(response, &known),
            Some(status) if everything || self.is_done(status) => self.done(response, &known),
            // What was never let in did nothing.
            None if (everything || self.about.is_change) && known.is_admitted() => {
                self.done(response, &known)
            }
            _ => Vec::new(),
        };
        for event in &mut events {
            event.status = status.map(|status| status.as_u16());
        }
        events
    }

    /// Whether somebody was refused who asked for more than to be told how to log in.
    fn is_refusal(&self, status: StatusCode, known: &Known) -> bool {
        match status {
            StatusCode::UNAUTHORIZED => {
                // By a certificate somebody can be known without any header.
                let is_known = known.who.as_deref().is_some_and(|who| who != "anonymous");
                self.about.has_credentials || known.failed.is_some() || is_known
            }
            StatusCode::METHOD_NOT_ALLOWED => self.about.is_served,
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => true,
            _ => false,
        }
    }

    /// Whether something was changed, or may have been.
    fn is_done(&self, status: StatusCode) -> bool {
        self.about.is_change && (status.is_success() || status.is_server_error())
    }

    fn who(&self, known: &Known) -> String {
        let unknown = match self.about.has_credentials {
            true => "unknown",
            false => "anonymous",
        };
        known.who.clone().unwrap_or_else(|| unknown.to_owned())
    }

    fn refusal(&self, response: Option<&Response>, known: &Known) -> Vec<Event> {
        if let Some((who, reason)) = &known.failed {
            let mut event = self.about.event(who.clone(), LOGIN, Verdict::Deny);
            event.reason = Some(reason.clone());
            return vec![event];
        }
        let denied = known.decided.iter().rev().find(|(_, it)| !it.allowed);
        let action = denied.map_or(self.about.action, |(action, _)| action.as_str());
        let decision = denied.map(|(_, decision)| decision);
        let decision = decision.or(known.admitted.as_ref().filter(|it| !it.allowed));
        let mut event = self.about.whole(self.who(known), action, Verdict::Deny);
        event.reason = match decision {
            Some(decision) => Some(decision.reason.to_string()),
            None => response.and_then(|response| {
                let Refusal(message) = response.extensions().get()?;
                Some(message.clone())
            }),
        };
        vec![event]
    }

    fn done(&self, response: Option<&Response>, known: &Known) -> Vec<Event> {
        let about = &self.about;
        let is_refused = response.is_some_and(|it| it.status().is_client_error());
        let verdict = match is_refused && !known.is_admitted() {
            true => Verdict::Deny,
            false => Verdict::Allow,
        };
        let is_created = response.is_some_and(|it| it.status() == StatusCode::CREATED);
        let action = match about.is_mount && is_created && about.action == "upload" {
            true => "mount",
            false => about.action,
        };
        let mut plain = about.whole(self.who(known), action, verdict);
        plain.reason = known.admitted.as_ref().map(|it| it.reason.to_string());
        if let Some(response) = response {
            let headers = response.headers();
            plain.digest = plain
                .digest
                .or_else(|| texts(headers, CONTENT_DIGEST.as_str()));
            plain.reference = plain.reference.or_else(|| texts(headers, TAG_SET));
        }
        if let Some(scope) = &known.granted {
            plain.reference = Some(scope.clone());
        }
        let reason_of = |action: &Action| {
            let decided = known.decided.iter().find(|(decided, _)| decided == action);
            decided.map(|(_, decision)| decision.reason.to_string())
        };
        // Without an answer it is not known which of these it came to.
        let decided = known.decided.iter().map(|(action, _)| *action);
        let moved: Vec<_> = match response {
            Some(response) if !response.status().is_server_error() => known.moved.clone(),
            _ => decided.collect(),
        };
        let moved: Vec<_> = moved
            .iter()
            .map(|action| Event {
                action: action.to_string(),
                reason: reason_of(action),
                ..plain.clone()
            })
            .collect();
        match moved.is_empty() {
            true => vec![plain],
            false => moved,
        }
    }
}

impl Known {
    fn is_admitted(&self) -> bool {
        self.admitted.as_ref().is_some_and(|it| it.allowed)
            && self.decided.iter().all(|(_, it)| it.allowed)
    }
}

/// The values of a header, with commas between them.
fn texts(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}
