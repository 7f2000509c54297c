//! What is told of a request once it is answered, or its client has left.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::about::About;
use super::trail::{Known, Noted, Trail};
use crate::audit::event::LOGIN;
use crate::audit::{AuditLog, Detail, Event, Verdict};
use crate::auth::Action;
use crate::http::Api;
use crate::http::error::Refusal;
use crate::http::middleware::{CONTENT_DIGEST, Target};
use crate::http::router::Route;
use crate::http::transport::Peer;

/// The header with a tag that a push by digest has set.
const TAG_SET: &str = "oci-tag";

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
        let peer = request.extensions().get::<Peer>().copied();
        let from = api.origin.client(request.headers(), peer);
        Watch::over(log.clone(), About::of(from, target, request))
    }

    fn over(log: AuditLog, about: About) -> Self {
        let known = Mutex::default();
        Watch {
            trail: Trail(Some(Arc::new(Noted { log, about, known }))),
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
                let is_known = known.who.as_ref().is_some_and(|who| !who.is_anonymous());
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
        let known = known.who.as_ref().map(ToString::to_string);
        known.unwrap_or_else(|| unknown.to_owned())
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

/// The values of a header, with commas between them.
fn texts(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::audit::{AuditOptions, FileOptions, Query};
    use crate::auth::policy::Reason;
    use crate::auth::{AuthService, Decision};
    use crate::ghostbay::LocalStorageEngine;

    const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

    /// What a log that keeps so much is told where clients leave behind each of these.
    async fn told(detail: Detail, left: &[(&str, &str, Option<bool>)]) -> Vec<Event> {
        let directory = tempfile::tempdir().unwrap();
        let storage = LocalStorageEngine::new(directory.path()).await.unwrap();
        let options = AuditOptions {
            file: FileOptions {
                path: directory.path().join("audit.jsonl"),
                bytes_max: u64::MAX,
                keep: 1,
            },
            rows: 100,
            detail,
        };
        let log = AuditLog::start(storage.catalog().clone(), options).unwrap();
        let caller = AuthService::open().check(None, Some(FROM)).await.unwrap();
        for (method, path, allowed) in left {
            let request = Request::builder().method(*method).uri(*path);
            let request = request.body(axum::body::Body::empty()).unwrap();
            let target = Route::parse(path);
            let watch = Watch::over(log.clone(), About::of(Some(FROM), &target, &request));
            let trail = watch.trail();
            if let Some(allowed) = allowed {
                trail.came(&caller).await;
                trail.admitted(&Decision::allow(Reason::Open));
                let decision = Decision {
                    allowed: *allowed,
                    reason: Reason::NoRule,
                };
                trail.decided(Action::PushNew, decision);
            }
            drop(watch);
        }
        log.flush().await;
        let mut events = Vec::new();
        let mut tell = |event| {
            events.push(event);
            true
        };
        log.read(&Query::default(), &mut tell).unwrap();
        log.close().await;
        storage.close().await;
        events
    }

    #[tokio::test]
    async fn a_change_whose_client_has_left_is_told_without_a_status() {
        let path = "/v2/team/a/manifests/v1";
        let events = told(
            Detail::Changes,
            &[
                ("PUT", path, Some(true)),
                // Nobody was let in, or not to do that; and what changes nothing.
                ("PUT", path, None),
                ("PUT", path, Some(false)),
                ("GET", path, Some(true)),
            ],
        )
        .await;
        let [event] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((&*event.who, &*event.action), ("everybody", "push-new"));
        assert_eq!(event.from.as_deref(), Some("192.0.2.7"));
        let of = (event.repository.as_deref(), event.reference.as_deref());
        assert_eq!(of, (Some("team/a"), Some("v1")));
        assert_eq!((event.status, event.decision), (None, Verdict::Allow));
    }

    #[tokio::test]
    async fn of_everything_a_pull_whose_client_has_left_is_a_part() {
        let pull = ("GET", "/v2/team/a/tags/list", Some(true));
        let events = told(Detail::Everything, &[pull]).await;
        assert_eq!(events.len(), 1, "{events:?}");
    }
}
